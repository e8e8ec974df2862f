//! Whole lines out of the chunks a pipe gives.
//!
//! Lines end at byte 0x0A and nowhere else: U+2028 and a lone CR are part of a
//! line. Whole lines leave together in a [`Block`], however many one read
//! brought, so that the cost of a hand-over is paid once for all of them.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memrchr};

/// The longest line that is passed on, in bytes without its newline. The same
/// bound as for a message of a client.
pub const LINE_LIMIT: usize = 64 << 20;

/// The most that is read at once: all of the pipe. Whoever reads less comes
/// back while the agent fills what has become free, and each waits for the
/// other with the pipe's lock: with 512 KiB, lines of 64 KiB went through at
/// 90 % of the limit's rate and of 1 MiB at 66 %, with this at 98 % and 72 %.
pub const READ_BYTES: usize = 1 << 20;

/// What a read may leave of the next line without a larger buffer.
const REST_BYTES: usize = 64 << 10;

/// A line of which so much had been read before its end came is long.
const LONG_BYTES: usize = 128 << 10;

/// Collects what was read until a line is whole.
#[derive(Debug)]
pub struct LineBuffer {
    buffer: BytesMut,
    /// What stands before this is known to hold no newline.
    scanned: usize,
    /// The line that is being read is over the limit, and this much of it has
    /// been thrown away.
    discarded: usize,
    limit: usize,
}

impl Default for LineBuffer {
    fn default() -> Self {
        Self::with_limit(LINE_LIMIT)
    }
}

impl LineBuffer {
    /// A buffer whose lines have at most `limit` bytes.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        // It is touched, and then counts as used, where something was read.
        let buffer = BytesMut::with_capacity(READ_BYTES + REST_BYTES);
        Self { buffer, scanned: 0, discarded: 0, limit }
    }

    /// Where to read into; at least [`READ_BYTES`] are free, and more may be.
    /// After the blocks taken before have been dropped their memory is used
    /// again.
    pub fn spare(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// The lines that have become whole since the last call.
    pub fn take(&mut self) -> Option<Block> {
        let Some(newline) = memrchr(b'\n', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            if self.buffer.len() > self.limit {
                self.discarded += self.buffer.len();
                self.buffer.clear();
                self.scanned = 0;
            }
            return None;
        };
        let bytes = self.buffer.split_to(self.scanned + newline + 1).freeze();
        let scanned = std::mem::replace(&mut self.scanned, self.buffer.len());
        let discarded = std::mem::take(&mut self.discarded);
        Some(Block { bytes, scanned, discarded, limit: self.limit })
    }

    /// What is left at the end: a last line without a newline.
    #[must_use]
    pub fn finish(mut self) -> Option<Block> {
        let bytes = self.buffer.split().freeze();
        if bytes.is_empty() && self.discarded == 0 {
            return None;
        }
        let Self { scanned, discarded, limit, .. } = self;
        Some(Block { bytes, scanned, discarded, limit })
    }
}

/// Whole lines, one behind the other.
#[derive(Debug)]
pub struct Block {
    bytes: Bytes,
    /// What stands before this is known to hold no newline: the beginning of a
    /// long line is not looked through again.
    scanned: usize,
    /// How much of the first line was thrown away before these bytes.
    discarded: usize,
    limit: usize,
}

/// One line of a [`Block`].
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Its bytes, without the newline and a CR before it.
    Whole(&'a [u8]),
    /// It was over the limit; this many bytes long.
    TooLong(usize),
}

