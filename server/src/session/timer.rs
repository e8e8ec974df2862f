//! The one timer of an actor.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::Sleep;

/// A timer that is set only when its time changes.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    set: Option<Instant>,
}

impl Timer {
    pub(crate) fn new(now: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(now.into())), set: None }
    }

    /// Sets the time, or none.
    pub(crate) fn set(&mut self, time: Option<Instant>) {
        if time != self.set {
            self.set = time;
            if let Some(time) = time {
                self.sleep.as_mut().reset(time.into());
            }
        }
    }

    /// Waits for the time, or forever without one. Cancel-safe.
    pub(crate) async fn wait(&mut self) {
        match self.set {
            Some(_) => self.sleep.as_mut().await,
            None => std::future::pending().await,
        }
        self.set = None;
    }
}
