//! The command line of the CLI as an SDK writes it: parsed by one table and
//! built anew, so that nothing stands in it that was not understood.
//!
//! The table has every flag that the official SDKs write (TypeScript 0.1.44 to
//! 0.3.332, Python to 0.2.189), and those of the CLI that start something else
//! than an agent on stdin and stdout.

use crate::agent::mode::Mode;

/// A flag with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::agent) struct Flag {
    pub(super) name: String,
    pub(super) value: Option<String>,
}

/// How many words belong to a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arity {
    None,
    /// The next word, whatever it is.
    One,
    /// The next word, unless it is a flag.
    Optional,
    /// The next word, and those up to the next flag.
    Many,
}

/// What becomes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Pass,
    /// The relay writes it.
    Base,
    /// Left out: it means something on the program's machine.
    Drop,
    /// Only in `unrestricted`.
    Unrestricted(&'static str),
    /// In no mode.
    Never,
}

use Arity::{Many, None as Zero, One, Optional};
use Rule::{Base, Drop, Never, Pass, Unrestricted};

const ASKING: &str = "it takes the user's decisions away";
const SERVER_FILE: &str = "it names a file of this server";
const VENDOR: &str = "it belongs to the vendor's own applications";

/// All flags that are known.
const FLAGS: &[(&str, Arity, Rule)] = &[
    ("--output-format", One, Base),
    ("--input-format", One, Base),
    ("--verbose", Zero, Base),
    ("--print", Zero, Base),
    ("--system-prompt", One, Pass),
    ("--append-system-prompt", One, Pass),
    ("--system-prompt-snapshot", One, Pass),
    ("--exclude-dynamic-system-prompt-sections", Zero, Pass),
    ("--model", One, Pass),
    ("--fallback-model", One, Pass),
    ("--effort", One, Pass),
    ("--thinking", One, Pass),
    ("--thinking-display", One, Pass),
    ("--max-thinking-tokens", One, Pass),
    ("--max-turns", One, Pass),
    ("--max-budget-usd", One, Pass),
    ("--task-budget", One, Pass),
    ("--betas", Many, Pass),
    ("--agent", One, Pass),
    ("--agents", One, Pass),
    ("--json-schema", One, Pass),
    ("--tools", Many, Pass),
    ("--allowedTools", Many, Pass),
    ("--allowed-tools", Many, Pass),
    ("--disallowedTools", Many, Pass),
    ("--disallowed-tools", Many, Pass),
    ("--disable-slash-commands", Zero, Pass),
    ("--permission-mode", One, Pass),
    ("--permission-prompt-tool", One, Pass),
    ("--permission-prompts", One, Pass),
    ("--mcp-config", Many, Pass),
    ("--strict-mcp-config", Zero, Pass),
    ("--include-partial-messages", Zero, Pass),
    ("--include-hook-events", Zero, Pass),
    ("--replay-user-messages", Zero, Pass),
    ("--forward-subagent-text", Zero, Pass),
    ("--prompt-suggestions", Optional, Pass),
    ("--no-session-persistence", Zero, Pass),
    ("--fork-session", Zero, Pass),
    ("--continue", Zero, Pass),
    ("--resume", Optional, Pass),
    ("--session-id", One, Pass),
    ("--resume-session-at", One, Pass),
    ("--resume-drops-turn", One, Pass),
    ("--name", One, Pass),
    ("--autocompact", One, Pass),
    ("--restricted", Zero, Pass),
    ("--safe-mode", Zero, Pass),
    ("--bare", Zero, Pass),
    ("--debug", Optional, Pass),
    ("--debug-to-stderr", Zero, Pass),
    ("--debug-file", One, Drop),
    ("--settings", One, Pass),
    ("--managed-settings", One, Pass),
    ("--managed-settings-in-initialize", Zero, Pass),
    ("--setting-sources", One, Pass),
    ("--add-dir", Many, Pass),
    ("--plugin-dir", One, Pass),
    ("--plugin-dir-no-mcp", One, Pass),
    ("--project-config-root", One, Pass),
    ("--await-initialize", Zero, Pass),
    ("--initialize-fields", One, Pass),
    ("--session-mirror", Zero, Pass),
    ("--await-claim", Zero, Pass),
    ("--system-prompt-file", One, Unrestricted(SERVER_FILE)),
    ("--append-system-prompt-file", One, Unrestricted(SERVER_FILE)),
    ("--allow-dangerously-skip-permissions", Zero, Unrestricted(ASKING)),
    ("--dangerously-skip-permissions", Zero, Unrestricted(ASKING)),
    ("--workload", One, Unrestricted(VENDOR)),
    ("--channels", Many, Unrestricted(VENDOR)),
    ("--sdk-url", One, Never),
    ("--remote-control", Optional, Never),
    ("--cloud", Optional, Never),
    ("--environment", One, Never),
    ("--teleport", Optional, Never),
    ("--bg", Zero, Never),
    ("--background", Zero, Never),
    ("--tmux", Optional, Never),
    ("--worktree", Optional, Never),
    ("--desktop", Zero, Never),
    ("--chrome", Zero, Never),
    ("--ide", Zero, Never),
    ("--file", Many, Never),
    ("--plugin-url", One, Never),
    ("--from-pr", Optional, Never),
    ("--help", Zero, Never),
    ("--version", Zero, Never),
];

