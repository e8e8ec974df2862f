//! Random uuids.

use std::fs::File;
use std::io::{self, Read};

/// Random bytes read at once: 16 uuids.
const POOL_BYTES: usize = 256;

/// Draws version 4 uuids. Nothing is drawn before the first is asked for: a
/// snapshot of an idle machine would give every copy of it the same ones.
#[derive(Default)]
pub(super) struct Ids {
    pool: Vec<u8>,
}

impl Ids {
    /// A new uuid.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub(super) fn uuid(&mut self) -> io::Result<String> {
        if self.pool.len() < 16 {
            self.pool.resize(POOL_BYTES, 0);
            File::open("/dev/urandom")?.read_exact(&mut self.pool)?;
        }
        let rest = self.pool.split_off(self.pool.len() - 16);
        let random = rest.iter().fold(0_u128, |all, byte| all << 8 | u128::from(*byte));
        Ok(version_4(random))
    }
}

/// `random` with the version and the variant of RFC 9562 put in.
fn version_4(random: u128) -> String {
    let bits = random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_and_the_variant_are_in_their_places() {
        assert_eq!(version_4(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(version_4(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn uuids_differ() {
        let mut ids = Ids::default();
        let drawn: std::collections::HashSet<_> = (0..100).map(|_| ids.uuid().unwrap()).collect();
        assert_eq!(drawn.len(), 100);
    }
}
