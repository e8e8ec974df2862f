//! Watches of directories: inotify.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::files::handle_of;
use crate::{Event, Happening};

/// Size of the buffer for events of the system.
const BUFFER_BYTES: usize = 16 << 10;

/// Watched directories.
#[derive(Debug)]
pub struct Watches(OwnedFd);

impl Watches {
    /// Watches nothing yet.
    ///
    /// # Errors
    ///
    /// The system's: `MFILE` if the user has too many.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?))
    }

    /// Returns a descriptor that is readable when something has happened.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Watches a directory, by a descriptor that was opened to read it. Returns
    /// the number of the watch.
    ///
    /// # Errors
    ///
    /// The system's: `NOSPC` at its limit.
    pub fn add(&self, directory: &OwnedFd) -> Result<i32, Errno> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&self.0, handle_of(directory), flags)
    }

    /// Ends a watch. It may have ended with its directory, which is no error.
    pub fn remove(&self, watch: i32) {
        let _ = inotify::remove_watch(&self.0, watch);
    }

    /// Takes events that have happened, without waiting; `None` if there are none.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn events(&self) -> Result<Option<Vec<Event>>, Errno> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
        let mut reader = Reader::new(self.0.as_fd(), &mut buffer);
        let mut events = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_bytes().to_vec());
                    events.push(Event {
                        watch: event.wd(),
                        what: happening(event.events()),
                        is_directory: event.events().contains(ReadFlags::ISDIR),
                        name: name.unwrap_or_default(),
                    });
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            }
            if reader.is_buffer_empty() {
                return Ok(Some(events));
            }
        }
    }
}

fn happening(flags: ReadFlags) -> Happening {
    let ended = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT;
    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        Happening::Overflow
    } else if flags.intersects(ended) {
        Happening::Ended
    } else if flags.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
        Happening::Removed
    } else if flags.contains(ReadFlags::MOVED_TO) {
        Happening::MovedIn
    } else if flags.contains(ReadFlags::CREATE) {
        Happening::Made
    } else if flags.contains(ReadFlags::MODIFY) {
        Happening::Modified
    } else {
        Happening::Other
    }
}
