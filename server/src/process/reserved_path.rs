//! Empty files and directories that stand where nothing may be made while a
//! process runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// An empty file or directory. Dropping it removes it, if it is still empty.
#[derive(Debug)]
pub struct ReservedPath {
    path: PathBuf,
    is_directory: bool,
}

impl ReservedPath {
    /// Makes it, or returns `None` if something is there.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be made.
    pub fn make(path: &Path, is_directory: bool) -> io::Result<Option<Self>> {
        let made =
            if is_directory { fs::create_dir(path) } else { fs::File::create_new(path).map(drop) };
        match made {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), is_directory })),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for ReservedPath {
    fn drop(&mut self) {
        // Whoever has put something into it keeps it.
        if self.is_directory {
            let _ = fs::remove_dir(&self.path);
        } else if fs::symlink_metadata(&self.path).is_ok_and(|it| it.is_file() && it.len() == 0) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_empty_goes_away() {
        let root = tempfile::tempdir().unwrap();
        let (file, directory) = (root.path().join("file"), root.path().join("directory"));
        for (path, is_directory) in [(&file, false), (&directory, true)] {
            let made = ReservedPath::make(path, is_directory).unwrap().unwrap();
            assert!(path.exists());
            assert!(ReservedPath::make(path, is_directory).unwrap().is_none());
            drop(made);
            assert!(!path.exists());
        }
        let kept = ReservedPath::make(&file, false).unwrap();
        fs::write(&file, "x").unwrap();
        let other = ReservedPath::make(&directory, true).unwrap();
        fs::write(directory.join("x"), "x").unwrap();
        drop((kept, other));
        assert!(file.exists() && directory.exists());
    }
}
