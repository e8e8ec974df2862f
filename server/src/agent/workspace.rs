//! The working directory of the agent: inside the workspace, with links
//! resolved.

use std::io;
use std::path::{Component, Path, PathBuf};

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
        /// The directory, with links resolved at the start.
        path: PathBuf,
        /// The workspace with links resolved.
        workspace: PathBuf,
    },
}

/// Judges a configured `cwd` before the agent starts: as far as it exists, links
/// followed, it is inside the workspace. The rest may be made until then, but leads
/// nowhere upwards.
pub(crate) fn check_inside(cwd: &str, workspace: &Path) -> Result<(), WorkspaceError> {
    // A workspace that cannot be used keeps the agent from starting.
    let Ok(inside) = workspace.canonicalize() else { return Ok(()) };
    let path = inside.join(cwd);
    let known = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let is_inside = known.is_some_and(|(part, resolved)| {
        let missing = path.strip_prefix(part).unwrap_or(&path);
        let upwards = missing.components().any(|part| matches!(part, Component::ParentDir));
        resolved.starts_with(&inside) && !upwards
    });
    if is_inside { Ok(()) } else { Err(WorkspaceError::Outside { path, workspace: inside }) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_may_be_made_is_inside_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let workspace = root.path().join("workspace");
        std::fs::create_dir_all(workspace.join("inside")).unwrap();
        std::fs::create_dir(root.path().join("workspace2")).unwrap();
        std::fs::write(workspace.join("file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", workspace.join("link")).unwrap();
        let check = |cwd: &str| check_inside(cwd, &workspace);
        for cwd in ["", ".", "inside", "inside/..", "new", "new/er", "file", "inside/../new"] {
            assert!(check(cwd).is_ok(), "{cwd}: {:?}", check(cwd));
        }
        let absolute = workspace.join("inside/new");
        assert!(check(absolute.to_str().unwrap()).is_ok());
        for cwd in [
            "/",
            "/etc",
            "/none",
            "..",
            "../workspace2",
            "../none",
            "link",
            "link/ssl",
            "link/none",
            "new/../..",
            "inside/../../home",
            "new/../../workspace/inside",
        ] {
            assert!(matches!(check(cwd), Err(WorkspaceError::Outside { .. })), "{cwd}");
        }
        assert!(check_inside("/etc", &root.path().join("none")).is_ok());
    }
}
