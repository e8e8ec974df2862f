//! The server of claude-relay.

/// The agents: how each is started and what its lines mean.
pub mod agent {
    pub mod demo;
}
