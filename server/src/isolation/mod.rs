//! Isolation of the agent: the OS sandbox, the key proxy, and probes of what
//! works on this system.

pub mod key_proxy;
pub mod probe;
pub mod sandbox;
