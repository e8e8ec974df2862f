//! The limits of a client: times and sizes.

use std::time::Duration;

use super::ClientBuilder;

impl ClientBuilder {
    /// Sets the time that each step of connecting may take. Default: 10 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().connect_timeout(Duration::from_secs(3));
    /// ```
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.options.connect_timeout = limit;
        self
    }

    /// Sets the time for attempts when the connection is lost; zero: not at
    /// all. Default: 5 min.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().reconnect_for(Duration::from_secs(60));
    /// ```
    #[must_use]
    pub fn reconnect_for(mut self, limit: Duration) -> Self {
        self.options.reconnect_for = limit;
        self
    }

    /// Sets the silence after which the server is asked whether it is
    /// there, and how long its answer may take. Default: 30 s and 10 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder()
    ///     .keep_alive(Duration::from_secs(10), Duration::from_secs(5));
    /// ```
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration, answer: Duration) -> Self {
        self.options.ping_interval = interval;
        self.options.pong_timeout = answer;
        self
    }

    /// The largest message that is read. A larger one ends the connection
    /// with [`ConnectionError::TooBig`](crate::ConnectionError::TooBig). Default:
    /// [`MAX_MESSAGE_BYTES`](crate::MAX_MESSAGE_BYTES).
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().max_message_bytes(1 << 20);
    /// ```
    #[must_use]
    pub fn max_message_bytes(mut self, limit: usize) -> Self {
        self.options.max_message_bytes = limit;
        self
    }

    /// How much may wait for each subscriber before the server is made to
    /// wait; one message may go over it. Default: 4 MiB.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().buffer_bytes(1 << 20);
    /// ```
    #[must_use]
    pub fn buffer_bytes(mut self, limit: usize) -> Self {
        self.buffer_bytes = limit;
        self
    }

    /// Makes [`Client::ask`](crate::Client::ask) return only when the agent is idle and its
    /// background tasks have ended. Default: yes. A task without an end, such
    /// as a server that was started, makes it wait without an end.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().wait_for_background_tasks(false);
    /// ```
    #[must_use]
    pub fn wait_for_background_tasks(mut self, wait: bool) -> Self {
        self.waits_for_tasks = wait;
        self
    }
}
