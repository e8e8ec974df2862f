//! HTTP: the accept loop, validation of request heads, the routes, and the
//! upgrade to a WebSocket.

pub mod accept;
pub mod access;
pub mod body;
pub mod claim_file;
pub mod head;
pub mod page;
pub mod upgrade;

mod connection;
mod conversations;
mod files;
mod head_guard;
mod lifetime;
mod permits;
mod reclaim;
mod refusal_log;
mod request_gate;
mod routes;
mod runs;
mod security_headers;

pub use connection::serve_with;
pub use conversations::KeptConversations;
pub use files::Files;
pub use head_guard::HeadGuard;
pub use permits::ConnectionPermits;
pub use request_gate::RequestGate;
pub use routes::{Answer, Refusal, Routes, json_answer, serve};
pub use runs::RunsOff;
pub use security_headers::add_security_headers;
pub use upgrade::{Upgraded, serve_websocket};
