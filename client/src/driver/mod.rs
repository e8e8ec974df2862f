//! The state of one connection and the task that owns it: handshake, reading,
//! writing, replay, delivery to subscribers, reconnecting.

pub(crate) mod backoff;
pub(crate) mod delivery;
mod handshake;
pub(crate) mod pending;
pub(crate) mod queue;
mod reader;
pub(crate) mod replayed;
pub(crate) mod sequence;
pub(crate) mod session;
pub(crate) mod subscribers;
mod writer;

pub use self::pending::Direction;
pub use self::sequence::Position;
