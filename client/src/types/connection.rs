//! What a connection keeps to, and what a program sees of it.

use std::time::Duration;

use crate::error::Error;

/// What a connection keeps to, and the search for another one.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// From the first packet to `connected`.
    pub(crate) connect_timeout: Duration,
    /// How long to go on trying to reconnect; zero: not at all.
    pub(crate) reconnect_for: Duration,
    /// How long nothing may be heard before a ping is sent.
    pub(crate) ping_interval: Duration,
    /// How long the answer to a ping may take.
    pub(crate) pong_timeout: Duration,
    /// The largest message that is read.
    pub(crate) max_message_bytes: usize,
    /// Ask to replace another client on the first connection.
    pub(crate) takeover: bool,
}

/// What a program can see of the connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConnectionState {
    /// All is well.
    Connected,
    /// The connection broke; the client is coming back.
    Reconnecting {
        /// Which attempt this is, from 1.
        attempt: u32,
        /// Why the last one ended.
        cause: Error,
    },
    /// There will be no other connection.
    Ended(Error),
}
