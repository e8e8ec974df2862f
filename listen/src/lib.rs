//! Parts of the programs that listen: of the relay's server and of the hub.
//!
//! In the order in which a connection meets them:
//!
//! * [`accept`]: the accept loop and the bounds on connections;
//!   [`connection_limit`]: which connection makes room for another
//! * [`HeadGuard`] and [`head`]: request heads are checked before hyper reads them
//! * [`access`]: Host, Origin and token
//! * [`serve_with`]: the requests of a connection; [`body`]: their bodies;
//!   [`answer`]: the answers
//! * [`upgrade`]: from a request to a WebSocket; [`ws`]: its frames, and the
//!   channels to the actor that it is for
//!
//! Beside them [`log`], the log to stderr, and [`program`], the search for an
//! executable.

pub mod accept;
pub mod access;
pub mod answer;
pub mod body;
pub mod connection_limit;
pub mod head;
pub mod log;
pub mod program;
pub mod upgrade;
pub mod ws;

mod connection;
mod head_guard;
mod lifetime;
mod permits;
mod request_gate;
mod security_headers;

pub use connection::{serve_with, serve_within};
pub use head_guard::HeadGuard;
pub use lifetime::Lifetime;
pub use permits::ConnectionPermits;
pub use request_gate::RequestGate;
pub use security_headers::add_security_headers;
