//! A value of a client's message as a line for the agent, without a copy.

use std::ops::Range;

use bytes::{BufMut as _, Bytes, BytesMut};

/// Returns the place of `part`, which is a slice of `text`.
#[must_use]
pub fn place_in(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// Cuts a value of JSON out of `message`, as one line with its newline. The
/// value must not be the end of the message: the byte after it becomes the
/// newline.
#[must_use]
pub fn into_line(message: &mut BytesMut, place: Range<usize>) -> Bytes {
    let mut line = message.split_off(place.start);
    line.truncate(place.len());
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
