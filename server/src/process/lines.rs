//! Splits the bytes of a pipe into lines.
//!
//! Only byte 0x0A ends a line: U+2028 and a lone CR are part of it. All
//! complete lines of one read are passed on together in a [`Block`], so that
//! the cost per channel message is shared.

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memrchr};

/// Maximum length of a line, without its newline. The same limit applies to
/// messages of a client.
pub const LINE_LIMIT: usize = 64 << 20;

/// Maximum size of a read: the capacity of the pipe. A smaller read returns
/// while the agent refills the freed part, and both compete for the pipe's
/// lock. With 512 KiB, lines of 64 KiB went through at 90 % of the attainable
/// rate and lines of 1 MiB at 66 %; with 1 MiB, at 98 % and 72 %.
pub const READ_BYTES: usize = 1 << 20;

/// Capacity for the beginning of the next line, beyond one read.
const REST_BYTES: usize = 64 << 10;

/// A line is long if this many bytes of it were read before its end arrived.
const LONG_BYTES: usize = 128 << 10;

/// A line is large if this many bytes of it were read before its end arrived.
/// One may hold millions of small elements, which take a second to parse.
const LARGE_BYTES: usize = 2 << 20;

/// Buffer that collects reads until a line is complete.
#[derive(Debug)]
pub struct LineBuffer {
    buffer: BytesMut,
    /// Number of bytes at the beginning that are known to hold no newline.
    scanned: usize,
    /// Number of bytes discarded from the current line, which is over the
    /// limit.
    discarded: usize,
    limit: usize,
}

impl Default for LineBuffer {
    fn default() -> Self {
        Self::with_limit(LINE_LIMIT)
    }
}

impl LineBuffer {
    /// Creates a buffer for lines of at most `limit` bytes.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        // The memory is not touched, and so not resident, before something is
        // read into it.
        let buffer = BytesMut::with_capacity(READ_BYTES + REST_BYTES);
        Self { buffer, scanned: 0, discarded: 0, limit }
    }

    /// Returns the buffer to read into, with at least [`READ_BYTES`] free. The
    /// memory of earlier blocks is reused once they have been dropped.
    pub fn spare(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_BYTES);
        &mut self.buffer
    }

    /// Takes the lines that have become complete since the last call.
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

    /// Takes the rest at the end of input: a last line without a newline.
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

/// Complete lines, in one buffer.
#[derive(Debug)]
pub struct Block {
    bytes: Bytes,
    /// Number of bytes at the beginning that are known to hold no newline, so
    /// that the beginning of a long line is not searched again.
    scanned: usize,
    /// Number of bytes discarded from the first line before these.
    discarded: usize,
    limit: usize,
}

/// One line of a [`Block`].
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The bytes without the newline and a CR before it.
    Whole(&'a [u8]),
    /// A line over the limit, with its length.
    TooLong(usize),
}

impl Block {
    /// Returns the lines in order, without blank ones, which the agent's
    /// protocol ignores too.
    #[must_use]
    pub fn lines(&self) -> Lines<'_> {
        let Self { scanned, discarded, limit, .. } = *self;
        Lines { rest: &self.bytes, scanned, discarded, limit }
    }

    /// Returns true if the first line is long and took several reads.
    #[must_use]
    pub fn begins_long(&self) -> bool {
        self.scanned >= LONG_BYTES
    }

    /// Returns true if the first line is large.
    #[must_use]
    pub fn begins_large(&self) -> bool {
        self.scanned >= LARGE_BYTES
    }

    /// Returns the size of the block, newlines included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns true if the block is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Lines of a [`Block`], in order.
#[derive(Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
    scanned: usize,
    discarded: usize,
    limit: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    /// Inlined, so that a line stays in registers. Written to memory in two
    /// halves and read as a whole, it waited for all stores before it, which are
    /// those of the line before into the cold memory of the replay buffer: 8 % of
    /// the time at 4 KB.
    #[inline(always)]
    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            if self.rest.is_empty() {
                let bytes = std::mem::take(&mut self.discarded);
                return (bytes > 0).then_some(Line::TooLong(bytes));
            }
            let known = std::mem::take(&mut self.scanned);
            let rest = self.rest;
            let (line, after) = match memchr(b'\n', &rest[known..]) {
                Some(newline) => (&rest[..known + newline], &rest[known + newline + 1..]),
                None => (rest, &rest[rest.len()..]),
            };
            self.rest = after;
            let length = line.len() + std::mem::take(&mut self.discarded);
            if length > self.limit {
                return Some(Line::TooLong(length));
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(Line::Whole(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `chunks` and returns every line as text, `>N` for one that is too
    /// long.
    fn split(chunks: &[&[u8]], limit: usize) -> Vec<String> {
        let mut buffer = LineBuffer::with_limit(limit);
        let mut lines = Vec::new();
        let mut collect = |block: Option<Block>| {
            for line in block.iter().flat_map(Block::lines) {
                lines.push(match line {
                    Line::Whole(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                    Line::TooLong(bytes) => format!(">{bytes}"),
                });
            }
        };
        for chunk in chunks {
            buffer.spare().extend_from_slice(chunk);
            collect(buffer.take());
        }
        collect(buffer.finish());
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
    fn a_line_may_arrive_in_pieces() {
        assert_eq!(split(&[b"a", b"b\nc", b"\n", b"d"], 100), ["ab", "c", "d"]);
    }

    #[test]
    fn a_line_is_large_by_what_was_read_before_its_end() {
        for (before, expected) in [(LARGE_BYTES, true), (LARGE_BYTES - 1, false)] {
            let mut buffer = LineBuffer::default();
            buffer.spare().extend_from_slice(&vec![b'x'; before]);
            assert!(buffer.take().is_none());
            buffer.spare().extend_from_slice(b"x\nshort\n");
            assert_eq!(buffer.take().unwrap().begins_large(), expected);
        }
    }

    #[test]
    fn a_line_is_long_if_much_of_it_was_read_before_its_end() {
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
    fn a_line_over_the_limit_is_reported_and_the_next_one_passes() {
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
        fn chunking_does_not_change_the_lines(
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
