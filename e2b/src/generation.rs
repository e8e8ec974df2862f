//! The two generations of the calls that create and connect to a sandbox.
//!
//! The second has its own paths, knows idempotency keys, and secures every
//! sandbox. A server that has only the first answers 404 or 405 to them; which
//! one it has is learnt from its first answer.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::error::Error;

/// A generation of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// `/sandboxes`
    First,
    /// `/v2/sandboxes`
    Second,
}

/// The generation of a server, once it is known.
#[derive(Debug, Default)]
pub(crate) struct Known(AtomicU8);

impl Known {
    /// Returns the generation to try first.
    pub(crate) fn preferred(&self) -> Generation {
        match self.0.load(Ordering::Relaxed) {
            1 => Generation::First,
            _ => Generation::Second,
        }
    }

    pub(crate) fn is(&self, generation: Generation) {
        self.0.store(if generation == Generation::First { 1 } else { 2 }, Ordering::Relaxed);
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

/// Returns true if an answer means that the server does not have the path. A
/// refusal of what is called `name` says so.
pub(crate) fn has_no_such_path(error: &Error, name: &str) -> bool {
    error.refusal().is_some_and(|refusal| match refusal.status {
        405 => true,
        404 => !refusal.message.contains(name),
        _ => false,
    })
}
