//! Spellings that are no longer taken, each with the one that is.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use claude_relay_protocol::nearest::nearest;

/// The answer to the subcommand `sandbox`.
pub(super) const COMMAND: &str = "the subcommand `sandbox` is now called `e2b`: claude-relay e2b ls|kill|pause|resume|logs (to ask about \"sandbox\", write claude-relay ask \"sandbox …\")";

/// Options that are called otherwise now.
const OPTIONS: [(&str, &str); 2] = [
    ("--sandbox", "--sandbox is now called --e2b (--sandbox of claude-relay-server is bubblewrap)"),
    ("--template", "--template is now called --e2b-template"),
];

/// Subcommands of similar programs, each with what it is called here.
const ELSEWHERE: [(&str, &str); 17] = [
    ("auth", LOGIN),
    ("doctor", "claude-relay health"),
    ("exec", "claude-relay ask"),
    ("history", "claude-relay conversations"),
    ("info", "claude-relay health"),
    ("list", "claude-relay conversations"),
    ("login", LOGIN),
    ("logs", "claude-relay watch"),
    ("ls", "claude-relay conversations"),
    ("mcp", "claude-relay config"),
    ("repl", "claude-relay chat"),
    ("resume", "claude-relay --resume ID"),
    ("run", "claude-relay ask"),
    ("sessions", "claude-relay conversations"),
    ("status", "claude-relay health"),
    ("threads", "claude-relay conversations"),
    ("version", "claude-relay --version"),
];

const LOGIN: &str = "claude-relay config set anthropicApiKey=…, or the key in the environment of claude-relay-server";

/// Returns what to say of a prompt of one word that is probably no prompt: a
/// subcommand of `known` with a typing error, or one of a similar program. It
/// would be paid for.
pub(super) fn meant(word: &str, known: &[&str]) -> Option<String> {
    if word.contains(char::is_whitespace) {
        return None;
    }
    // A typing error is rarely in the first letter, and "what" is not "chat".
    let first = word.chars().next()?.to_ascii_lowercase();
    let begins = |name: &&str| name.starts_with(first);
    let is_elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == word);
    let meant = match is_elsewhere {
        Some((_, meant)) => (*meant).to_owned(),
        None => format!("claude-relay {}", nearest(word, known.iter().copied().filter(begins))?),
    };
    Some(format!(
        "{word} is no subcommand: did you mean {meant}? As a prompt it is written with -p: claude-relay -p {word}"
    ))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_near_a_subcommand_is_no_prompt_and_other_words_are() {
        let known = ["ask", "chat", "config", "conversations", "e2b", "health", "watch"];
        for (word, expected) in [
            ("helth", "claude-relay health?"),
            ("chta", "claude-relay chat?"),
            ("Chat", "claude-relay chat?"),
            ("conversation", "claude-relay conversations?"),
            ("confg", "claude-relay config?"),
            ("status", "claude-relay health?"),
            ("login", "claude-relay config set anthropicApiKey"),
        ] {
            let told = meant(word, &known).unwrap();
            assert!(told.contains(expected) && told.contains(&format!("-p {word}")), "{told}");
        }
        for word in [
            "hello",
            "why",
            "continue",
            "hi",
            "con fig",
            "chat about it",
            "what",
            "task",
            "match",
            "",
        ] {
            assert_eq!(meant(word, &known), None, "{word}");
        }
    }
}
