//! The working directory of the agent: inside the workspace, with links
//! resolved.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

/// Reason for which a working directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The workspace does not exist or cannot be read.
    #[error("the workspace {path:?} cannot be used: {source}")]
    Workspace {
        /// The configured workspace.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The working directory does not exist or cannot be read.
    #[error("cwd: {path:?} cannot be used: {source}; create it or configure another")]
    Directory {
        /// The configured directory, joined to the workspace if relative.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The working directory is a file.
    #[error("cwd: {path:?} is not a directory; configure another")]
    NotADirectory {
        /// The path with links resolved.
        path: PathBuf,
    },
    /// The working directory is outside the workspace.
    #[error(
        "cwd: {path:?} is outside the workspace {workspace:?}, links followed; configure a directory inside it"
    )]
    Outside {
        /// The directory with links resolved.
        path: PathBuf,
        /// The workspace with links resolved.
        workspace: PathBuf,
    },
}

/// Returns the working directory: `cwd` inside the workspace, with links
/// resolved.
pub(crate) fn directory(cwd: Option<&str>, workspace: &Path) -> Result<PathBuf, WorkspaceError> {
    let inside = workspace
        .canonicalize()
        .map_err(|source| WorkspaceError::Workspace { path: workspace.to_owned(), source })?;
    if !inside.is_dir() {
        let source = io::ErrorKind::NotADirectory.into();
        return Err(WorkspaceError::Workspace { path: inside, source });
    }
    let Some(cwd) = cwd else {
        // Known in time: a program that cannot enter it is told by a system
        // error that names the program.
        accessat(CWD, &inside, Access::EXEC_OK, AtFlags::EACCESS).map_err(|error| {
            WorkspaceError::Workspace { path: inside.clone(), source: error.into() }
        })?;
        return Ok(inside);
    };
    let path = inside.join(cwd);
    let resolved =
        path.canonicalize().map_err(|source| WorkspaceError::Directory { path, source })?;
    if !resolved.starts_with(&inside) {
        return Err(WorkspaceError::Outside { path: resolved, workspace: inside });
    }
    // Opened, because a directory may exist without being readable.
    match resolved.read_dir() {
        Ok(_) => Ok(resolved),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(WorkspaceError::NotADirectory { path: resolved })
        }
        Err(source) => Err(WorkspaceError::Directory { path: resolved, source }),
    }
}
