//! Isolation of the agent: the OS sandbox around it, the proxy that keeps its
//! credential, and the small programs that tell what works here.

pub mod key_proxy;
pub mod probe;
pub mod program;
pub mod sandbox;
