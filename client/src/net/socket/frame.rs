//! The header of a frame off the wire, as a client may read it: RFC 6455,
//! section 5.2. Pure.
//!
//! Reading is the hot path of this crate. A library's reader would copy each
//! frame once more and prove twice that its text is UTF-8.

use fastwebsockets::OpCode;

use crate::error::ConnectionError;

/// The most bytes that a control frame can carry.
const MAX_CONTROL_BYTES: u64 = 125;

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// The contents of the front of a buffer.
#[derive(Debug, PartialEq)]
pub(super) enum Front {
    /// A frame, whole.
    Whole {
        /// True if its message ends with it.
        fin: bool,
        opcode: OpCode,
        header_bytes: usize,
        /// Behind the header.
        payload_bytes: usize,
    },
    /// A part of a frame. The buffer must hold so many bytes in all before
    /// more can be said.
    Needs(usize),
}

/// Reads the header at the front of `buffer`. What can be refused by it is
/// refused before the payload is waited for.
///
/// # Errors
///
/// [`ConnectionError::Protocol`] for what no server may send, [`ConnectionError::TooBig`] for a
/// payload of more than `limit_bytes`.
pub(super) fn front(buffer: &[u8], limit_bytes: usize) -> Result<Front, ConnectionError> {
    let Some(([first, second], rest)) = buffer.split_first_chunk() else {
        return Ok(Front::Needs(2));
    };
    let (fin, masked) = (first & FINAL != 0, second & MASKED != 0);
    let (header_bytes, payload) = match (second & LENGTH, rest) {
        (126, [a, b, ..]) => (4, u64::from(u16::from_be_bytes([*a, *b]))),
        (126, _) => return Ok(Front::Needs(4)),
        (127, rest) => match rest.first_chunk() {
            Some(length) => (10, u64::from_be_bytes(*length)),
            None => return Ok(Front::Needs(10)),
        },
        (length, _) => (2, u64::from(length)),
    };
    if first & RESERVED != 0 {
        return Err(ConnectionError::protocol("a reserved bit of a frame is set"));
    }
    let opcode = OpCode::try_from(first & OPCODE)
        .map_err(|_| ConnectionError::protocol("a frame is of a kind that is not known"))?;
    if masked {
        return Err(ConnectionError::protocol("a frame is masked"));
    }
    if matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong) {
        if !fin {
            return Err(ConnectionError::protocol("a control frame is in fragments"));
        }
        if payload > MAX_CONTROL_BYTES {
            return Err(ConnectionError::protocol("a control frame is over 125 bytes"));
        }
    }
    let payload_bytes = usize::try_from(payload)
        .ok()
        .filter(|bytes| *bytes <= limit_bytes)
        .ok_or(ConnectionError::TooBig { limit_bytes })?;
    if buffer.len() - header_bytes < payload_bytes {
        return Ok(Front::Needs(header_bytes.saturating_add(payload_bytes)));
    }
    Ok(Front::Whole { fin, opcode, header_bytes, payload_bytes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT_BYTES: usize = 70_000;

    /// Takes all there is: each frame as `(fin, opcode, payload)`.
    fn take_all(buffer: &mut Vec<u8>) -> Result<Vec<(bool, u8, Vec<u8>)>, ConnectionError> {
        let mut taken = Vec::new();
        loop {
            match front(buffer, LIMIT_BYTES)? {
                Front::Whole { fin, opcode, header_bytes, payload_bytes } => {
                    let frame: Vec<_> = buffer.drain(..header_bytes + payload_bytes).collect();
                    taken.push((fin, opcode as u8, frame[header_bytes..].to_vec()));
                }
                Front::Needs(bytes) => {
                    assert!(bytes > buffer.len(), "it waits for what it has");
                    return Ok(taken);
                }
            }
        }
    }

    #[test]
    fn a_payload_may_be_as_long_as_the_limit_and_no_longer() {
        for (length, allowed) in [(LIMIT_BYTES, true), (LIMIT_BYTES + 1, false)] {
            let header = [&[FINAL | 2, 127][..], &(length as u64).to_be_bytes()].concat();
            match front(&header, LIMIT_BYTES) {
                Ok(Front::Needs(bytes)) => assert!(allowed && bytes == 10 + length),
                other => assert!(!allowed && matches!(other, Err(ConnectionError::TooBig { .. }))),
            }
        }
    }

    proptest! {
        /// The library that writes our frames is the reference for reading.
        #[test]
        fn frames_are_what_they_were_however_they_are_cut(
            frames in prop::collection::vec(
                (any::<bool>(), 0_u8..3, prop::sample::select(vec![0, 1, 125, 126, 65_535, 65_536])),
                0..6,
            ),
            cuts in prop::collection::vec(1_usize..40_000, 1..20),
        ) {
            let mut wire = Vec::new();
            let mut expected = Vec::new();
            for (fin, opcode, length) in frames {
                let payload = vec![opcode; length];
                let kind = OpCode::try_from(opcode).unwrap();
                let mut frame = fastwebsockets::Frame::new(fin, kind, None, payload.clone().into());
                wire.extend_from_slice(frame.write(&mut Vec::new()));
                expected.push((fin, opcode, payload));
            }
            let (mut buffer, mut taken) = (Vec::new(), Vec::new());
            let (mut rest, mut cuts) = (&wire[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (part, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                buffer.extend_from_slice(part);
                rest = behind;
                taken.extend(take_all(&mut buffer).unwrap());
            }
            prop_assert_eq!(taken, expected);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = take_all(&mut bytes.clone());
        }
    }
}
