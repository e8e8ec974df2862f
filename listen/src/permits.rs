//! The permits of a connection.

use crate::connection_limit::ConnectionPermit;

/// Permits of a connection, held until it ends: one of those for open
/// connections and one of those for served connections.
#[derive(Debug)]
pub struct ConnectionPermits {
    open: ConnectionPermit,
    served: ConnectionPermit,
}

impl ConnectionPermits {
    /// Combines both permits.
    #[must_use]
    pub fn new(open: ConnectionPermit, served: ConnectionPermit) -> Self {
        Self { open, served }
    }

    /// Waits until the connection has to make room for another.
    pub async fn evicted(&self) {
        tokio::select! {
            () = self.open.evicted() => {}
            () = self.served.evicted() => {}
        }
    }

    /// Records a request.
    pub fn touch(&self) {
        self.open.touch();
        self.served.touch();
    }

    /// Lets the connection keep its permits.
    pub fn keep(&self) {
        self.open.keep();
        self.served.keep();
    }
}
