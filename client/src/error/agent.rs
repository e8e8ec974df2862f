//! Errors of what a program asks of the agent: messages, control requests,
//! turns.

use std::sync::Arc;

use super::ConnectionError;

/// A message was not delivered, or it is not known.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message is not one that a server takes; it was not sent.
    #[error("the message cannot be sent: {reason}")]
    InvalidMessage {
        /// The fault.
        reason: String,
    },
    /// The message is longer than any that a server takes; it was not sent.
    #[error("a message is over the limit of {limit_bytes} bytes")]
    TooBig {
        /// The limit.
        limit_bytes: usize,
    },
    /// The message was not sent, for certain. It is safe to send it again.
    #[error("not delivered")]
    NotDelivered {
        /// The end of the connection.
        source: ConnectionError,
    },
    /// The message was written, but the connection broke before the server
    /// confirmed that it had read it, or before it answered a control request.
    /// Sending it again may do it twice: look at the stream first.
    #[error("it is not known whether the message was delivered")]
    DeliveryUnknown {
        /// The end of the connection.
        source: ConnectionError,
    },
    /// The message was written, but its confirmation or answer is behind
    /// messages that the program does not read. Read them, or drop the
    /// subscription. It is not known whether the message was delivered.
    #[error(
        "it is not known whether the message was delivered: messages that nobody reads are in the way"
    )]
    SlowConsumer,
    /// The decision is about a request of a server that was restarted
    /// meanwhile; it was not sent.
    #[error("not delivered: the server was restarted")]
    ServerRestarted,
}

impl SendError {
    pub(crate) fn invalid(reason: impl ToString) -> Self {
        Self::InvalidMessage { reason: reason.to_string() }
    }
}

/// A control request failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// It was not delivered or has no answer.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The agent answered with an error.
    #[error("the agent refuses {subtype}: {message}")]
    Refused {
        /// The request's subtype.
        subtype: String,
        /// The agent's words.
        message: String,
    },
    /// The answer is of a form that this version does not know.
    #[error("the agent's {what} are of another form")]
    Malformed {
        /// The subject of the answer.
        what: &'static str,
        /// The fault.
        source: Arc<serde_json::Error>,
    },
}

/// A turn has no result.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TurnError {
    /// Its message was not delivered, or it is not known.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The connection ended before the turn did.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The agent process ended before the turn did. The next message starts a
    /// new one that goes on with the same conversation.
    #[error("the agent ended in the middle of the turn ({}){}", how(*.code, .signal.as_deref()), stderr_suffix(.stderr))]
    AgentExited {
        /// Its exit code, if it exited.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<String>,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// The server was restarted in the middle of the turn, and its agent with
    /// it: no result can come. The next message goes to the new server.
    #[error("the server was restarted in the middle of the turn")]
    ServerRestarted,
    /// The server answered the message with an error instead of a turn.
    #[error("the server refuses the message: {message}")]
    Refused {
        /// The server's words.
        message: String,
    },
    /// The server took the message, and it will not be run.
    #[error("the message is not run: {reason}")]
    Undelivered {
        /// The cause, in the server's words.
        reason: String,
    },
    /// The server no longer has some messages of the turn.
    #[error("messages of this turn are missing, perhaps its result")]
    MessagesLost,
}

fn how(code: Option<i32>, signal: Option<&str>) -> String {
    match (code, signal) {
        (_, Some(signal)) => signal.to_owned(),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "reason unknown".to_owned(),
    }
}

fn stderr_suffix(stderr: &str) -> String {
    let stderr = stderr.trim();
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_end_is_told_whole() {
        let error = TurnError::AgentExited { code: Some(3), signal: None, stderr: "boom\n".into() };
        assert_eq!(
            error.to_string(),
            "the agent ended in the middle of the turn (exit code 3): boom"
        );
    }
}
