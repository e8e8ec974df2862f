//! Writing and removing: a file appears whole, under its name, or not at all.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claude_relay_listen::Lifetime;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use rustix::fs::{
    AtFlags, FileType, Mode as Permissions, OFlags, RenameFlags, fchmod, mkdirat, openat, renameat,
    renameat_with, statat, unlinkat,
};
use rustix::io::Errno;
use tokio::time::timeout;

use super::confined::Workspace;
use super::error::FileError;
use super::path::RelativePath;
use super::{MAX_FILE_BYTES, blocking};
use crate::agent::mode::Mode;

/// Maximum time without a byte of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Beginning of the names of files that are being received.
const TEMPORARY_PREFIX: &str = ".claude-relay-upload-";

/// Returns true for a file that is being received.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(TEMPORARY_PREFIX.as_bytes())
}

/// A file that is being received. It is removed when dropped before its end.
#[derive(Debug)]
pub(super) struct Upload {
    directory: OwnedFd,
    name: String,
    temporary: Option<String>,
    file: File,
    only_create: bool,
    replaces: bool,
    bytes: u64,
}

impl Upload {
    /// Begins to write `path`: makes the directories above it and a temporary
    /// file beside it.
    pub(super) fn begin(
        workspace: &Workspace,
        path: &RelativePath,
        mode: Mode,
        only_create: bool,
    ) -> Result<Self, FileError> {
        let Some((name, parents)) = path.names.split_last() else {
            return Err(FileError::Conflict("it is a directory"));
        };
        if path.is_directory {
            return Err(FileError::Conflict("a path that ends with a slash is a directory"));
        }
        workspace.check_writable(&path.to_path(), mode)?;
        let (place, name) = match workspace.find(&path.to_path()) {
            // What a link leads to is replaced, not the link.
            Ok(found) => split(&found.path)?,
            Err(FileError::NotFound) => (make_parents(workspace, parents, mode)?, name.clone()),
            Err(error) => return Err(error),
        };
        workspace.check_writable(&place.join(&name), mode)?;
        let directory = workspace.open_directory(&place)?;
        let before = match statat(&directory, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Some(stat),
                FileType::Directory => return Err(FileError::Conflict("it is a directory")),
                FileType::Symlink => {
                    return Err(FileError::Conflict("it is a link that leads nowhere"));
                }
                _ => return Err(FileError::Special),
            },
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        if only_create && before.is_some() {
            return Err(FileError::Exists);
        }
        let temporary = format!("{TEMPORARY_PREFIX}{}", claude_relay_random::hexadecimal::<16>());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&directory, &*temporary, flags, Permissions::from_raw_mode(0o666))?;
        let upload = Self {
            directory,
            name,
            temporary: Some(temporary),
            file: file.into(),
            only_create,
            replaces: before.is_some(),
            bytes: 0,
        };
        if let Some(before) = before {
            let permissions = Permissions::from_raw_mode(before.st_mode & 0o777);
            fchmod(&upload.file, permissions)?;
        }
        Ok(upload)
    }

    /// Receives the body.
    pub(super) async fn receive(
        mut self,
        mut body: Incoming,
        lifetime: &Arc<Lifetime>,
    ) -> Result<Self, FileError> {
        loop {
            let frame = timeout(BODY_TIMEOUT, body.frame()).await.map_err(|_| FileError::Late)?;
            let Some(frame) = frame else { return Ok(self) };
            let Ok(data) = frame.map_err(|_| FileError::Cut)?.into_data() else { continue };
            lifetime.on_progress();
            self.bytes += data.len() as u64;
            if self.bytes > MAX_FILE_BYTES {
                return Err(FileError::TooLarge);
            }
            self = self.write(data).await?;
        }
    }

    async fn write(mut self, data: Bytes) -> Result<Self, FileError> {
        blocking(move || {
            self.file.write_all(&data)?;
            Ok(self)
        })
        .await
    }

    /// Gives the file its name. Returns true if there was none by this name.
    pub(super) fn finish(mut self) -> Result<bool, FileError> {
        self.file.sync_data()?;
        let Some(temporary) = &self.temporary else { return Ok(!self.replaces) };
        let (from, to) = (&self.directory, &self.directory);
        if self.only_create {
            match renameat_with(from, &**temporary, to, &*self.name, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => return Err(FileError::Exists),
                renamed => renamed?,
            }
        } else {
            match renameat(from, &**temporary, to, &*self.name) {
                Err(Errno::ISDIR) => return Err(FileError::Conflict("it is a directory")),
                renamed => renamed?,
            }
        }
        self.temporary = None;
        Ok(!self.replaces)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = unlinkat(&self.directory, temporary, AtFlags::empty());
        }
    }
}

/// Makes the directories `parents` and returns their path with links resolved.
fn make_parents(
    workspace: &Workspace,
    parents: &[String],
    mode: Mode,
) -> Result<PathBuf, FileError> {
    let mut place = PathBuf::new();
    for name in parents {
        let next = place.join(name);
        let found = match workspace.find(&next) {
            Err(FileError::NotFound) => {
                workspace.check_writable(&next, mode)?;
                let directory = workspace.open_directory(&place)?;
                match mkdirat(&directory, name, Permissions::from_raw_mode(0o777)) {
                    Err(Errno::EXIST) | Ok(()) => {}
                    Err(error) => return Err(error.into()),
                }
                match workspace.find(&next) {
                    Err(FileError::NotFound) => {
                        return Err(FileError::Conflict("a link above it leads nowhere"));
                    }
                    found => found?,
                }
            }
            found => found?,
        };
        if !found.kind().is_dir() {
            return Err(FileError::Conflict("a file is in the place of a directory above it"));
        }
        place = found.path;
    }
    Ok(place)
}

/// Removes a file or an empty directory. A link is removed itself, and must
/// stay inside like any other.
pub(super) fn remove(
    workspace: &Workspace,
    path: &RelativePath,
    mode: Mode,
) -> Result<(), FileError> {
    let Some((name, parents)) = path.names.split_last() else {
        return Err(FileError::Conflict("it is the workspace itself"));
    };
    workspace.check_writable(&path.to_path(), mode)?;
    let place = workspace.find(&parents.iter().collect::<PathBuf>())?.path;
    workspace.check_writable(&place.join(name), mode)?;
    let directory = workspace.open_directory(&place)?;
    let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        FileType::RegularFile if path.is_directory => return Err(FileError::NotFound),
        FileType::RegularFile => AtFlags::empty(),
        FileType::Symlink => match workspace.find(&path.to_path()) {
            Err(FileError::NotFound) | Ok(_) => AtFlags::empty(),
            Err(error) => return Err(error),
        },
        _ => return Err(FileError::Special),
    };
    match unlinkat(&directory, name, flags) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            Err(FileError::Conflict("the directory is not empty"))
        }
        removed => Ok(removed?),
    }
}

/// The directory and the name of a resolved path.
fn split(path: &Path) -> Result<(PathBuf, String), FileError> {
    match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(parent), Some(name)) => Ok((parent.to_owned(), name.to_owned())),
        (_, None) if path.file_name().is_some() => Err(FileError::Name("a name is not UTF-8")),
        _ => Err(FileError::Conflict("it is a directory")),
    }
}
