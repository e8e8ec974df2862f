//! The claim on disk: a server that was claimed and starts again in the same
//! sandbox still belongs to whoever claimed it.
//!
//! The file holds a digest, from which the token cannot be read, and lies in the
//! user's directory for state: outside of the workspace, and outside of what an
//! agent in a sandbox sees. There is one for each workspace. A template has
//! none, since nobody has claimed its server.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use claude_relay_listen::access::Digest;
use claude_relay_protocol::Secret;

/// The place of a claim.
#[derive(Debug, Clone)]
pub struct ClaimFile {
    path: PathBuf,
}

impl ClaimFile {
    /// Returns the place of the claim on a server for `workspace`, below the
    /// user's directory for state.
    #[must_use]
    pub fn new(state: &Path, workspace: &Path) -> Self {
        let workspace = workspace.canonicalize().unwrap_or_else(|_| workspace.to_owned());
        let name = format!("claim-{}", Digest::of(workspace.as_os_str().as_bytes()));
        Self { path: state.join("claude-relay").join(name) }
    }

    /// The path, for the log.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the claim; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When there is one that cannot be read. Going on without it would leave
    /// the server to the next who asks.
    pub fn load(&self) -> io::Result<Option<Digest>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => match Digest::parse(text.trim()) {
                Some(digest) => Ok(Some(digest)),
                None => Err(io::Error::other("it holds no claim")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the claim with `token`, in a file of mode 0600.
    ///
    /// # Errors
    ///
    /// When the directory or the file cannot be written.
    pub fn store(&self, token: &Secret) -> io::Result<()> {
        let directory = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        writeln!(file, "{}", Digest::of(token.expose().as_bytes()))?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_claim_is_kept_without_its_token() {
        let state = tempfile::tempdir().unwrap();
        let file = ClaimFile::new(state.path(), Path::new("/workspace"));
        assert!(file.load().unwrap().is_none());
        let token = Secret::new("token-of-the-owner".to_owned());
        file.store(&token).unwrap();
        let digest = file.load().unwrap().unwrap();
        assert!(digest.is_of(b"token-of-the-owner") && !digest.is_of(b"token-of-another"));
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains("token-of"), "{text}");
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let other = ClaimFile::new(state.path(), Path::new("/another"));
        assert!(other.load().unwrap().is_none());
        fs::write(file.path(), "nonsense").unwrap();
        assert!(file.load().is_err());
    }
}
