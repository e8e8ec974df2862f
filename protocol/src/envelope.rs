//! Envelope of an agent's line: it wraps the line for a client and leaves it
//! unchanged.
//!
//! Every frame that can be replayed has two forms: one for ordinary clients,
//! and one with its sequence number right after its `type`. The replay buffer
//! stores the first; [`push_sequenced`] makes the second from it.

/// Prefix of the line in an `sdk_message` frame.
pub const SDK_MESSAGE_PREFIX: &[u8] = br#"{"type":"sdk_message","data":"#;

/// Suffix of the line.
pub const SDK_MESSAGE_SUFFIX: &[u8] = b"}";

/// Length of the longest text that [`push_sequenced`] adds: the field and a
/// 64-bit number.
pub const SEQ_FIELD_BYTES: usize = r#","seq":"#.len() + 20;

/// Appends the frame for one line of the agent. The line must be one JSON
/// object in UTF-8: it is copied unchanged.
pub fn push_sdk_message(out: &mut Vec<u8>, line: &[u8]) {
    out.reserve(SDK_MESSAGE_PREFIX.len() + line.len() + SDK_MESSAGE_SUFFIX.len());
    out.extend_from_slice(SDK_MESSAGE_PREFIX);
    out.extend_from_slice(line);
    out.extend_from_slice(SDK_MESSAGE_SUFFIX);
}

/// Splits the payload of one of the server's frames where its sequence number
/// belongs: `{"type":"…"` and the rest. These frames all start with their type,
/// and no type holds a quote.
#[must_use]
pub fn seq_position(payload: &[u8]) -> usize {
    const OPENING: usize = r#"{"type":""#.len();
    debug_assert!(payload.starts_with(br#"{"type":""#));
    payload
        .iter()
        .skip(OPENING)
        .position(|byte| *byte == b'"')
        .map_or(payload.len(), |at| OPENING + at + 1)
}

/// Appends `payload` with its sequence number. See [`seq_position`].
pub fn push_sequenced(out: &mut Vec<u8>, payload: &[u8], seq: u64) {
    let (head, rest) = payload.split_at(seq_position(payload));
    out.reserve(payload.len() + SEQ_FIELD_BYTES);
    out.extend_from_slice(head);
    out.extend_from_slice(br#","seq":"#);
    push_number(out, seq);
    out.extend_from_slice(rest);
}

/// Returns the number of bytes that [`push_sequenced`] adds to a payload.
#[must_use]
pub fn seq_field_bytes(seq: u64) -> usize {
    r#","seq":"#.len() + seq.checked_ilog10().unwrap_or(0) as usize + 1
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_seq(payload: &str, seq: u64) -> String {
        let mut out = Vec::new();
        push_sequenced(&mut out, payload.as_bytes(), seq);
        assert_eq!(out.len(), payload.len() + seq_field_bytes(seq));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_pasted_as_it_is() {
        let mut out = Vec::new();
        push_sdk_message(&mut out, b"{ \"a\":1.0,\"a\":2}");
        assert_eq!(out, b"{\"type\":\"sdk_message\",\"data\":{ \"a\":1.0,\"a\":2}}");
    }

    #[test]
    fn the_number_stands_after_the_type() {
        assert_eq!(
            with_seq(r#"{"type":"sdk_message","data":{"type":"x"}}"#, 7),
            r#"{"type":"sdk_message","seq":7,"data":{"type":"x"}}"#
        );
        for seq in [0, 1, 9, 10, 99, 100, 12_345, u64::MAX] {
            assert_eq!(
                with_seq(r#"{"type":"error","error":"e"}"#, seq),
                format!(r#"{{"type":"error","seq":{seq},"error":"e"}}"#)
            );
        }
    }
}
