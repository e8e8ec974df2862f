//! Fuzz targets for everything that unauthenticated peers, clients and agents
//! send. Each target takes any bytes and panics when an invariant is broken;
//! most compare the result with a second, simpler implementation.
//!
//! * `cargo test -p claude-relay-fuzz` runs the seeds and the regressions, with
//!   any Rust.
//! * `fuzz/run TARGET [SECONDS]` fuzzes, with a nightly one.

mod access;
mod config;
mod head;
mod lines;
mod messages;
mod seeds;
mod slot_replay;

pub use access::origin_host;
pub use config::config;
pub use head::head;
pub use lines::line_splitter;
pub use messages::{client_message, route};
pub use seeds::seeds;
pub use slot_replay::slot_replay;

/// A target: a function of any bytes.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("line_splitter", line_splitter),
    ("client_message", client_message),
    ("route", route),
    ("config", config),
    ("origin_host", origin_host),
    ("head", head),
    ("slot_replay", slot_replay),
];
