//! HTTP: accepted connections, guarded request heads, the routes, and the
//! upgrade to a WebSocket.

pub mod accept;
pub mod access;
pub mod head;
pub mod page;

mod body;
mod head_guard;
mod refusals;
mod routes;
mod upgrade;

pub use head_guard::Doorstep;
pub use routes::{Place, Routes, serve};
pub use upgrade::{Upgraded, go_on};
