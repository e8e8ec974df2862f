//! Random numbers from the operating system, drawn when they are needed.
//!
//! An E2B sandbox starts as a copy of a running server's memory. Numbers that
//! were drawn before the copy would be the same in every sandbox, so this crate
//! keeps no state and no seed.

use std::fmt::Write as _;

/// Returns `N` random bytes.
///
/// # Panics
///
/// Panics if the operating system has no random numbers: no token and no id
/// would be safe.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}

/// Returns a random number.
///
/// # Panics
///
/// Same as [`bytes`].
#[must_use]
pub fn number() -> u64 {
    u64::from_le_bytes(bytes())
}

/// Returns `N` random bytes as `2 * N` lower-case hexadecimal digits.
///
/// # Panics
///
/// Same as [`bytes`].
#[must_use]
pub fn hexadecimal<const N: usize>() -> String {
    bytes::<N>().iter().fold(String::with_capacity(2 * N), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns a version 4 UUID.
///
/// # Panics
///
/// Same as [`bytes`].
#[must_use]
pub fn uuid() -> String {
    uuid_of(bytes())
}

/// Formats 16 random bytes as a version 4 UUID (RFC 9562), for callers that
/// draw bytes for many UUIDs at once.
#[must_use]
pub fn uuid_of(random: [u8; 16]) -> String {
    let bits = u128::from_be_bytes(random) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_variant_are_set() {
        assert_eq!(uuid_of([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid_of([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn every_draw_differs() {
        let drawn: std::collections::HashSet<_> = (0..100).map(|_| uuid()).collect();
        assert_eq!(drawn.len(), 100);
        assert_ne!(hexadecimal::<16>(), hexadecimal::<16>());
        assert_eq!(hexadecimal::<16>().len(), 32);
    }
}
