//! Headers of WebSocket frames from a server: final, unmasked.
//!
//! The replay buffer stores encoded frames, so that replaying sends slices of
//! it. Frames from clients are read in `read.rs`.

/// Maximum length of a header.
pub const MAX_HEADER_BYTES: usize = 10;

/// Opcode of a text frame.
pub const TEXT: u8 = 0x1;

/// Returns a header, and the number of bytes of it that are in use.
#[must_use]
pub fn header(opcode: u8, payload: usize) -> ([u8; MAX_HEADER_BYTES], usize) {
    const FINAL: u8 = 0x80;
    let mut head = [0; MAX_HEADER_BYTES];
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

/// Returns the length of the header for a payload of this size.
#[must_use]
pub fn header_bytes(payload: usize) -> usize {
    match payload {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => MAX_HEADER_BYTES,
    }
}

/// Returns the payload of a complete frame with a header of [`header`]. At
/// payloads of 126 and 65,536 bytes the header grows by more than one byte, so
/// the length of a frame determines the length of its header.
#[must_use]
pub fn payload(frame: &[u8]) -> &[u8] {
    let header = match frame.len() {
        0..=127 => 2,
        128..=65_539 => 4,
        _ => MAX_HEADER_BYTES,
    };
    frame.get(header..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_found_at_every_boundary() {
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