/// How much of a word that a client wrote goes into a refusal.
const QUOTED_CHARS: usize = 50;

/// A command line that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// A word that belongs to no flag.
    #[error("the argument {0:?} is no flag: a run is an agent on stdin and stdout, nothing else")]
    Positional(String),
    /// The flag starts something else.
    #[error("the flag {0} is refused: it starts something else than an agent on stdin and stdout")]
    Never(String),
    /// The flag needs a wider mode.
    #[error("the flag {name} is refused in mode {mode} of this server: {reason}")]
    Exceeds {
        /// The flag.
        name: String,
        /// The ceiling.
        mode: Mode,
        /// The reason.
        reason: String,
    },
    /// The flag lacks its value, or has one that it cannot have.
    #[error("the flag {0}: {1}")]
    Value(String, &'static str),
}

/// Parses `args` under the ceiling.
///
/// # Errors
///
/// See [`FlagError`].
pub(super) fn parse(args: &[String], mode: Mode) -> Result<Vec<Flag>, FlagError> {
    let quoted = |word: &str| word.chars().take(QUOTED_CHARS).collect::<String>();
    let is_flag = |word: &str| word.len() > 1 && word.starts_with('-');
    let mut flags = Vec::new();
    let mut words = args.iter().map(String::as_str).peekable();
    while let Some(word) = words.next() {
        if !word.starts_with("--") || word == "--" {
            return Err(FlagError::Positional(quoted(word)));
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let known = FLAGS.iter().find(|(known, ..)| *known == name);
        let exceeds = |reason: &str| FlagError::Exceeds {
            name: quoted(name),
            mode,
            reason: reason.to_owned(),
        };
        let (arity, rule) = match known {
            Some((_, arity, rule)) => (*arity, *rule),
            None if mode == Mode::Unrestricted => (Optional, Pass),
            None => return Err(exceeds("it is not known here")),
        };
        match rule {
            Never => return Err(FlagError::Never(quoted(name))),
            Unrestricted(reason) if mode != Mode::Unrestricted => return Err(exceeds(reason)),
            Pass | Base | Drop | Unrestricted(_) => {}
        }
        let mut values: Vec<&str> = inline.into_iter().collect();
        match arity {
            Zero if inline.is_some() => {
                return Err(FlagError::Value(quoted(name), "it takes no value"));
            }
            Zero => {}
            One | Many if values.is_empty() => match words.next() {
                Some(value) => values.push(value),
                None => return Err(FlagError::Value(quoted(name), "its value is missing")),
            },
            Optional if values.is_empty() => {
                values.extend(words.next_if(|word| !is_flag(word)));
            }
            One | Many | Optional => {}
        }
        while arity == Many
            && let Some(value) = words.next_if(|word| !is_flag(word))
        {
            values.push(value);
        }
        match rule {
            Drop => continue,
            Base if values.first().is_some_and(|value| *value != "stream-json") => {
                return Err(FlagError::Value(quoted(name), "a run speaks stream-json"));
            }
            Base => continue,
            Pass | Unrestricted(_) | Never => {}
        }
        if values.is_empty() {
            flags.push(Flag { name: name.to_owned(), value: None });
        }
        let with_value =
            |value: &str| Flag { name: name.to_owned(), value: Some(value.to_owned()) };
        flags.extend(values.into_iter().map(with_value));
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(mode: Mode, args: &[&str]) -> Result<String, String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let flags = parse(&args, mode).map_err(|error| error.to_string())?;
        let word = |flag: Flag| match flag.value {
            Some(value) => format!("{}={value}", flag.name),
            None => flag.name,
        };
        Ok(flags.into_iter().map(word).collect::<Vec<_>>().join(" | "))
    }

    #[test]
    fn values_are_joined_to_their_flags_whatever_they_look_like() {
        for (args, expected) in [
            (&["--system-prompt", "--help", "--verbose"][..], "--system-prompt=--help"),
            (&["--system-prompt", ""], "--system-prompt="),
            (&["--resume=a", "--continue"], "--resume=a | --continue"),
            (&["--resume", "a", "--debug", "--model", "m"], "--resume=a | --debug | --model=m"),
            (
                &["--allowedTools", "A,B", "C", "--mcp-config", "{}"],
                "--allowedTools=A,B | --allowedTools=C | --mcp-config={}",
            ),
            (&["--add-dir", "/a", "--add-dir=/b"], "--add-dir=/a | --add-dir=/b"),
            (&["--debug-file", "/x"], ""),
            (&["--output-format", "stream-json", "--verbose", "--input-format=stream-json"], ""),
        ] {
            for mode in [Mode::Ask, Mode::Unrestricted] {
                assert_eq!(flags(mode, args).as_deref(), Ok(expected), "{mode}");
            }
        }
    }

    #[test]
    fn what_is_no_flag_of_an_agent_is_refused_in_every_mode() {
        for (args, reason) in [
            (&["mcp", "serve"][..], "the argument \"mcp\" is no flag"),
            (&["--model", "m", "prompt"], "the argument \"prompt\" is no flag"),
            (&["-p"], "the argument \"-p\" is no flag"),
            (&["--"], "the argument \"--\" is no flag"),
            (&["--sdk-url", "ws://x"], "the flag --sdk-url is refused"),
            (&["--teleport"], "the flag --teleport is refused"),
            (&["--verbose=1"], "it takes no value"),
            (&["--model"], "its value is missing"),
            (&["--output-format", "text"], "a run speaks stream-json"),
        ] {
            for mode in [Mode::Ask, Mode::Unrestricted] {
                let error = flags(mode, args).unwrap_err();
                assert!(error.contains(reason), "{mode}: {error}");
            }
        }
    }

    #[test]
    fn unknown_flags_need_unrestricted() {
        let args = ["--new", "value", "--newer", "--newest=1"];
        assert_eq!(
            flags(Mode::Unrestricted, &args).as_deref(),
            Ok("--new=value | --newer | --newest=1")
        );
        let error = flags(Mode::Ask, &args).unwrap_err();
        assert!(error.starts_with("the flag --new is refused in mode ask"), "{error}");
        for flag in ["--dangerously-skip-permissions", "--system-prompt-file=/etc/passwd"] {
            assert!(
                flags(Mode::Ask, &[flag]).is_err() && flags(Mode::Unrestricted, &[flag]).is_ok()
            );
        }
    }

    #[test]
    fn every_flag_stands_there_once() {
        let mut names: Vec<_> = FLAGS.iter().map(|(name, ..)| name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
