//! The network below the driver: addresses, dialling, proxies, HTTP routes,
//! WebSocket frames.

pub(crate) mod address;
pub(crate) mod dial;
pub(crate) mod http;
pub(crate) mod proxy;
pub(crate) mod routes;
pub(crate) mod socket;
pub(crate) mod socks;
pub(crate) mod transfer;

pub use self::routes::Health;
pub use self::socket::MessageForm;
