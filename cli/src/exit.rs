//! The ends of the program.

use std::io;
use std::iter::successors;

use claude_relay_client::{
    ConfigureError, ConnectError, ConnectionError, ControlError, Error, FileError, RequestError,
    SandboxError, SendError, TurnError, e2b,
};

/// The end of the program: its exit code, and what to say first.
#[derive(Debug)]
pub(crate) struct Exit {
    code: u8,
    message: Option<String>,
}

impl Exit {
    pub(crate) const OK: Self = Self { code: 0, message: None };

    /// The signal of this number ended the program, in order.
    pub(crate) fn by_signal(number: u8) -> Self {
        Self { code: 128 + number, message: None }
    }

    /// A command elsewhere has ended with this code.
    pub(crate) fn of_command(code: u8) -> Self {
        Self { code, message: None }
    }

    fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// The turn failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// Bad arguments.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(2, message)
    }

    /// Stdout cannot be written. A reader that has gone, such as `head`, has what
    /// it wanted: there is nothing to say.
    pub(crate) fn unwritten(error: &io::Error) -> Self {
        let exit = Self::failed(format!("cannot write to stdout: {error}"));
        if error.kind() == io::ErrorKind::BrokenPipe { exit.silent() } else { exit }
    }

    /// Something took too long.
    pub(crate) fn timeout(message: impl Into<String>) -> Self {
        Self::new(4, message)
    }

    /// Something was read that makes no sense.
    pub(crate) fn not_understood(message: impl Into<String>) -> Self {
        Self::new(5, message)
    }

    /// Something may have been left running.
    pub(crate) fn left_running(message: impl Into<String>) -> Self {
        Self::new(6, message)
    }

    /// The same end, where something may have been left running as well. A
    /// failure stays what it is.
    pub(crate) fn and_left_running(self) -> Self {
        if self.code == 0 || self.is_by_signal() { Self { code: 6, ..self } } else { self }
    }

    /// Returns true if a signal has ended the program.
    pub(crate) fn is_by_signal(&self) -> bool {
        self.code > 128
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// The same end in other words.
    pub(crate) fn saying(self, message: String) -> Self {
        Self { message: Some(message), ..self }
    }

    /// The same end with nothing to say, because it has been said.
    pub(crate) fn silent(self) -> Self {
        Self { message: None, ..self }
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        let mut told = with_causes(&error);
        if is_untrusted(&error) {
            told.push_str("\nA certificate of your own is trusted with --ca-certificate FILE");
        }
        Self::new(code_of(&error), told)
    }
}

/// Returns true if E2B has shown a certificate that is not trusted.
fn is_untrusted(error: &Error) -> bool {
    match error {
        Error::Sandbox(SandboxError::Api(error))
        | Error::Connect(ConnectError::Sandbox(SandboxError::Api(error))) => {
            error.is_untrusted_certificate()
        }
        _ => false,
    }
}

impl From<ConnectError> for Exit {
    fn from(error: ConnectError) -> Self {
        Error::from(error).into()
    }
}

impl From<TurnError> for Exit {
    fn from(error: TurnError) -> Self {
        Error::from(error).into()
    }
}

/// The text of an error and of its causes.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes: Vec<String> =
        successors(error.source(), |cause| (*cause).source()).map(ToString::to_string).collect();
    let mut text = error.to_string();
    for cause in &causes {
        // Errors of other crates may name their last cause themselves.
        if causes.last().is_some_and(|last| text.contains(last)) {
            break;
        }
        text = format!("{text}: {cause}");
    }
    text
}

fn code_of(error: &Error) -> u8 {
    match error {
        Error::Request(error) | Error::Configure(ConfigureError::Request(error)) => {
            of_request(error)
        }
        Error::Configure(ConfigureError::Refused { .. }) => 2,
        Error::Connect(error) => of_connect(error),
        Error::Connection(error) => of_connection(error),
        Error::Send(error) => of_send(error),
        Error::Control(ControlError::Send(error)) => of_send(error),
        Error::Control(ControlError::Refused { .. }) => 1,
        Error::Control(ControlError::Malformed { .. }) => 5,
        Error::Turn(TurnError::Send(error)) => of_send(error),
        Error::Turn(TurnError::Connection(error)) => of_connection(error),
        Error::Turn(
            TurnError::AgentExited { .. }
            | TurnError::Refused { .. }
            | TurnError::Undelivered { .. },
        ) => 1,
        Error::File(FileError::Request(error)) => of_request(error),
        Error::File(_) => 1,
        Error::Sandbox(error) => of_sandbox(error),
        _ => 3,
    }
}

fn of_request(error: &RequestError) -> u8 {
    match error {
        RequestError::Address { .. }
        | RequestError::InvalidOption { .. }
        | RequestError::InsecureTransport { .. } => 2,
        RequestError::Timeout { .. } => 4,
        _ => 3,
    }
}

fn of_connect(error: &ConnectError) -> u8 {
    match error {
        ConnectError::Request(error) => of_request(error),
        ConnectError::ConfigurationRefused { .. } => 2,
        ConnectError::Connection(error) => of_connection(error),
        ConnectError::Sandbox(error) => of_sandbox(error),
        ConnectError::ServerNotReady { .. } => 4,
        _ => 3,
    }
}

fn of_connection(error: &ConnectionError) -> u8 {
    match error {
        ConnectionError::Protocol { .. } => 5,
        ConnectionError::ReconnectRefused { source } => of_connect(source),
        ConnectionError::Sandbox(error) => of_sandbox(error),
        _ => 3,
    }
}

fn of_send(error: &SendError) -> u8 {
    match error {
        SendError::InvalidMessage { .. } => 2,
        SendError::NotDelivered { source } | SendError::DeliveryUnknown { source } => {
            of_connection(source)
        }
        _ => 3,
    }
}

fn of_sandbox(error: &SandboxError) -> u8 {
    match error {
        SandboxError::NoSandbox => 2,
        SandboxError::Api(error) => match **error {
            e2b::Error::Settings(_) | e2b::Error::Argument(_) => 2,
            e2b::Error::TimedOut { .. } => 4,
            _ => 3,
        },
        _ => 3,
    }
}
