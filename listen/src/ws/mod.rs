//! WebSocket connections: a read loop, a write loop, and their end.
//!
//! Only this module knows WebSocket frames.

pub mod frame;

mod arriving;
mod channels;
mod connection;
mod read;
mod socket;
mod write;

pub use channels::{
    CLIENT_EVENT_CAPACITY, ClientChannels, ClientEvent, Close, MESSAGE_LIMIT, MessageBudget,
    MessageBytes, PRIORITY_CAPACITY, PriorityMessage,
};
pub use connection::serve;
pub use read::Parser;
pub use socket::{Outlet, Socket};
