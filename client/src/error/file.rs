//! Errors of files of the workspace.

use super::RequestError;

/// A file of the workspace was not read, written, listed, removed or watched.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is nothing by this path, or the server serves no files.
    #[error("there is no {path:?} (404): {message}")]
    NotFound {
        /// The path.
        path: String,
        /// The server's words.
        message: String,
    },
    /// There is a file already, and it was not to be replaced.
    #[error("there is a {path:?} already")]
    Exists {
        /// The path.
        path: String,
    },
    /// The server refuses it: by its mode, because the path leads out of the
    /// workspace, or because the file is too large.
    #[error("the server refuses {path:?} ({status}): {message}")]
    Refused {
        /// The path.
        path: String,
        /// The HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}
