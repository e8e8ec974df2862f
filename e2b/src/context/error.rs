//! Why the files of a COPY step cannot be sent, and how many may be.

use std::path::PathBuf;

use crate::dockerignore::BadPattern;

/// The most that the files of one COPY step may add up to.
pub const MAX_COPY_BYTES: u64 = 512 << 20;

/// Why the files of a COPY step cannot be sent. Nothing was uploaded then.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The source is absolute or leads out of the context.
    #[error("COPY {0:?}: the source must be a path inside the context directory")]
    Outside(String),
    /// Nothing is there, or a `.dockerignore` keeps all of it out.
    #[error("COPY {source_path:?}: no such files in {context}")]
    Nothing {
        /// The source as written.
        source_path: String,
        /// The context directory.
        context: PathBuf,
    },
    /// A symbolic link: the SDKs treat them in different ways, and one that
    /// points outside would leak what is there.
    #[error(
        "{0:?} is a symbolic link, which is not copied: copy what it points to, or list it in .dockerignore"
    )]
    Symlink(PathBuf),
    /// A socket, pipe or device.
    #[error("{0:?} is neither a file nor a directory: list it in .dockerignore")]
    Special(PathBuf),
    /// A name that is not UTF-8 or has a line break or NUL in it.
    #[error("{0:?} has a name that cannot be sent")]
    Name(PathBuf),
    /// More than [`MAX_COPY_BYTES`].
    #[error("COPY {0:?}: more than {limit} MiB; list what is not needed in .dockerignore", limit = MAX_COPY_BYTES >> 20)]
    TooLarge(String),
    /// A pattern that cannot be understood.
    #[error("{file}: {problem}")]
    Pattern {
        /// Where it stands.
        file: String,
        /// What is wrong with it.
        problem: BadPattern,
    },
    /// The file system says no.
    #[error("{path:?}: {problem}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it says.
        problem: std::io::Error,
    },
}
