//! Checks of a compiled server before it is uploaded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use object::elf::{EM_X86_64, ET_DYN, ET_EXEC};
use object::read::elf::{FileHeader, ProgramHeader};

/// Dynamic loader of a Debian of this architecture.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// Time limit of `--version`.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Reason for refusing a file as the server of a sandbox.
#[derive(Debug, thiserror::Error)]
pub enum BinaryError {
    /// The file cannot be read.
    #[error("{path:?}: {problem}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        problem: std::io::Error,
    },
    /// Not a Linux executable.
    #[error("{path:?} is not an ELF executable: {problem}; build the server for Linux")]
    NotElf {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The file is for another architecture.
    #[error("{path:?} is for another architecture ({machine}): sandboxes are x86_64")]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The number of the architecture in the file.
        machine: u16,
    },
    /// The file needs another C library than the base image has.
    #[error(
        "{path:?} wants the loader {loader}, which a Debian does not have: link it statically, or against glibc"
    )]
    Loader {
        /// The file.
        path: PathBuf,
        /// The loader that it needs.
        loader: String,
    },
    /// The program fails on this machine, although it should run.
    #[error("{path:?} does not run: {problem}")]
    DoesNotRun {
        /// The file.
        path: PathBuf,
        /// The failure.
        problem: String,
    },
}

/// Checks that a file is an x86_64 Linux executable that a Debian can load, and
/// runs `--version` if this machine can. Returns its output, or `None` if it
/// was not run.
///
/// # Errors
/// See [`BinaryError`].
pub async fn check(path: &Path) -> Result<Option<String>, BinaryError> {
    let io = |problem| BinaryError::Io { path: path.to_owned(), problem };
    let bytes = tokio::fs::read(path).await.map_err(io)?;
    check_elf(path, &bytes)?;
    if !is_like_sandboxes() {
        return Ok(None);
    }
    let fails = |problem: String| BinaryError::DoesNotRun { path: path.to_owned(), problem };
    let absolute = tokio::fs::canonicalize(path).await.map_err(io)?;
    let run = tokio::process::Command::new(absolute)
        .arg("--version")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(VERSION_TIMEOUT, run)
        .await
        .map_err(|_| fails(format!("--version did not end within {VERSION_TIMEOUT:?}")))?
        .map_err(|error| fails(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(fails(format!("--version ended with {}: {}", output.status, errors.trim())));
    }
    if !said.starts_with("claude-relay-server ") {
        return Err(fails(format!("--version says {said:?}: it is another program")));
    }
    Ok(Some(said))
}

/// Returns true if this machine is of the kind that the sandboxes are.
fn is_like_sandboxes() -> bool {
    (std::env::consts::OS, std::env::consts::ARCH) == ("linux", "x86_64")
}

fn check_elf(path: &Path, bytes: &[u8]) -> Result<(), BinaryError> {
    type Elf = object::elf::FileHeader64<object::Endianness>;
    let not_elf = |problem: String| BinaryError::NotElf { path: path.to_owned(), problem };
    let header = Elf::parse(bytes).map_err(|error| not_elf(error.to_string()))?;
    let endian = header.endian().map_err(|error| not_elf(error.to_string()))?;
    let machine = header.e_machine(endian);
    if machine != EM_X86_64 {
        return Err(BinaryError::Architecture { path: path.to_owned(), machine });
    }
    if !matches!(header.e_type(endian), ET_EXEC | ET_DYN) {
        return Err(not_elf("it is an object file or a library".to_owned()));
    }
    let segments =
        header.program_headers(endian, bytes).map_err(|error| not_elf(error.to_string()))?;
    for segment in segments {
        let loader = segment
            .interpreter(endian, bytes)
            .map_err(|error| not_elf(error.to_string()))?
            .map(|loader| String::from_utf8_lossy(loader).into_owned());
        if let Some(loader) = loader.filter(|loader| loader != LOADER) {
            return Err(BinaryError::Loader { path: path.to_owned(), loader });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn scripts_and_other_architectures_are_refused() {
        let path = Path::new("server");
        let error = check_elf(path, b"#!/bin/sh\n").unwrap_err();
        assert!(matches!(error, BinaryError::NotElf { .. }), "{error}");
        assert!(check_elf(path, b"").is_err());
        if is_like_sandboxes() {
            let mut bytes = elf();
            check_elf(path, &bytes).unwrap();
            bytes[18] = 183;
            let error = check_elf(path, &bytes).unwrap_err();
            assert!(matches!(error, BinaryError::Architecture { machine: 183, .. }), "{error}");
        }
    }

    #[test]
    fn a_loader_that_debian_lacks_is_refused() {
        if !(is_like_sandboxes() && cfg!(target_env = "gnu")) {
            return;
        }
        let mut bytes = elf();
        let at = memchr::memmem::find(&bytes, LOADER.as_bytes()).unwrap();
        bytes[at..at + 8].copy_from_slice(b"/libmusl");
        let error = check_elf(Path::new("server"), &bytes).unwrap_err();
        assert!(matches!(error, BinaryError::Loader { .. }), "{error}");
    }

    #[test]
    fn cut_files_do_not_make_it_panic() {
        let bytes = elf();
        for length in (0..2000).step_by(7) {
            drop(check_elf(Path::new("server"), &bytes[..length.min(bytes.len())]));
        }
    }

    #[tokio::test]
    async fn another_program_is_not_the_server() {
        let error = check(Path::new("/bin/true")).await.unwrap_err();
        assert!(matches!(error, BinaryError::DoesNotRun { .. }), "{error}");
        let error = check(Path::new("/nonexistent")).await.unwrap_err();
        assert!(matches!(error, BinaryError::Io { .. }), "{error}");
    }
}
