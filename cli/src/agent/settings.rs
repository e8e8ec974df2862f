//! Settings of the agent: arguments, then variables, then a file beside the
//! executable. An SDK may replace the whole environment, and its options for
//! further arguments reach the agent always.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use claude_relay_client::Secret;

use super::end::Failure;
use super::environment::variable;

/// The file beside the executable, with lines `NAME=VALUE`.
const FILE: &str = "claude-relay-agent.env";

/// The arguments of this program itself: name, value, variable, and what it is.
const OWN: [(&str, &str, &str, &str); 6] = [
    ("--relay-url", "URL", "CLAUDE_RELAY_URL", "address of the relay"),
    ("--relay-token-file", "FILE", "CLAUDE_RELAY_TOKEN_FILE", "file with its token"),
    ("--relay-cwd", "DIRECTORY", "CLAUDE_RELAY_CWD", "working directory in its workspace"),
    ("--relay-env", "A,B", "CLAUDE_RELAY_ENV", "further variables for the agent, by name"),
    (
        "--relay-e2b-template",
        "NAME",
        "CLAUDE_RELAY_E2B_TEMPLATE",
        "without an address: a sandbox of this template",
    ),
    (SWITCH, "", "CLAUDE_RELAY_ALLOW_PLAINTEXT", "to another machine without TLS"),
];

/// The one without a value.
const SWITCH: &str = "--relay-allow-plaintext";

/// Arguments of this program by their names.
pub(super) type Own = BTreeMap<String, String>;

/// The settings.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) url: Option<String>,
    pub(super) token: Option<Secret>,
    /// The directory that is named to the server in place of this program's.
    pub(super) cwd: Option<String>,
    /// Variables that the agent gets beside the usual ones.
    pub(super) env: Vec<String>,
    pub(super) allow_plaintext: bool,
    pub(super) e2b_template: Option<String>,
}

impl Settings {
    pub(super) fn read(mut own: Own) -> Result<Self, Failure> {
        let file = file();
        let mut value = |flag: &str, name: &str| {
            own.remove(flag).or_else(|| variable(name)).or_else(|| file.get(name).cloned())
        };
        let token_file = value("--relay-token-file", "CLAUDE_RELAY_TOKEN_FILE");
        let token = match token_file {
            Some(path) => Some(read_token(&path)?),
            None => value("", "CLAUDE_RELAY_TOKEN"),
        };
        Ok(Self {
            url: value("--relay-url", "CLAUDE_RELAY_URL"),
            token: token.map(Secret::from),
            cwd: value("--relay-cwd", "CLAUDE_RELAY_CWD"),
            env: value("--relay-env", "CLAUDE_RELAY_ENV")
                .map(|list| list.split(',').map(|name| name.trim().to_owned()).collect())
                .unwrap_or_default(),
            allow_plaintext: value("--relay-allow-plaintext", "CLAUDE_RELAY_ALLOW_PLAINTEXT")
                .is_some_and(|value| value != "0" && value != "false"),
            e2b_template: value("--relay-e2b-template", "CLAUDE_RELAY_E2B_TEMPLATE"),
        })
    }
}

/// Returns the text of `--help`.
pub(super) fn help() -> String {
    let rows = OWN.map(|(flag, value, variable, meaning)| {
        format!("  {:<29} {variable:<28} {meaning}\n", format!("{flag} {value}"))
    });
    format!(
        "Stands in for Claude Code towards the official Agent SDKs, and has the agent run behind a relay.\n\n\
         It is named by pathToClaudeCodeExecutable (TypeScript) or cli_path (Python). The arguments\n\
         are those of Claude Code; its own are these, or variables, or lines NAME=VALUE of\n\
         {FILE} beside it:\n\n{}  {:<29} {:<28} the token itself\n",
        rows.concat(),
        "",
        "CLAUDE_RELAY_TOKEN"
    )
}

/// Separates the arguments that begin with `--relay-` from the others.
pub(super) fn take_own(words: Vec<String>) -> Result<(Own, Vec<String>), Failure> {
    let (mut own, mut rest) = (BTreeMap::new(), Vec::new());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if !word.starts_with("--relay-") {
            rest.push(word);
            continue;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        };
        let value = match inline {
            _ if name == SWITCH => inline.unwrap_or_else(|| "1".to_owned()),
            _ if OWN.iter().all(|(known, ..)| *known != name) => {
                let known = OWN.map(|(flag, ..)| flag).join(", ");
                return Err(Failure::usage(format!("{name} is not known: there are {known}")));
            }
            Some(value) => value,
            None => words
                .next()
                .ok_or_else(|| Failure::usage(format!("{name}: its value is missing")))?,
        };
        own.insert(name, value);
    }
    Ok((own, rest))
}

fn read_token(path: &str) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("the token file {path:?}: {error}")))?;
    Ok(text.trim().to_owned())
}

/// Reads the file beside the executable, as it is named or as it lies.
fn file() -> BTreeMap<String, String> {
    let named = std::env::args_os().next().map(PathBuf::from).filter(|path| is_path(path));
    let real = std::env::current_exe().ok();
    let texts = [named, real]
        .into_iter()
        .flatten()
        .filter_map(|path| std::fs::read_to_string(path.parent()?.join(FILE)).ok());
    let Some(text) = texts.into_iter().next() else { return BTreeMap::new() };
    parse(&text)
}

fn is_path(path: &Path) -> bool {
    path.components().nth(1).is_some()
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(words: &[&str]) -> Result<(BTreeMap<String, String>, Vec<String>), String> {
        take_own(words.iter().map(|word| (*word).to_owned()).collect())
            .map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn the_relays_own_arguments_are_taken_out() {
        let (own, rest) = take(&[
            "--verbose",
            "--relay-url",
            "http://h:1",
            "--model",
            "m",
            "--relay-env=A,B",
            "--relay-allow-plaintext",
        ])
        .unwrap();
        assert_eq!(rest, ["--verbose", "--model", "m"]);
        assert_eq!(own["--relay-url"], "http://h:1");
        assert_eq!(own["--relay-env"], "A,B");
        assert_eq!(own["--relay-allow-plaintext"], "1");
    }

    #[test]
    fn an_unknown_one_and_a_missing_value_are_named() {
        assert!(take(&["--relay-urll", "x"]).unwrap_err().contains("--relay-urll is not known"));
        assert!(take(&["--relay-url"]).unwrap_err().contains("its value is missing"));
    }

    #[test]
    fn the_file_has_names_and_values() {
        let file =
            parse("# c\nCLAUDE_RELAY_URL = http://h:1\n\nCLAUDE_RELAY_TOKEN=\"t=1\"\nx\nE=\n");
        assert_eq!(file["CLAUDE_RELAY_URL"], "http://h:1");
        assert_eq!(file["CLAUDE_RELAY_TOKEN"], "t=1");
        assert_eq!(file.len(), 2);
    }
}
