//! The client against servers of every kind: a scripted one that follows the
//! protocol, a hostile one that does not, and the real one.

mod support;

#[cfg(feature = "cli")]
mod cli;
mod connecting;
mod examples;
mod hostile;
mod messages;
mod real_cli;
mod real_server;
mod reconnecting;
mod requests;
#[cfg(feature = "cli")]
mod terminal;
#[cfg(feature = "tls")]
mod tls;
