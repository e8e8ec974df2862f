//! Randomness from the kernel, at the moment it is needed.
//!
//! A sandbox is a copy of a running server's memory: whatever was drawn
//! earlier would be the same in all of them.

use std::fmt::Write as _;

use rustix::rand::{GetRandomFlags, getrandom};

/// The id of one life of the server: 128 bits in hexadecimal.
#[must_use]
pub fn stream_id() -> String {
    hexadecimal::<16>()
}

/// What stands in for a credential: 256 bits, and where it comes from.
#[must_use]
pub fn placeholder() -> String {
    format!("sk-ant-relay-{}", hexadecimal::<32>())
}

fn hexadecimal<const BYTES: usize>() -> String {
    let mut bytes = [0_u8; BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        // Short only when a signal comes first.
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A String takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lives_have_two_ids() {
        assert_eq!(stream_id().len(), 32);
        assert_ne!(stream_id(), stream_id());
    }
}
