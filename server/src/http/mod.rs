//! HTTP: the routes, and the connections that are upgraded to a WebSocket.

pub mod claim_file;
pub mod page;

mod conversations;
mod files;
mod reclaim;
mod refusal_log;
mod routes;
mod runs;
mod upgrade;

pub use conversations::KeptConversations;
pub use files::Files;
pub use routes::{Routes, accept, serve};
pub use runs::RunsOff;
pub use upgrade::{Upgraded, serve_websocket};
