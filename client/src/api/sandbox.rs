//! A client whose server runs in a sandbox of E2B's cloud: leaving it, coming
//! back to it, its files. The builder creates one.

use std::sync::Arc;

use crate::api::builder::ClientBuilder;
use crate::api::client::Client;
use crate::e2b::SandboxHost;
use crate::e2b::workspace::Files;
use crate::error::SandboxError;

impl Client {
    /// Begins to come back to a sandbox that was left by
    /// [`detach`](Self::detach) or [`pause`](Self::pause), or whose program
    /// was lost. [`start`](ClientBuilder::start) resumes it if it is paused,
    /// extends its time, and connects; all that the server still keeps is
    /// given again, unless the builder is told where to
    /// [resume](ClientBuilder::resume_at). The configuration is left as it is
    /// unless one is set, which is laid over it, as with
    /// [`merge_configuration`](ClientBuilder::merge_configuration).
    ///
    /// A failed start leaves the sandbox as it is. So does dropping the client
    /// later: only [`stop`](Self::stop) ends a sandbox one has come back to.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::attach("id-of-a-sandbox").start().await?;
    /// client.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn attach(id: impl Into<String>) -> ClientBuilder {
        ClientBuilder::attached(id.into())
    }

    /// The sandbox that the server runs in; `None` for a client of an address.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(sandbox) = client.sandbox() {
    ///     println!("{}", sandbox.id());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn sandbox(&self) -> Option<&claude_relay_e2b::Sandbox> {
        self.host().ok().map(|host| host.sandbox_ref().sandbox())
    }

    /// The sandbox's files.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.files()?.write("report.csv", "a,b\n1,2\n").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoSandbox`] for a client of an address.
    pub fn files(&self) -> Result<Files, SandboxError> {
        Files::of(self.host()?.sandbox_ref())
    }

    /// Closes the connection as [`stop`](Self::stop) does, but leaves the sandbox
    /// running and gives its id, to [`attach`](Self::attach) to it later, from
    /// anywhere. It lives for what is left of its time, which is two thirds of
    /// it at least.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = client.detach().await?;
    /// let client = Client::attach(id).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoSandbox`] for a client of an address.
    pub async fn detach(&self) -> Result<String, SandboxError> {
        let host = self.host()?;
        self.close_connection().await;
        host.leave().await;
        Ok(host.sandbox_ref().id().to_string())
    }

    /// Closes the connection and pauses the sandbox with all that runs in it; gives its
    /// id, as [`detach`](Self::detach) does. A paused sandbox has no time that
    /// runs out.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = client.pause().await?;
    /// println!("paused: {id}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoSandbox`] for a client of an address, [`SandboxError::Api`] if it
    /// could not be paused: it is then ended with the client.
    pub async fn pause(&self) -> Result<String, SandboxError> {
        let host = self.host()?;
        self.close_connection().await;
        host.pause().await?;
        Ok(host.sandbox_ref().id().to_string())
    }

    /// As [`stop`](Self::stop), and tells if the sandbox could not be ended. It
    /// ends one too that somebody else has paused or taken over, which `stop` leaves alone.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.kill().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoSandbox`] for a client of an address, [`SandboxError::Api`] if it
    /// could not be ended: its time ends it then.
    pub async fn kill(&self) -> Result<(), SandboxError> {
        let host = self.host()?;
        self.close_connection().await;
        host.kill().await
    }

    /// The failure that keeps the sandbox from getting new time, while it
    /// lasts: without new time it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(client: &claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(error) = client.sandbox_trouble()? {
    ///     eprintln!("the sandbox may end: {error}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SandboxError::NoSandbox`] for a client of an address.
    pub fn sandbox_trouble(&self) -> Result<Option<Arc<claude_relay_e2b::Error>>, SandboxError> {
        Ok(self.host()?.trouble().borrow().clone())
    }

    fn host(&self) -> Result<&Arc<SandboxHost>, SandboxError> {
        self.inner.host.as_ref().ok_or(SandboxError::NoSandbox)
    }
}
