//! A value of a client's message as a line for the agent, without a copy of
//! what is large.

use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};

/// Returns the place of `part`, which is a slice of `text`.
#[must_use]
pub fn place_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// Lines up to this size are copied.
const COPY_BYTES: usize = 4 << 10;

/// Cuts a value of JSON out of `message`, as one line with its newline. The
/// value must not be the end of the message: the byte after it becomes the
/// newline.
#[must_use]
pub fn into_line(message: &mut BytesMut, place: Range<usize>) -> Bytes {
    // A small slice would keep the memory of all that was read with it.
    let mut line = if place.len() < COPY_BYTES || place.len() < message.len() / 2 {
        let mut line = BytesMut::with_capacity(place.len() + 1);
        line.extend_from_slice(&message[place]);
        line
    } else {
        let mut line = message.split_off(place.start);
        line.truncate(place.len());
        line
    };
    one_line(&mut line);
    line.put_u8(b'\n');
    line.freeze()
}

/// Replaces line breaks by spaces. In valid JSON, a raw CR or LF is white space
/// between tokens.
fn one_line(json: &mut [u8]) {
    for byte in json {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
