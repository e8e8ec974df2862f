//! The files of the sandbox that a client's server runs in.

use bytes::Bytes;
use claude_relay_e2b as e2b;
pub use claude_relay_e2b::files::{Entry, EntryKind};
use claude_relay_e2b::template_defaults::WORKSPACE;
pub use claude_relay_e2b::watch::{Change, ChangeKind};

use super::host::SandboxRef;
use crate::error::SandboxError;

/// The files of a sandbox: see [`Client::files`](crate::Client::files).
///
/// An absolute path is taken as it is. Any other is meant in the agent's
/// workspace, `/home/user/agent-workspace`, and `.` is the workspace itself.
#[derive(Clone)]
pub struct Files {
    sandbox: SandboxRef,
    files: e2b::Files,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("sandbox", self.sandbox.id()).finish_non_exhaustive()
    }
}

impl Files {
    pub(crate) fn of(sandbox: &SandboxRef) -> Result<Self, SandboxError> {
        let files = sandbox.sandbox().files()?;
        Ok(Self { sandbox: sandbox.clone(), files })
    }

    /// Writes a file, making the directories above it and replacing what was
    /// there.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.files()?.write("notes/today.md", "# Today\n").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SandboxError::Expired`] if the sandbox is gone; otherwise
    /// [`SandboxError::Api`].
    pub async fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<(), SandboxError> {
        let done = self.files.write(&resolve(path), content.as_ref()).await;
        self.told(done).await
    }

    /// Reads a whole file of at most 256 MiB.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let bytes = client.files()?.read("notes/today.md").await?;
    /// println!("{} bytes", bytes.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub async fn read(&self, path: &str) -> Result<Bytes, SandboxError> {
        let done = self.files.read(&resolve(path)).await;
        self.told(done).await
    }

    /// The entries of a directory, without those below it.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for entry in client.files()?.list(".").await? {
    ///     println!("{}", entry.path);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, SandboxError> {
        let done = self.files.list(&resolve(path), 1).await;
        self.told(done).await
    }

    /// Removes a file, or a directory with all that is in it.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.files()?.remove("notes").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub async fn remove(&self, path: &str) -> Result<(), SandboxError> {
        let done = self.files.remove(&resolve(path)).await;
        self.told(done).await
    }

    /// Tells of every change in a directory from now on; with `recursive` also
    /// below it. The watch is set when this returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut watch = client.files()?.watch(".", true).await?;
    /// while let Some(change) = watch.next().await? {
    ///     println!("{change:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    pub async fn watch(&self, path: &str, recursive: bool) -> Result<Watch, SandboxError> {
        let done = self.files.watch(&resolve(path), recursive, None).await;
        let watch = self.told(done).await?;
        Ok(Watch { files: self.clone(), watch })
    }

    /// A request that fails because the sandbox is gone or paused says so.
    async fn told<T>(&self, done: Result<T, e2b::Error>) -> Result<T, SandboxError> {
        let error = match done {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        // An answer of the sandbox itself proves that it is there.
        if error.refusal().is_none_or(|refusal| refusal.status >= 500) {
            self.sandbox.still_there().await?;
        }
        Err(error.into())
    }
}

/// A watched directory. Ends when dropped.
#[derive(Debug)]
pub struct Watch {
    files: Files,
    watch: e2b::watch::Watch,
}

impl Watch {
    /// The next change; `None` when the watch has come to its end.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut watch = client.files()?.watch("notes", false).await?;
    /// println!("{:?}", watch.next().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`Files::write`]. There is nothing after an error.
    pub async fn next(&mut self) -> Result<Option<Change>, SandboxError> {
        let done = self.watch.next().await;
        self.files.told(done).await
    }
}

/// The place that a path leads to, by the rules of the original client.
fn resolve(path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let mut rest = path;
    while let Some(below) = rest.strip_prefix("./") {
        rest = below.trim_start_matches('/');
    }
    match rest {
        "" | "." => WORKSPACE.to_owned(),
        rest => format!("{WORKSPACE}/{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_or_in_the_workspace() {
        for (path, leads_to) in [
            ("/etc/hosts", "/etc/hosts"),
            ("/", "/"),
            ("a.txt", "/home/user/agent-workspace/a.txt"),
            ("./a/b", "/home/user/agent-workspace/a/b"),
            ("././/a", "/home/user/agent-workspace/a"),
            (".", "/home/user/agent-workspace"),
            ("./", "/home/user/agent-workspace"),
            ("", "/home/user/agent-workspace"),
            (".hidden", "/home/user/agent-workspace/.hidden"),
            ("../x", "/home/user/agent-workspace/../x"),
        ] {
            assert_eq!(resolve(path), leads_to, "{path:?}");
        }
    }
}