impl Block {
    /// The lines in order. Blank ones are left out, as the agent's own
    /// protocol does.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut rest: &[u8] = &self.bytes;
        let mut scanned = self.scanned;
        let mut discarded = self.discarded;
        let limit = self.limit;
        std::iter::from_fn(move || {
            loop {
                if rest.is_empty() {
                    let bytes = std::mem::take(&mut discarded);
                    return (bytes > 0).then_some(Line::TooLong(bytes));
                }
                let known = std::mem::take(&mut scanned);
                let (line, after) = match memchr(b'\n', &rest[known..]) {
                    Some(newline) => (&rest[..known + newline], &rest[known + newline + 1..]),
                    None => (rest, &rest[rest.len()..]),
                };
                rest = after;
                let length = line.len() + std::mem::take(&mut discarded);
                if length > limit {
                    return Some(Line::TooLong(length));
                }
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                if !line.iter().all(u8::is_ascii_whitespace) {
                    return Some(Line::Whole(line));
                }
            }
        })
    }

    /// Whether the first line is a long one that took several reads.
    #[must_use]
    pub fn begins_long(&self) -> bool {
        self.scanned >= LONG_BYTES
    }

    /// How many bytes the block holds, newlines included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `chunks` and gives every line as text, `>N` for one too long.
    fn split(chunks: &[&[u8]], limit: usize) -> Vec<String> {
        let mut buffer = LineBuffer::with_limit(limit);
        let mut lines = Vec::new();
        let mut note = |block: Option<Block>| {
            for line in block.iter().flat_map(Block::lines) {
                lines.push(match line {
                    Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Line::TooLong(bytes) => format!(">{bytes}"),
                });
            }
        };
        for chunk in chunks {
            buffer.spare().extend_from_slice(chunk);
            note(buffer.take());
        }
        note(buffer.finish());
        lines
    }

    #[test]
    fn only_a_newline_ends_a_line() {
        assert_eq!(
            split(&["a\u{2028}b\u{85}c\rd\n\n \t\r\ne\r\nf".as_bytes()], 100),
            ["a\u{2028}b\u{85}c\rd", "e", "f"]
        );
    }

    #[test]
    fn a_line_may_come_in_any_pieces() {
        assert_eq!(split(&[b"a", b"b\nc", b"\n", b"d"], 100), ["ab", "c", "d"]);
    }

    #[test]
    fn a_line_is_long_when_much_of_it_came_before_its_end() {
        let long = "x".repeat(LONG_BYTES);
        for (chunks, expected) in [
            ([&long[..], "\nshort\n"], true),
            ([&long[1..], "x\nshort\n"], false),
            (["short", &format!("{long}\n")], false),
        ] {
            let mut buffer = LineBuffer::default();
            buffer.spare().extend_from_slice(chunks[0].as_bytes());
            assert!(buffer.take().is_none());
            buffer.spare().extend_from_slice(chunks[1].as_bytes());
            let block = buffer.take().unwrap();
            assert_eq!(block.begins_long(), expected);
            let lines: usize = block.lines().count();
            assert_eq!(lines, chunks.concat().lines().count());
        }
    }

    #[test]
    fn a_line_over_the_limit_is_named_and_the_next_is_fine() {
        assert_eq!(split(&[b"123456\nok\n"], 5), [">6", "ok"]);
        assert_eq!(split(&[b"12345\nok\n"], 5), ["12345", "ok"]);
        assert_eq!(split(&[b"1234", b"56789", b"0", b"1\nok\n"], 5), [">11", "ok"]);
        assert_eq!(split(&[b"123456789"], 5), [">9"]);
    }

    #[test]
    fn a_line_over_the_limit_does_not_grow_the_buffer() {
        let mut buffer = LineBuffer::with_limit(1000);
        for _ in 0..10_000 {
            buffer.spare().extend_from_slice(&[b'x'; 500]);
            assert!(buffer.take().is_none());
            assert!(buffer.buffer.len() <= 1500);
        }
    }

    proptest! {
        #[test]
        fn chunking_makes_no_difference(
            text in "[a-c\n\r ]{0,200}",
            cuts in proptest::collection::vec(0usize..200, 0..20),
            limit in 1usize..20,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
            prop_assert_eq!(split(&chunks, limit), split(&[text.as_bytes()], limit));
        }
    }
}
