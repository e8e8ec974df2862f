//! The ends of the program.

use claude_relay_client::Error;

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
        if self.code == 0 || self.code > 128 { Self { code: 6, ..self } } else { self }
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
        let code = match innermost(&error) {
            Error::AgentExited { .. } | Error::MessageRefused(_) | Error::ControlRefused { .. } => {
                1
            }
            Error::Address { .. }
            | Error::InvalidOption { .. }
            | Error::InsecureTransport { .. }
            | Error::ConfigurationRefused { .. }
            | Error::InvalidMessage(_)
            | Error::NoSandbox => 2,
            Error::Timeout { .. } | Error::NotStarted { .. } => 4,
            Error::E2b(error) => match **error {
                claude_relay_client::e2b::Error::Settings(_)
                | claude_relay_client::e2b::Error::Argument(_) => 2,
                claude_relay_client::e2b::Error::TimedOut { .. } => 4,
                _ => 3,
            },
            Error::Protocol(_) => 5,
            _ => 3,
        };
        Self::new(code, error.to_string())
    }
}

/// The error inside those that say what it meant for a message.
pub(crate) fn innermost(error: &Error) -> &Error {
    match error {
        Error::NotDelivered { cause } | Error::DeliveryUnknown { cause } => innermost(cause),
        error => error,
    }
}
