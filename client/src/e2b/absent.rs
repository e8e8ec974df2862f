//! Stands in for the sandbox where the feature `e2b` is off: there is none.

use tokio::sync::watch;

use crate::error::SandboxError;
use crate::types::connection::ConnectionState;

#[derive(Clone)]
pub(crate) enum SandboxRef {}
pub(crate) enum SandboxHost {}

impl SandboxRef {
    pub(crate) async fn still_there(&self) -> Result<(), SandboxError> {
        match *self {}
    }
}

impl SandboxHost {
    pub(crate) fn sandbox_ref(&self) -> &SandboxRef {
        match *self {}
    }

    pub(crate) async fn keep_alive(&self, _: watch::Receiver<ConnectionState>) {
        match *self {}
    }

    pub(crate) async fn end(&self) -> Result<(), SandboxError> {
        match *self {}
    }
}
