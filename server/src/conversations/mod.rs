//! The conversations that Claude Code has kept of one directory: its own files,
//! by the rules of the Agent SDK (`listSessions`, `getSessionMessages` of
//! 0.3.332).
//!
//! Nothing here follows a link, since the agent can make some, and nothing tells
//! a path. Different directories can have one folder, because its name is made
//! of theirs; what belongs to another one is left out.

mod lines;
mod list;
mod messages;
mod prompt;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};

pub(crate) use lines::Line;
pub(crate) use list::order;
pub use list::{Conversation, Listing, Position};
pub use messages::Transcript;
pub(crate) use prompt::is_prompt;

/// The longest name of a folder, before its hash.
const NAME_BYTES: usize = 200;

/// The kept conversations of one directory.
#[derive(Debug)]
pub struct Conversations {
    folder: OwnedFd,
    cwd: PathBuf,
}

impl Conversations {
    /// Opens those of `cwd`, a path without links, in the directory of the CLI.
    /// `None` if there are none.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn open(state: &Path, cwd: &Path) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let projects = match rustix::fs::open(state.join("projects"), flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            opened => opened?,
        };
        let name = folder_name(&cwd.to_string_lossy());
        let flags = flags | OFlags::NOFOLLOW;
        match openat(&projects, name, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                Ok(None)
            }
            folder => Ok(Some(Self { folder: folder?, cwd: cwd.to_owned() })),
        }
    }

    /// Opens the file of a conversation; `None` if there is none.
    fn file(&self, id: &str) -> io::Result<Option<File>> {
        if !is_id(id) {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.folder, format!("{id}.jsonl"), flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
                return Ok(None);
            }
            file => file?,
        };
        let is_file = FileType::from_raw_mode(fstat(&file)?.st_mode).is_file();
        Ok(is_file.then(|| file.into()))
    }
}

/// Returns true for a UUID, which the id of every conversation is.
#[must_use]
pub fn is_id(id: &str) -> bool {
    let parts: Vec<&str> = id.split('-').collect();
    let lengths = parts.iter().map(|part| part.len());
    lengths.eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Returns the name of the folder for a directory, a path without links.
#[must_use]
pub fn folder_name(cwd: &str) -> String {
    let units = || cwd.encode_utf16();
    let replaced = |unit: u16| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte),
        _ => '-',
    };
    let mut name: String = units().map(replaced).collect();
    if name.len() > NAME_BYTES {
        let hash = units().fold(0_i32, |hash, unit| {
            hash.wrapping_shl(5).wrapping_sub(hash).wrapping_add(i32::from(unit))
        });
        name.truncate(NAME_BYTES);
        name.push('-');
        name.push_str(&base36(hash.unsigned_abs()));
    }
    name
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.extend(char::from_digit(number % 36, 36));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests;
