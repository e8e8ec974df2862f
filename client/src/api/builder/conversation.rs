//! The conversation that a client begins with.

use super::ClientBuilder;

impl ClientBuilder {
    /// Goes on with the conversation of this id, which the server has on its disk
    /// or in its store (`--store`). With a store the sandbox or machine that it
    /// began on may be gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().resume("0c5f7a0e-5d1f-4a43-9d0c-3b8a8d2a52b4");
    /// ```
    #[must_use]
    pub fn resume(self, id: impl Into<String>) -> Self {
        self.configure(|configuration| configuration.resume = Some(id.into()))
    }
}
