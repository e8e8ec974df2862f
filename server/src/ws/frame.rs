//! The header of a WebSocket frame from a server: final, unmasked.
//!
//! The replay buffer keeps frames ready to be written, so that what a client
//! is owed is a slice of it. Reading frames is `connection.rs`'s business.

/// The longest header.
pub const HEADER_BYTES: usize = 10;

/// Opcode of a text frame.
pub const TEXT: u8 = 0x1;

/// A header and how much of it counts.
#[must_use]
pub fn header(opcode: u8, payload: usize) -> ([u8; HEADER_BYTES], usize) {
    const FINAL: u8 = 0x80;
    let mut head = [0; HEADER_BYTES];
    head[0] = FINAL | opcode;
    let length = header_bytes(payload);
    match length {
        2 => head[1] = payload as u8,
        4 => {
            head[1] = 126;
            head[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            head[1] = 127;
            head[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    (head, length)
}

/// How long the header of a payload is.
#[must_use]
pub fn header_bytes(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => HEADER_BYTES,
    }
}

/// The payload of a whole frame that [`header`] began. Lengths of 126 and
/// 65,536 make the header grow by more than one byte, so that the length of a
/// frame tells that of its header.
#[must_use]
pub fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame.len() {
        0..=127 => 2,
        128..=65_539 => 4,
        _ => HEADER_BYTES,
    };
    frame.get(header..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_found_again_at_every_edge() {
        for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536, 65_537, 100_000] {
            let (head, used) = header(TEXT, length);
            let mut frame = head[..used].to_vec();
            frame.extend(std::iter::repeat_n(b'x', length));
            assert_eq!(payload(&frame).len(), length);
            let mut reference = fastwebsockets::Frame::text(vec![b'x'; length].into());
            assert_eq!(reference.write(&mut Vec::new()), frame);
        }
    }
}
