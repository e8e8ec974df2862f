//! Files that hold what was said, which may be secret: nobody else's business.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The permissions of such a file.
const MODE: u32 = 0o600;

/// The permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Opens such a file, creating it if there is none. One that others may read is
/// closed to them before anything is written; a pipe, a device, and what a descriptor
/// such as `/dev/stdout` leads to stay as they are.
///
/// # Errors
///
/// It cannot be opened, or belongs to somebody else who lets others read it.
pub(crate) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.create(true).mode(MODE).open(path)?;
    let metadata = file.metadata()?;
    let is_descriptor = ["/dev", "/proc"].iter().any(|folder| path.starts_with(folder));
    if !is_descriptor && metadata.is_file() && metadata.permissions().mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_its_owners_alone_whether_it_is_new_or_not() {
        let folder = tempfile::tempdir().unwrap();
        for before in [None, Some(0o644), Some(0o660), Some(0o600)] {
            let path = folder.path().join(format!("{before:?}"));
            if let Some(mode) = before {
                std::fs::write(&path, "old").unwrap();
                std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            }
            open(File::options().append(true), &path).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, MODE, "{before:?}");
        }
        open(File::options().append(true), Path::new("/dev/null")).unwrap();
        let mode = std::fs::metadata("/dev/null").unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
    }
}
