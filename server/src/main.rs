//! The server of claude-relay.
fn main() {}
