//! The file that the answer is also written to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use crate::exit::Exit;

/// An open file. It is opened before the turn is paid for, and changed only
/// when there is an answer.
pub(super) struct OutFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> OutFile<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, Exit> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => Err(Exit::usage(format!("{}: {error}", cannot_write(path)))),
        }
    }

    /// Replaces the file's content.
    pub(super) fn write(self, text: &str) -> Result<(), Exit> {
        replace(&self.file, text)
            .map_err(|error| Exit::failed(format!("{}: {error}", cannot_write(self.path))))
    }
}

fn replace(mut file: &File, text: &str) -> io::Result<()> {
    // A device or a pipe has no length.
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

fn cannot_write(path: &Path) -> String {
    format!("--out: cannot write {}", path.display())
}
