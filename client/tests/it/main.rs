//! The client against servers of every kind: a scripted one that follows the
//! protocol, a hostile one that does not, and the real one.

mod support;

mod connecting;
mod hostile;
mod messages;
mod real_server;
mod reconnecting;
mod requests;
