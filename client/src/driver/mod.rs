//! The state of one connection and the task that owns it: handshake, reading,
//! writing, replay, delivery to subscribers, reconnecting.

mod acks;
pub(crate) mod channels;
mod delivery;
mod handshake;
mod heartbeat;
mod pending;
pub(crate) mod queue;
mod reader;
mod reconnect;
mod replayed;
mod sequence;
mod session;
mod start;
mod subscribers;
mod tap;
mod tracker;
mod writer;

pub(crate) use self::channels::{DriverHandle, Receipt, SentMessage, Snapshot, Subscription};
#[cfg(feature = "e2b")]
pub(crate) use self::reconnect::new_backoff;
pub use self::sequence::Position;
pub(crate) use self::start::{DriverOptions, StartingPoint};
pub(crate) use self::subscribers::Item;
pub use self::tap::Direction;
pub(crate) use self::tap::Tap;
pub(crate) use self::tracker::{TurnTracker, seq_of};
