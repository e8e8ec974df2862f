//! Random numbers from the operating system, drawn when they are needed.
//!
//! An E2B sandbox starts as a copy of a running server's memory. Numbers that
//! were drawn before the copy would be the same in every sandbox, so none is kept
//! or drawn beforehand. The state of the operating system's own generator is
//! copied too, though: where its kernel is not told of the copy, copies draw the
//! same numbers until it takes in new entropy, which can last a minute. So what a
//! copy has got from outside since ([`mix`]) goes into each number, and so does
//! the time.

mod mixed;

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use mixed::Mixed;

/// What came from outside.
static MIXED: Mutex<Mixed> = Mutex::new(Mixed::NEW);

/// Makes all later numbers depend on `outside`: on what only this copy of a
/// process has got, such as a token that its client has drawn. It is not kept and
/// cannot be found from the numbers, and numbers lose nothing by an `outside`
/// that is known or chosen to harm.
pub fn mix(outside: &[u8]) {
    MIXED.lock().unwrap_or_else(PoisonError::into_inner).add(outside);
}

/// Returns `N` random bytes.
///
/// # Panics
///
/// Panics if the operating system has no random numbers: no token and no id
/// would be safe.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut state = MIXED.lock().unwrap_or_else(PoisonError::into_inner);
    for part in bytes.chunks_mut(mixed::PART) {
        let mut drawn = [0; mixed::PART];
        getrandom::fill(&mut drawn).expect("the operating system has random numbers");
        part.copy_from_slice(&state.number(&drawn, now())[..part.len()]);
    }
    bytes
}

/// The time, whose last digits differ between copies.
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
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

    #[test]
    fn every_length_is_filled() {
        assert_eq!(bytes::<0>(), [0; 0]);
        // A byte of 100 is zero by chance in all of 16 draws once in 2^121.
        let filled = (0..16).map(|_| bytes::<100>()).fold([0; 100], |mut filled, drawn| {
            filled.iter_mut().zip(drawn).for_each(|(byte, drawn)| *byte |= drawn);
            filled
        });
        assert!(filled.iter().all(|byte| *byte != 0), "{filled:?}");
    }
}
