//! Hub: many agents behind one WebSocket.
//!
//! Each agent has a claude-relay server of its own, which the hub starts and
//! is the client of. The modules, in reading order:
//!
//! * [`wire`]: events, commands, and what they are about
//! * [`settings`]: flags and environment, read once
//! * [`hub`]: the state, and what clients and agents ask of it
//! * [`feed`]: the events in their order; a client is a cursor into them
//! * [`store`]: the state file, the logs, the token
//! * `agent`: the task of one agent, its relay, its tools
//! * [`http`]: the routes, the WebSocket, the page

mod agent;
mod cut;
pub mod feed;
pub mod http;
pub mod hub;
pub mod settings;
pub mod store;
pub mod wire;

pub use agent::Sandboxes;
