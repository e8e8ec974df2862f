//! `claude-relay-agent`: stands in for the CLI towards the official Agent SDKs,
//! and has the agent run behind a relay.
//!
//! Towards the program that has started it, it behaves as the CLI would: its
//! lines, its exit code, the signals.

mod arguments;
mod end;
mod environment;
mod host;
mod incoming;
mod link;
mod outgoing;
mod reconnect;
mod sandbox;
mod settings;
mod shim;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use end::Failure;
use settings::Settings;

/// The name by which this program is the agent.
const NAME: &str = "claude-relay-agent";

/// Returns the agent's arguments, if this program is started as the agent: by
/// its name, or with the words `agent --`.
pub(crate) fn arguments(mut words: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let name = words.next()?;
    if Path::new(&name).file_stem() == Some(OsStr::new(NAME)) {
        return Some(words.collect());
    }
    if words.next()? != "agent" {
        return None;
    }
    let rest: Vec<OsString> = words.collect();
    match rest.split_first() {
        Some((first, rest)) if first == "--" => Some(rest.to_vec()),
        _ => None,
    }
}

/// Runs as the agent.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    if let [flag, signal] = &args[..]
        && flag == end::DIE_OF
    {
        return end::die(signal);
    }
    let prepared = match prepare(args) {
        Ok(Command::Help) => return print_help(),
        Ok(Command::Run(settings, prepared)) => (settings, prepared),
        Err(failure) => {
            let code = failure.leave();
            host::await_input(host::FIRST_LINE_LIMIT);
            return code;
        }
    };
    match shim::run(prepared) {
        Ok(end) => end.leave(),
        Err(failure) => failure.leave(),
    }
}

/// What the command line asks for.
enum Command {
    /// The help of this program. Nothing is connected to for it.
    Help,
    /// The remote CLI.
    Run(Settings, arguments::Prepared),
}

fn print_help() -> ExitCode {
    match std::io::stdout().write_all(settings::help().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn prepare(args: Vec<OsString>) -> Result<Command, Failure> {
    let words = args
        .into_iter()
        .map(|word| {
            word.into_string()
                .map_err(|word| Failure::usage(format!("an argument is not UTF-8: {word:?}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (own, rest) = settings::take_own(words)?;
    if matches!(&rest[..], [only] if only == "-h" || only == "--help") {
        return Ok(Command::Help);
    }
    let settings = Settings::read(own)?;
    Ok(Command::Run(settings, arguments::prepare(rest)?))
}
