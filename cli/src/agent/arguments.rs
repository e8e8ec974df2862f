//! The command line of the CLI, with what lies on this machine put into it.

use serde_json::value::RawValue;

use super::end::Failure;
use super::settings::Settings;

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

/// Flags of one value that may look like another flag.
const TEXTS: [&str; 4] = ["--system-prompt", "--append-system-prompt", "--json-schema", "--agents"];

pub(super) fn prepare(words: Vec<String>, _: &Settings) -> Result<Prepared, Failure> {
    let is_version = matches!(&words[..], [only] if only == "-v" || only == "--version");
    let (mut args, mut notes) = (Vec::new(), Vec::new());
    let mut words = words.into_iter();
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
        match file {
            None => notes.push(format!(
                "claude-relay-agent: {name} is left out, because the agent runs elsewhere; use --debug-to-stderr"
            )),
            Some((_, in_place)) => args.push(format!("{in_place}={}", inlined(&name, value)?)),
        }
    }
    Ok(Prepared { args, notes, is_version })
}

/// Returns the contents of the file that a value names.
fn inlined(flag: &str, value: String) -> Result<String, Failure> {
    let is_json = value.trim_start().starts_with('{');
    if is_json && !flag.ends_with("-file") {
        return Ok(value);
    }
    // An empty value names no file.
    if value.is_empty() {
        return Ok(value);
    }
    let text = std::fs::read_to_string(&value).map_err(|error| {
        Failure::of_cli(match flag {
            "--settings" => format!("Error: Settings file not found: {value} ({error})"),
            "--mcp-config" => {
                format!(
                    "Error: Invalid MCP configuration: MCP config file not found: {value} ({error})"
                )
            }
            _ => format!("Error: {flag}: {value}: {error}"),
        })
    })?;
    if !flag.ends_with("-file") && serde_json::from_str::<&RawValue>(&text).is_err() {
        return Err(Failure::of_cli(format!("Error: {flag}: {value} is not JSON")));
    }
    Ok(text)
}
