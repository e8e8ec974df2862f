//! Streams of the Connect protocol: JSON messages, each in an envelope of a
//! flag byte and a length. Pure: bytes in, messages out.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Longest message that is accepted from a sandbox.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Flag of the last message of a stream, which may hold an error.
const END_OF_STREAM: u8 = 0b10;
/// Flag of a compressed message, which this client never requests.
const COMPRESSED: u8 = 0b01;
const HEADER_BYTES: usize = 5;

/// A message of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Envelope {
    /// A message before the last.
    Message(Bytes),
    /// The last message: `{}`, or `{"error":…}`.
    End(Bytes),
}

/// Reason for refusing a stream.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum BadEnvelope {
    #[error("a message announces {0} bytes, more than {MAX_MESSAGE_BYTES}")]
    TooLong(usize),
    #[error("a message is compressed, which was not asked for")]
    Compressed,
}

/// Wraps one message in an envelope.
pub(crate) fn envelope(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + message.len());
    bytes.put_u8(0);
    // A request of this client is a path and a few flags, far below four
    // gigabytes.
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.put_slice(message);
    bytes.freeze()
}

/// Decoder of a stream that arrives in chunks of any size.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// Returns the next complete message, or `None` if more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Envelope>, BadEnvelope> {
        let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let [flags, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE_BYTES {
            return Err(BadEnvelope::TooLong(length));
        }
        if flags & COMPRESSED != 0 {
            return Err(BadEnvelope::Compressed);
        }
        if self.buffer.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER_BYTES);
        let message = self.buffer.split_to(length).freeze();
        Ok(Some(match flags & END_OF_STREAM {
            0 => Envelope::Message(message),
            _ => Envelope::End(message),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_are_cut(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..10),
            piece in 1_usize..50,
        ) {
            let stream: Vec<u8> = messages.iter().flat_map(|m| envelope(m).to_vec()).collect();
            let mut decoder = Decoder::default();
            let mut out = Vec::new();
            for chunk in stream.chunks(piece) {
                decoder.push(chunk);
                while let Some(Envelope::Message(message)) = decoder.next().unwrap() {
                    out.push(message.to_vec());
                }
            }
            prop_assert_eq!(out, messages);
        }

        #[test]
        fn no_bytes_make_it_panic_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next() {}
        }
    }

    #[test]
    fn the_end_is_told_apart() {
        let mut decoder = Decoder::default();
        decoder.push(&[2, 0, 0, 0, 2, b'{', b'}']);
        assert_eq!(decoder.next(), Ok(Some(Envelope::End(Bytes::from_static(b"{}")))));
    }

    #[test]
    fn an_announced_length_is_bounded_before_anything_is_kept() {
        let mut decoder = Decoder::default();
        decoder.push(&[0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next(), Err(BadEnvelope::TooLong(u32::MAX as usize)));
    }
}
