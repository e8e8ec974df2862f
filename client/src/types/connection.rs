//! The limits of a connection, and its state as a program sees it.

use std::time::Duration;

use crate::error::{ConnectError, ConnectionError};

/// The limits of a connection, and of the search for another one.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// From the first packet to `connected`.
    pub(crate) connect_timeout: Duration,
    /// The time for attempts to reconnect; zero: none.
    pub(crate) reconnect_for: Duration,
    /// The silence after which a ping is sent.
    pub(crate) ping_interval: Duration,
    /// The time that the answer to a ping may take.
    pub(crate) pong_timeout: Duration,
    /// The largest message that is read.
    pub(crate) max_message_bytes: usize,
    /// Ask to replace another client on the first connection.
    pub(crate) takeover: bool,
    /// Questions of the agent that are no permissions are answered.
    pub(crate) questions: bool,
    /// It reads along, without the slot.
    pub(crate) watch: bool,
    /// Hooks of the agent are run.
    pub(crate) hooks: bool,
    /// Tools of this program are run.
    pub(crate) host_tools: bool,
}

/// The state of the connection, as a program sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionState {
    /// All is well.
    Connected,
    /// The connection broke; the client is coming back.
    Reconnecting {
        /// The number of the attempt, from 1.
        attempt: u32,
        /// The reason why the last one ended.
        cause: ConnectError,
    },
    /// There will be no other connection.
    Ended(ConnectionError),
}
