//! The directory that the agent works in: below the workspace, links followed.

use std::io;
use std::path::{Path, PathBuf};

/// Why a working directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The workspace is not there or cannot be read.
    #[error("the workspace {path:?} cannot be used: {source}")]
    Workspace {
        /// The workspace as set.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The working directory is not there or cannot be read.
    #[error("cwd: {path:?} cannot be used: {source}; create it or configure another")]
    Directory {
        /// The directory as configured, below the workspace if relative.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The working directory is a file.
    #[error("cwd: {path:?} is not a directory; configure another")]
    NotADirectory {
        /// The path without links.
        path: PathBuf,
    },
    /// The working directory is outside the workspace.
    #[error(
        "cwd: {path:?} is outside the workspace {workspace:?}, links followed; configure a directory inside it"
    )]
    Outside {
        /// The directory without links.
        path: PathBuf,
        /// The workspace without links.
        workspace: PathBuf,
    },
}

/// The directory to run in: `cwd` below the workspace, links followed.
pub(in crate::agent) fn directory(
    cwd: Option<&str>,
    workspace: &Path,
) -> Result<PathBuf, WorkspaceError> {
    let inside = workspace
        .canonicalize()
        .map_err(|source| WorkspaceError::Workspace { path: workspace.to_owned(), source })?;
    let Some(cwd) = cwd else { return Ok(inside) };
    let path = inside.join(cwd);
    let resolved =
        path.canonicalize().map_err(|source| WorkspaceError::Directory { path, source })?;
    if !resolved.starts_with(&inside) {
        return Err(WorkspaceError::Outside { path: resolved, workspace: inside });
    }
    // Opened, not only looked at: a directory may be there and be closed to us.
    match resolved.read_dir() {
        Ok(_) => Ok(resolved),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(WorkspaceError::NotADirectory { path: resolved })
        }
        Err(source) => Err(WorkspaceError::Directory { path: resolved, source }),
    }
}
