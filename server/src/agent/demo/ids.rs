//! UUIDs of the built-in agent's messages.

use claude_relay_random::{bytes, uuid_of};

/// Number of random bytes drawn at once: a system call for each UUID would be a
/// large part of the work for a small message.
const POOL_BYTES: usize = 256;

/// Pool of random bytes. Empty before the first call, so that copies of an idle
/// machine do not draw the same UUIDs.
#[derive(Default)]
pub(super) struct Ids {
    pool: Vec<u8>,
}

impl Ids {
    /// Returns a new UUID.
    pub(super) fn uuid(&mut self) -> String {
        if self.pool.len() < 16 {
            self.pool = bytes::<POOL_BYTES>().into();
        }
        let rest = self.pool.split_off(self.pool.len() - 16);
        uuid_of(rest.try_into().unwrap_or_else(|_| bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_differ() {
        let mut ids = Ids::default();
        let drawn: std::collections::HashSet<_> = (0..100).map(|_| ids.uuid()).collect();
        assert_eq!(drawn.len(), 100);
    }
}
