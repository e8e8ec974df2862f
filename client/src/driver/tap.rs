//! The program's view of the traffic.

use std::sync::Arc;

/// The direction of a message: see
/// [`ClientBuilder::on_traffic`](crate::ClientBuilder::on_traffic).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the program to the server.
    Sent,
    /// From the server to the program.
    Received,
}

type TapFunction = dyn Fn(Direction, &str) + Send + Sync;

/// The function that sees each message, if the program has set one.
#[derive(Clone, Default)]
pub(crate) struct Tap(Option<Arc<TapFunction>>);

impl Tap {
    pub(crate) fn new(function: impl Fn(Direction, &str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(function)))
    }

    pub(super) fn call(&self, direction: Direction, text: &str) {
        if let Some(function) = &self.0 {
            function(direction, text);
        }
    }
}
