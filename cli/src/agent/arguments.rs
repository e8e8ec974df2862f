//! The command line of the CLI, with what lies on this machine put into it.

use std::io;
use std::path::PathBuf;

use serde_json::value::RawValue;

use super::end::Failure;

/// The command line for the server.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) args: Vec<String>,
    /// Notes for stderr.
    pub(super) notes: Vec<String>,
    /// The version is asked for, and nothing else.
    pub(super) is_version: bool,
}

/// Flags that name a file here, and what the server gets in its place.
const FILES: [(&str, &str); 4] = [
    ("--system-prompt-file", "--system-prompt"),
    ("--append-system-prompt-file", "--append-system-prompt"),
    ("--mcp-config", "--mcp-config"),
    ("--settings", "--settings"),
];

/// A flag whose file is on this machine and of no use there.
const DEBUG_FILE: &str = "--debug-file";

/// A flag that may have several values.
const SEVERAL: &str = "--mcp-config";

/// The beginning of a failure of the CLI.
const MCP_FAILURE: &str = "Error: Invalid MCP configuration:";

/// Flags of one value that may look like another flag.
const TEXTS: [&str; 4] = ["--system-prompt", "--append-system-prompt", "--json-schema", "--agents"];

pub(super) fn prepare(words: Vec<String>) -> Result<Prepared, Failure> {
    let is_version = matches!(&words[..], [only] if only == "-v" || only == "--version");
    let (mut args, mut notes) = (Vec::new(), Vec::new());
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word.clone(), None),
        };
        if TEXTS.contains(&word.as_str()) {
            args.push(word);
            args.extend(words.next());
            continue;
        }
        let file = FILES.iter().find(|(flag, _)| *flag == name);
        if file.is_none() && name != DEBUG_FILE {
            args.push(word);
            continue;
        }
        let Some(value) = inline.or_else(|| words.next()) else {
            return Err(Failure::usage(format!("{name}: its value is missing")));
        };
        let mut values = vec![value];
        while name == SEVERAL
            && let Some(value) = words.next_if(|word| !word.starts_with('-'))
        {
            values.push(value);
        }
        match file {
            None => notes.push(format!(
                "claude-relay-agent: {name} is left out, because the agent runs elsewhere; use --debug-to-stderr"
            )),
            Some((_, in_place)) => {
                for value in values {
                    args.push(format!("{in_place}={}", inlined(&name, value)?));
                }
            }
        }
    }
    Ok(Prepared { args, notes, is_version })
}

/// Returns the contents of the file that a value names. Where the CLI would fail
/// for it, the failure is the CLI's.
fn inlined(flag: &str, value: String) -> Result<String, Failure> {
    let holds_json = match flag {
        "--settings" => looks_like_object(&value),
        "--mcp-config" => is_json(&value),
        _ => false,
    };
    if flag == "--settings" && holds_json && !is_json(&value) {
        return Err(Failure::of_cli("Error: Invalid JSON provided to --settings"));
    }
    // An empty value names no file.
    if holds_json || value.is_empty() {
        return Ok(value);
    }
    let path = std::path::absolute(&value).unwrap_or_else(|_| PathBuf::from(&value));
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::of_cli(unreadable(flag, &path.display().to_string(), &error)))?;
    match flag {
        "--mcp-config" if !is_json(&text) => {
            Err(Failure::of_cli(format!("{MCP_FAILURE}\nMCP config is not a valid JSON")))
        }
        // The CLI itself says of broken settings that they are not in effect.
        "--settings" if !text.trim_start().starts_with('{') => {
            Err(Failure::of_cli(format!("Error: --settings: {value} holds no JSON object")))
        }
        _ => Ok(text),
    }
}

/// The text of the CLI about a file that it cannot read.
fn unreadable(flag: &str, path: &str, error: &io::Error) -> String {
    let is_missing = error.kind() == io::ErrorKind::NotFound;
    match (flag, is_missing) {
        ("--settings", true) => format!("Error: Settings file not found: {path}"),
        ("--settings", false) => format!("Error: Cannot use settings file ({error}): {path}"),
        ("--mcp-config", true) => format!("{MCP_FAILURE}\nMCP config file not found: {path}"),
        ("--mcp-config", false) => format!("{MCP_FAILURE}\nFailed to read file: {error}"),
        (_, true) => {
            let words = flag.trim_start_matches('-').replace('-', " ");
            let (first, rest) = words.split_at(1);
            format!("Error: {}{rest} not found: {path}", first.to_uppercase())
        }
        (_, false) => format!("Error reading {path}: {error}"),
    }
}

fn looks_like_object(text: &str) -> bool {
    let text = text.trim();
    text.starts_with('{') && text.ends_with('}')
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(words: &[&str]) -> Result<String, String> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let prepared = prepare(words).map_err(|failure| failure.text().to_owned())?;
        Ok(prepared.args.join(" | "))
    }

    #[test]
    fn files_of_this_machine_are_read_and_their_contents_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (one, two) = (file("one", "{\"a\":1}"), file("two", "[2]"));
        let (text, broken) = (file("text", "a prompt\n"), file("broken", "{broken"));
        for (words, expected) in [
            (vec!["--settings", &one], "--settings={\"a\":1}"),
            (vec!["--settings", &broken], "--settings={broken"),
            (vec!["--settings", "{\"b\":2}"], "--settings={\"b\":2}"),
            (vec!["--settings", ""], "--settings="),
            (
                vec!["--mcp-config", &one, &two, "--verbose"],
                "--mcp-config={\"a\":1} | --mcp-config=[2] | --verbose",
            ),
            (vec!["--mcp-config={}"], "--mcp-config={}"),
            (vec!["--system-prompt-file", &text], "--system-prompt=a prompt\n"),
            (
                vec!["--system-prompt", &text, "--model", "m"],
                &format!("--system-prompt | {text} | --model | m"),
            ),
        ] {
            assert_eq!(prepared(&words).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_fails_as_with_the_cli() {
        let here = std::env::current_dir().unwrap();
        let here = here.display();
        for (words, expected) in [
            (["--settings", "/not/there"], "Error: Settings file not found: /not/there".to_owned()),
            (
                ["--settings", "{\"a\":1"],
                format!("Error: Settings file not found: {here}/{{\"a\":1"),
            ),
            (["--settings", "{bad}"], "Error: Invalid JSON provided to --settings".to_owned()),
            (
                ["--mcp-config", "there"],
                format!("{MCP_FAILURE}\nMCP config file not found: {here}/there"),
            ),
            (
                ["--mcp-config", "{bad}"],
                format!("{MCP_FAILURE}\nMCP config file not found: {here}/{{bad}}"),
            ),
            (
                ["--system-prompt-file", "/not/there"],
                "Error: System prompt file not found: /not/there".to_owned(),
            ),
            (
                ["--append-system-prompt-file", "/not/there"],
                "Error: Append system prompt file not found: /not/there".to_owned(),
            ),
        ] {
            assert_eq!(prepared(&words), Err(expected));
        }
        assert!(
            prepared(&["--settings", "/"])
                .unwrap_err()
                .starts_with("Error: Cannot use settings file (")
        );
        assert!(prepared(&["--mcp-config"]).unwrap_err().contains("its value is missing"));
    }
}
