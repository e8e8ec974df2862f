//! Errors of the files of a COPY step, and the limit of their size.

use std::path::PathBuf;

use crate::dockerignore::BadPattern;

/// Largest total size of the files of one COPY step.
pub const MAX_COPY_BYTES: u64 = 512 << 20;

/// Reason for failing to send the files of a COPY step. Nothing was uploaded.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The source is absolute or leads out of the context.
    #[error("COPY {0:?}: the source must be a path inside the context directory")]
    Outside(String),
    /// No file matches, or a `.dockerignore` excludes every match.
    #[error("COPY {source_path:?}: no such files in {context}")]
    Nothing {
        /// The source as written.
        source_path: String,
        /// The context directory.
        context: PathBuf,
    },
    /// The source holds a symbolic link. The SDKs treat links in different
    /// ways, and a link to the outside would leak the file there.
    #[error(
        "{0:?} is a symbolic link, which is not copied: copy what it points to, or list it in .dockerignore"
    )]
    Symlink(PathBuf),
    /// The source holds a socket, pipe or device.
    #[error("{0:?} is neither a file nor a directory: list it in .dockerignore")]
    Special(PathBuf),
    /// A name is not UTF-8, or contains a line break or NUL.
    #[error("{0:?} has a name that cannot be sent")]
    Name(PathBuf),
    /// The files are larger than [`MAX_COPY_BYTES`].
    #[error("COPY {0:?}: more than {limit} MiB; list what is not needed in .dockerignore", limit = MAX_COPY_BYTES >> 20)]
    TooLarge(String),
    /// A pattern is malformed.
    #[error("{file}: {problem}")]
    Pattern {
        /// The file of the pattern.
        file: String,
        /// The problem.
        problem: BadPattern,
    },
    /// The file system reports an error.
    #[error("{path:?}: {problem}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        problem: std::io::Error,
    },
}
