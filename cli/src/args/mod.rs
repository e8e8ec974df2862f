//! The command line as it is typed.

mod e2b;
mod refused;
mod server;
mod turn;
mod values;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};

pub(crate) use self::e2b::{E2bArgs, E2bCommand, KillArgs};
pub(crate) use self::server::{Color, ServerArgs};
pub(crate) use self::turn::{AskArgs, ChatArgs, TurnArgs};
use self::values::parse_text;
use crate::exit::Exit;

/// Talk to an agent behind a relay.
///
/// The answer goes to stdout, everything else to stderr. Text that is piped in
/// is part of the prompt.
#[derive(Debug, Parser)]
#[command(
    name = "claude-relay",
    version,
    override_usage = "claude-relay [OPTIONS] [PROMPT]\n       claude-relay [OPTIONS] <COMMAND>",
    after_help = "Exit codes: 0 ok, 1 the turn failed, 2 bad arguments, 3 connection, 4 timeout, \
                  5 not understood, 6 done, but something may have been left running, 129, 130 \
                  and 143 ended by a signal."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Args {
    /// Reads the command line of this program. Help and version are printed
    /// and end it.
    pub(crate) fn read() -> Result<Self, Exit> {
        let words = || std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
        let args = match Self::try_parse() {
            Ok(args) => args,
            Err(error) => match refused::explain(&error, words()) {
                Some(text) => return Err(Exit::usage(text)),
                None if error.use_stderr() => error.exit(),
                // What was asked for: the help, or the version.
                None => {
                    let written = error.print().and_then(|()| std::io::stdout().flush());
                    return Err(written.map_or_else(|error| Exit::unwritten(&error), |()| Exit::OK));
                }
            },
        };
        args.check()?;
        if args.command.is_none() && !args.ask.print && !words().any(|word| word == "--") {
            args.check_word()?;
        }
        Ok(args)
    }

    /// Checks that a prompt of one word is not a subcommand with a typing error.
    fn check_word(&self) -> Result<(), Exit> {
        let [word] = self.ask.words.as_slice() else { return Ok(()) };
        let command = Self::command();
        let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        match refused::meant(word, &known) {
            Some(text) => Err(Exit::usage(text)),
            None => Ok(()),
        }
    }

    /// Checks what clap cannot: words and options that do not go together.
    fn check(&self) -> Result<(), Exit> {
        let ask = match &self.command {
            Some(Command::Ask(ask)) => ask,
            _ => &self.ask,
        };
        if self.command.is_none() && refused::is_former_command(&ask.words) {
            return Err(Exit::usage(refused::COMMAND));
        }
        if ask.words.len() > 1 || (self.command.is_some() && !self.ask.words.is_empty()) {
            return Err(Exit::usage(
                "the prompt is one argument: put quotes around it, as in claude-relay \"Hello there\"",
            ));
        }
        if self.command.is_some() && self.ask != AskArgs::default() {
            return Err(Exit::usage(
                "options of `ask` cannot stand before a subcommand: write them after it",
            ));
        }
        if self.server.url.trim().is_empty() {
            return Err(Exit::usage(
                "the server's address is empty: name it with --url or CLAUDE_RELAY_URL, or unset that",
            ));
        }
        let e2b = &self.server.e2b;
        let talks = matches!(self.command, None | Some(Command::Ask(_) | Command::Chat(_)));
        if e2b.is_wanted() && !talks {
            return Err(Exit::usage("a sandbox is for `ask` and `chat`"));
        }
        if e2b.keep && !e2b.is_wanted() {
            return Err(Exit::usage("--keep goes with --e2b or --e2b-template"));
        }
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask one question; this is also what happens without a subcommand
    #[command(override_usage = "claude-relay ask [OPTIONS] [PROMPT]")]
    Ask(AskArgs),
    /// Talk back and forth
    Chat(ChatArgs),
    /// Copy files into the server's workspace, or out of it
    ///
    /// One of the two begins with a colon: that one is in the workspace.
    /// What is in a directory goes into the directory that is named.
    Cp {
        /// What is copied: LOCAL or :REMOTE
        #[arg(value_name = "FROM", value_parser = parse_text)]
        from: String,
        /// Where to: :REMOTE or LOCAL; `-` for stdout
        #[arg(value_name = "TO", value_parser = parse_text)]
        to: String,
    },
    /// Read along, without the slot: print what people and the agent say
    Watch {
        /// Print each message of the agent as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// List the conversations of the workspace, or print one
    Conversations {
        /// Print the messages of this one, a line of JSON each
        #[arg(value_name = "ID", value_parser = parse_text)]
        id: Option<String>,
        /// The most that are listed
        #[arg(long, value_name = "NUMBER", default_value = "20")]
        limit: usize,
    },
    /// Show or change the server's configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Show the state of the server
    Health {
        /// Print what the server says, as JSON
        #[arg(long)]
        json: bool,
    },
    /// List, kill, pause and resume sandboxes in E2B's cloud
    E2b {
        #[command(subcommand)]
        command: E2bCommand,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// The page of this subcommand, such as chat or "e2b kill"
        #[arg(value_name = "SUBCOMMAND", value_parser = parse_text)]
        subcommand: Option<String>,
    },
    /// Print a skill that teaches Claude Code to ask another agent
    ///
    /// It belongs into the file .claude/skills/ask-another-agent/SKILL.md of a
    /// project or of the home directory.
    Skill,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print it, without its secrets
    Get {
        /// Print this field alone
        #[arg(value_name = "FIELD", value_parser = parse_text)]
        field: Option<String>,
    },
    /// Remove fields
    Unset {
        /// The fields
        #[arg(value_name = "FIELD", required = true, value_parser = parse_text)]
        fields: Vec<String>,
    },
    /// Change fields; the others stay as they are
    Set {
        /// Replace the whole configuration instead, secrets too
        #[arg(long)]
        replace: bool,
        /// A file of JSON, `-` for stdin
        #[arg(long, value_name = "FILE", conflicts_with = "fields")]
        file: Option<PathBuf>,
        /// `name=value`; a value is JSON if it can be read as such, else text
        #[arg(value_name = "NAME=VALUE", required_unless_present = "file", value_parser = parse_text)]
        fields: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_option_stands_below_a_heading_of_its_own_kind() {
        let command = Args::command();
        let heading = |name: &str| {
            let mut arguments = command.get_arguments();
            arguments.find(|a| a.get_id() == name).and_then(|a| a.get_help_heading())
        };
        for (name, expected) in [
            ("prompt_file", "Prompt and answer"),
            ("json", "Prompt and answer"),
            ("out", "Prompt and answer"),
            ("timeout", "Turn"),
            ("interactive_approvals", "Turn"),
            ("go_on", "Conversation"),
            ("resume", "Conversation"),
            ("model", "Agent"),
            ("provider", "Agent"),
            ("url", "Server"),
            ("verbose", "Server"),
        ] {
            let found = heading(name).unwrap_or_default();
            assert!(found.starts_with(expected), "{name}: {found}");
        }
        assert!(heading("keep").is_some_and(|heading| heading.starts_with("E2B")));
        assert_eq!(heading("words"), None);
    }

    #[test]
    fn every_command_of_the_skill_is_one_that_is_understood() {
        let skill = include_str!("../../skill/SKILL.md");
        let commands: Vec<&str> =
            skill.lines().filter(|line| line.contains("claude-relay --json")).collect();
        assert!(commands.len() > 5);
        for line in commands {
            let (_, command) = line.split_once("claude-relay ").unwrap();
            let (options, prompt) = command.split_once('"').unwrap();
            let words = ["claude-relay"].into_iter().chain(options.split_whitespace());
            let prompt = prompt.trim_end_matches('"');
            let args = Args::try_parse_from(words.chain([prompt])).unwrap();
            assert_eq!(args.ask.prompt(), Some(prompt), "{line}");
            assert!(args.check().is_ok(), "{line}");
        }
        let (head, _) = skill.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
        assert!(head.contains("name: ask-another-agent\n") && head.contains("description: "));
    }

    /// The options whose empty value means something, no system prompt and no token,
    /// and the address, whose variable may be empty where the option is given.
    const TAKE_NOTHING: [&str; 3] = ["system_prompt", "token", "url"];

    #[test]
    fn an_empty_value_is_refused_wherever_it_would_stand_for_something_else() {
        fn check(command: &clap::Command, path: &[&str]) -> usize {
            let mut checked = 0;
            for argument in command.get_arguments() {
                let is_prompt = argument.get_id() == "words" || argument.get_id() == "command";
                let takes_one = argument.get_action().takes_values() && !is_prompt;
                if !takes_one || TAKE_NOTHING.iter().any(|name| argument.get_id() == *name) {
                    continue;
                }
                let value = argument.get_long().map_or(String::new(), |long| format!("--{long}="));
                let words = path.iter().copied().chain([value.as_str()]);
                let error = Args::try_parse_from(words).unwrap_err();
                assert_eq!(error.exit_code(), 2, "{path:?} {value}");
                assert!(
                    error.kind() != clap::error::ErrorKind::MissingRequiredArgument,
                    "{path:?} {argument:?}: {error}"
                );
                checked += 1;
            }
            for subcommand in command.get_subcommands() {
                let path: Vec<&str> = path.iter().copied().chain([subcommand.get_name()]).collect();
                checked += check(subcommand, &path);
            }
            checked
        }
        assert!(check(&Args::command(), &["claude-relay"]) > 50);
    }

    #[test]
    fn a_default_is_what_an_empty_command_line_gives() {
        assert_eq!(Args::parse_from(["claude-relay"]).ask, AskArgs::default());
    }
}
