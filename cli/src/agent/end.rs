//! The ends of the agent towards the program that has started it. None of its
//! own is a success: a program would take it for that of a query.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::ExitCode;

use claude_relay_client::RequestError;
use claude_relay_system as system;
use rustix::process::{Signal, getpid, kill_process};

/// The exit code of bad arguments, and of what the server refuses.
const USAGE: u8 = 2;

/// The exit code of a connection that is missing.
const CONNECTION: u8 = 3;

/// The argument with which this program is executed once more, to die of a
/// signal that it has handled.
pub(super) const DIE_OF: &str = "--relay-die-of";

/// The most bytes of a failure on stderr: a program shows the last 2,048.
const MAX_TEXT_BYTES: usize = 1900;

/// The end of the remote agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It exited with this code.
    Code(i32),
    /// It was ended by the signal of this name.
    Signal(String),
}

/// A failure of this program.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { code: USAGE, text: text.into() }
    }

    pub(super) fn connection(text: impl Into<String>) -> Self {
        Self { code: CONNECTION, text: text.into() }
    }

    /// As the CLI would exit.
    pub(super) fn of_cli(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// A failure to connect.
    pub(super) fn of(error: &RequestError, url: &str) -> Self {
        let told = told(error);
        match error {
            RequestError::Address { .. }
            | RequestError::InvalidOption { .. }
            | RequestError::Forbidden { .. } => Self::usage(told),
            RequestError::InsecureTransport { .. } => Self::usage(format!(
                "{told}: --relay-allow-plaintext, or CLAUDE_RELAY_ALLOW_PLAINTEXT=1"
            )),
            RequestError::Unauthorized { .. } => {
                Self::usage(format!("{told}; name it by CLAUDE_RELAY_TOKEN or --relay-token-file"))
            }
            RequestError::NotARelay { .. } => {
                Self::connection(format!("{told} (or it has no /agent; see --max-runs)"))
            }
            RequestError::Connect { .. } => Self::connection(format!(
                "{told}: is the relay at {url} running? Its address is named by CLAUDE_RELAY_URL or --relay-url"
            )),
            _ => Self::connection(told),
        }
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Says why, and ends the program.
    pub(super) fn leave(self) -> ExitCode {
        let text = claude_relay_protocol::text::head_bytes(&self.text, MAX_TEXT_BYTES);
        super::host::say(text);
        ExitCode::from(self.code)
    }
}

/// An error with its causes, on one line.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text.replace('\n', " ")
}

impl End {
    /// Ends this program in the same way.
    pub(super) fn leave(self) -> ExitCode {
        match self {
            // The system keeps the low eight bits.
            Self::Code(code) => ExitCode::from((code & 0xff) as u8),
            Self::Signal(name) => {
                let error = execute_anew(&name);
                super::host::say(&format!("the agent was ended by {name} ({error})"));
                ExitCode::from(code_of(&name))
            }
        }
    }
}

/// Executes this program anew, because a signal with a handler does not end a
/// program. Returns the reason for which it cannot.
fn execute_anew(name: &str) -> io::Error {
    let program = match system::executable(Path::new(system::OWN_PROGRAM)) {
        Ok(program) => program,
        Err(error) => return error,
    };
    #[expect(clippy::disallowed_methods, reason = "no other process is started")]
    std::process::Command::new(&*program).arg0("claude-relay-agent").args([DIE_OF, name]).exec()
}

/// Dies of the signal `name`.
pub(super) fn die(name: &OsStr) -> ExitCode {
    let name = name.to_string_lossy();
    if let Some(signal) = signal(&name) {
        // The handler that Rust installs for SIGSEGV and SIGBUS takes itself
        // away the first time. What does not end this program is told by the
        // exit code.
        for _ in 0..2 {
            let _ = kill_process(getpid(), signal);
        }
    }
    ExitCode::from(code_of(&name))
}

fn code_of(name: &str) -> u8 {
    128 + signal(name).map_or(0, |signal| signal.as_raw() as u8)
}

fn signal(name: &str) -> Option<Signal> {
    Some(match name {
        "SIGHUP" => Signal::HUP,
        "SIGINT" => Signal::INT,
        "SIGQUIT" => Signal::QUIT,
        "SIGILL" => Signal::ILL,
        "SIGTRAP" => Signal::TRAP,
        "SIGABRT" => Signal::ABORT,
        "SIGBUS" => Signal::BUS,
        "SIGFPE" => Signal::FPE,
        "SIGKILL" => Signal::KILL,
        "SIGUSR1" => Signal::USR1,
        "SIGSEGV" => Signal::SEGV,
        "SIGUSR2" => Signal::USR2,
        "SIGPIPE" => Signal::PIPE,
        "SIGALRM" => Signal::ALARM,
        "SIGTERM" => Signal::TERM,
        "SIGXCPU" => Signal::XCPU,
        "SIGXFSZ" => Signal::XFSZ,
        "SIGSYS" => Signal::SYS,
        _ => return None,
    })
}
