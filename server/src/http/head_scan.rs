//! Heads of requests, looked at byte by byte before the parser sees them.
//!
//! The parser takes what RFC 9112 lets it take: a bare LF for the end of a
//! line, a body that tells its length in two ways. Others on the way of a
//! request may read those otherwise and see other requests in the same bytes,
//! which is how requests are smuggled. Here they are refused.

use hyper::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING, UPGRADE};

/// What no head may hold. Put in place of what is refused, it makes the parser
/// answer 400.
const REFUSED: u8 = 0;

/// The longest name that is looked for.
const LONGEST_NAME: usize = "transfer-encoding".len();

/// Whether something else than the next head may follow this one. Then the
/// connection is not used for another request, because the end of what follows
/// is known to the parser alone.
pub(super) fn is_last(headers: &HeaderMap) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].iter().any(|name| headers.contains_key(name))
}

/// Follows the heads of one connection.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// What follows is a body or another protocol, or has been refused.
    over: bool,
    previous: u8,
    /// Bytes of the line so far, and of the head before it.
    line: usize,
    lines: usize,
    /// The name at the beginning of the line, in lower case, while it is one.
    name: [u8; LONGEST_NAME],
    naming: bool,
    has_length: bool,
    has_encoding: bool,
    has_upgrade: bool,
}

impl HeadScan {
    /// Looks at the next bytes of the connection, and spoils what is refused.
    pub(super) fn look(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.over {
                return;
            }
            if self.refuses(*byte) {
                *byte = REFUSED;
                self.over = true;
            }
            self.previous = *byte;
        }
    }

    fn refuses(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' if self.previous != b'\r' => return true,
            b'\n' => self.end_line(),
            b'\r' => {}
            b':' if self.naming => return self.end_name(),
            _ => {
                match self.name.get_mut(self.line) {
                    Some(place) => *place = byte.to_ascii_lowercase(),
                    None => self.naming = false,
                }
                self.line += 1;
            }
        }
        false
    }

    /// Whether the name says a second time how long the body is.
    fn end_name(&mut self) -> bool {
        self.naming = false;
        let name = &self.name[..self.line];
        self.has_length |= name == CONTENT_LENGTH.as_str().as_bytes();
        self.has_encoding |= name == TRANSFER_ENCODING.as_str().as_bytes();
        self.has_upgrade |= name == UPGRADE.as_str().as_bytes();
        // The colon belongs to the line.
        self.line += 1;
        self.has_length && self.has_encoding
    }

    fn end_line(&mut self) {
        if self.line > 0 {
            self.lines += 1;
        } else if self.lines > 0 {
            // The empty line at the end. Those before a head are nothing.
            self.over = self.has_length || self.has_encoding || self.has_upgrade;
            self.lines = 0;
        }
        self.line = 0;
        self.naming = self.lines > 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these bytes, read in chunks of any size.
    fn seen(text: &str) -> String {
        let mut all = None;
        for size in 1..=text.len() {
            let mut scan = HeadScan::default();
            let mut bytes = text.as_bytes().to_vec();
            bytes.chunks_mut(size).for_each(|chunk| scan.look(chunk));
            let bytes = String::from_utf8(bytes).unwrap();
            assert_eq!(*all.get_or_insert_with(|| bytes.clone()), bytes, "in chunks of {size}");
        }
        all.unwrap_or_default()
    }

    #[test]
    fn what_everybody_reads_alike_is_left_alone() {
        for text in [
            "GET / HTTP/1.1\r\nHost: x\r\nX: content-length:\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            // A body and another protocol are not looked at.
            "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n\n\n\n\n\n",
            "POST / HTTP/1.1\r\nTRANSFER-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
            "GET /ws HTTP/1.1\r\nuPGRADE: websocket\r\n\r\n\n\n\n\n",
            // Twice the same way is the parser's business.
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n\n",
        ] {
            assert_eq!(seen(text), text);
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused_wherever_a_head_is() {
        let first = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for text in [
            "GET / HTTP/1.1\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
            &format!("{first}GET / HTTP/1.1\n"),
        ] {
            let at = text.match_indices('\n').find(|(at, _)| !text[..*at].ends_with('\r'));
            let at = at.expect("a bare one").0;
            let spoiled = format!("{}\0{}", &text[..at], &text[at + 1..]);
            assert_eq!(seen(text), spoiled);
        }
    }

    #[test]
    fn two_ways_to_tell_a_length_are_refused() {
        for names in [
            ["Content-Length", "Transfer-Encoding"],
            ["transfer-encoding", "content-length"],
            ["TRANSFER-ENCODING", "CONTENT-LENGTH"],
        ] {
            let [one, other] = names;
            let text =
                |colon| format!("POST / HTTP/1.1\r\n{one}: x\r\nX: y\r\n{other}{colon} x\r\n\r\n");
            assert_eq!(seen(&text(":")), text("\0"));
        }
    }

    #[test]
    fn the_next_head_is_only_looked_for_where_the_next_head_is() {
        let mut headers = HeaderMap::new();
        assert!(!is_last(&headers));
        headers.insert(CONTENT_LENGTH, 0.into());
        assert!(is_last(&headers));
    }
}
