//! What strangers and agents send, turned over by a fuzzer. Each function takes
//! any bytes and panics when something is not as it should be; most compare
//! with a second, simpler way to the same answer.
//!
//! * `cargo test -p claude-relay-fuzz` replays the corpora, with any Rust.
//! * `fuzz/run TARGET [SECONDS]` goes on from them, with a nightly one.

mod access;
mod config;
mod head;
mod lines;
mod messages;
mod slot_replay;

pub use access::origin_host;
pub use config::config;
pub use head::head;
pub use lines::line_splitter;
pub use messages::{client_message, route};
pub use slot_replay::slot_replay;

/// A target: takes any bytes.
pub type Target = fn(&[u8]);

/// All of them, by the name of their corpus.
pub const TARGETS: [(&str, Target); 7] = [
    ("line_splitter", line_splitter),
    ("client_message", client_message),
    ("route", route),
    ("config", config),
    ("origin_host", origin_host),
    ("head", head),
    ("slot_replay", slot_replay),
];
