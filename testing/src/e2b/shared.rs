//! State that all connections of a fake share.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::e2b::state::State;
use crate::e2b::validators::{VALIDATORS, Validators};

/// State that all connections of a fake share.
pub(crate) struct Shared {
    pub(crate) address: SocketAddr,
    state: Mutex<State>,
    pub(crate) validators: &'static Validators,
}

impl Shared {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, state: Mutex::default(), validators: &VALIDATORS }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
