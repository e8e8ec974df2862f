//! Spellings that are no longer taken, each with the one that is.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The answer to the subcommand `sandbox`.
pub(super) const COMMAND: &str = "the subcommand `sandbox` is now called `e2b`: claude-relay e2b ls|kill|pause|resume|logs (to ask about \"sandbox\", write claude-relay ask \"sandbox …\")";

/// Options that are called otherwise now.
const OPTIONS: [(&str, &str); 2] = [
    ("--sandbox", "--sandbox is now called --e2b (--sandbox of claude-relay-server is bubblewrap)"),
    ("--template", "--template is now called --e2b-template"),
];

/// Returns true if the words of a prompt are the former subcommand.
pub(super) fn is_former_command(words: &[String]) -> bool {
    match words {
        [only] => only == "sandbox",
        [first, second, ..] => {
            first == "sandbox"
                && ["ls", "kill", "pause", "resume", "logs"].contains(&second.as_str())
        }
        [] => false,
    }
}

/// Returns a better explanation than clap's own error, if there is one.
pub(super) fn explain(
    error: &clap::Error,
    words: impl Iterator<Item = String>,
) -> Option<&'static str> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let words: Vec<String> = words.filter(|word| !word.starts_with('-')).collect();
    if is_former_command(&words) {
        return Some(COMMAND);
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    OPTIONS.iter().find(|(name, _)| name == argument).map(|(_, text)| *text)
}
