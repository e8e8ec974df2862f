//! The transcripts in the CLI's own directory. No link below it is followed,
//! since the agent can make some.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, fstat, linkat, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;

use super::key::is_safe_subpath;

/// The folder of sub-agents, below that of their conversation.
const SUBAGENTS: &str = "subagents";

/// The folder of one working directory.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    /// Opens the folder of `project` in the CLI's directory, made when it is
    /// missing.
    pub(super) fn open(state: &Path, project: &str) -> io::Result<Self> {
        std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
            .create(state)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let state = Self(rustix::fs::open(state, flags, Mode::empty())?);
        state.below(&["projects", project])
    }

    /// Opens what is below, made when it is missing.
    pub(super) fn below(&self, names: &[&str]) -> io::Result<Self> {
        let mut folder = self.0.try_clone()?;
        for name in names {
            match mkdirat(&folder, *name, Mode::RWXU) {
                Err(error) if error != Errno::EXIST => return Err(error.into()),
                _ => {}
            }
            folder = openat(&folder, *name, DIRECTORY, Mode::empty())?;
        }
        Ok(Self(folder))
    }

    /// Reads a file of at most `limit` bytes; `None` if there is none.
    pub(super) fn read(&self, name: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            file => file?,
        };
        if !FileType::from_raw_mode(fstat(&file)?.st_mode).is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut text = Vec::new();
        File::from(file).take(limit + 1).read_to_end(&mut text)?;
        if text.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some(text))
    }

    /// Writes a file in one step, with rights for this user alone.
    pub(super) fn write(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let made = format!(".{}.tmp", claude_relay_random::hexadecimal::<8>());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, &made, flags, Mode::RUSR | Mode::WUSR)?);
        let written = file
            .write_all(text)
            .and_then(|()| renameat(&self.0, &made, &self.0, name).map_err(io::Error::from));
        if written.is_err() {
            // It is of no use.
            let _ = unlinkat(&self.0, &made, AtFlags::empty());
        }
        written
    }

    /// Keeps a file under another name, too.
    pub(super) fn keep_aside(&self, name: &str, aside: &str) -> io::Result<()> {
        Ok(linkat(&self.0, name, &self.0, aside, AtFlags::empty())?)
    }

    /// Lists the transcripts of a conversation's sub-agents, at most `limit`, as
    /// paths below the conversation's folder.
    pub(super) fn transcripts(&self, session: &str, limit: usize) -> io::Result<Vec<String>> {
        let (mut open, mut found) = (vec![SUBAGENTS.to_owned()], Vec::new());
        while let Some(above) = open.pop() {
            let Some(folder) = self.existing(session, &above)? else { continue };
            for entry in Dir::read_from(&folder)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().to_str() else { continue };
                let path = format!("{above}/{name}");
                if found.len() + open.len() >= limit || !is_safe_subpath(&path) {
                    continue;
                }
                match (entry.file_type(), path.strip_suffix(".jsonl")) {
                    (FileType::Directory, _) => open.push(path),
                    (FileType::RegularFile, Some(transcript)) => found.push(transcript.to_owned()),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// Opens a folder below that of a conversation; `None` if there is none.
    fn existing(&self, session: &str, path: &str) -> io::Result<Option<OwnedFd>> {
        let mut folder = self.0.try_clone()?;
        for name in std::iter::once(session).chain(path.split('/')) {
            folder = match openat(&folder, name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                opened => opened?,
            };
        }
        Ok(Some(folder))
    }
}

#[cfg(test)]
mod tests;
