//! What all connections of a fake share.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::judges::{JUDGES, Judges};
use crate::state::State;

/// What all connections of a fake share.
pub(crate) struct Shared {
    pub(crate) address: SocketAddr,
    state: Mutex<State>,
    pub(crate) judges: &'static Judges,
}

impl Shared {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, state: Mutex::default(), judges: &JUDGES }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
