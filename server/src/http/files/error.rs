//! Reasons for not serving a file.

use std::io;

use claude_relay_listen::answer::Refusal;
use hyper::StatusCode;
use rustix::io::Errno;

use super::MAX_FILE_BYTES;
use crate::agent::mode::Mode;

/// Reason for not serving a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("the path cannot be used: {0}")]
    Name(&'static str),
    #[error("{0}")]
    Request(&'static str),
    #[error("there is no such file or directory")]
    NotFound,
    #[error("Forbidden: the path leads out of the workspace")]
    Outside,
    #[error("Forbidden: it is neither a file nor a directory")]
    Special,
    #[error(
        "Forbidden: mode {0} of this server reads files and writes none; the operator can choose --mode ask"
    )]
    ReadOnly(Mode),
    #[error(
        "Forbidden: {name} configures the agent, and mode {mode} of this server does not write it; the operator can choose --mode unrestricted"
    )]
    Guarded { name: &'static str, mode: Mode },
    #[error("Forbidden: the server's user has no right to it")]
    Denied(#[source] Errno),
    #[error("{0}")]
    Conflict(&'static str),
    #[error("there is one already")]
    Exists,
    #[error("the file is over {} MiB", MAX_FILE_BYTES >> 20)]
    TooLarge,
    #[error("the body must not be compressed")]
    Compressed,
    #[error("the body did not arrive in time")]
    Late,
    #[error("the body ended early")]
    Cut,
    #[error("the range begins behind the end of the file")]
    Unsatisfiable { length: u64 },
    #[error("{limit} {what} at once are the limit: try again later")]
    Busy { limit: usize, what: &'static str },
    #[error("no space is left for it")]
    NoSpace(#[source] Errno),
    #[error("this system cannot confine paths to the workspace (openat2 of Linux 5.6)")]
    Unsupported,
    #[error("the system failed: {0}")]
    System(#[source] io::Error),
    #[error("the server is shutting down")]
    ShuttingDown,
}

impl FileError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Name(_) | Self::Request(_) | Self::Cut => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Outside
            | Self::Special
            | Self::ReadOnly(_)
            | Self::Guarded { .. }
            | Self::Denied(_) => StatusCode::FORBIDDEN,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Exists => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Compressed => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Unsatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Busy { .. } | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Self::System(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Errno> for FileError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound,
            Errno::XDEV | Errno::LOOP => Self::Outside,
            Errno::NAMETOOLONG => Self::Name("it is too long"),
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Self::Denied(error),
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace(error),
            Errno::NOSYS => Self::Unsupported,
            Errno::NXIO => Self::Special,
            error => Self::System(error.into()),
        }
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => Self::System(error),
        }
    }
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        use hyper::header::{CONTENT_RANGE, HeaderValue, RETRY_AFTER};
        if let FileError::System(source) = &error {
            tracing::warn!("a request for a file failed: {source}");
        }
        let mut refusal = Self::new(error.status(), error.to_string());
        match error {
            FileError::Unsatisfiable { length } => {
                let range = HeaderValue::try_from(format!("bytes */{length}"));
                refusal.headers.extend(range.map(|range| (CONTENT_RANGE, range)));
            }
            FileError::Busy { .. } => {
                refusal.headers.push((RETRY_AFTER, HeaderValue::from_static("1")));
            }
            _ => {}
        }
        refusal
    }
}
