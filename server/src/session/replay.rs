//! Buffer of recent frames, encoded for writing; a client is a cursor into it.
//!
//! Every frame that can be replayed is appended once, with its WebSocket
//! header, and gets the next sequence number. The pending frames of a client
//! are then slices of this memory, shared by reference count. Live output, a
//! slow reader and a replay after a reconnection are the same case.
//!
//! The buffer is bounded in bytes. It evicts old frames, but never those that a
//! connected client has not received: the writer has to check
//! [`ReplayBuffer::has_room`] first.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};
use claude_relay_protocol::envelope;

pub use super::features::{Feature, Features};
use claude_relay_listen::ws::frame;
use numbers::Inputs;

mod numbers;

/// Size of a memory allocation for frames. Frames up to this size are stored
/// contiguously.
const ALLOCATION_BYTES: usize = 256 << 10;

/// Minimum size of a frame that gets its own allocation if it does not fit in
/// the current one. At most this much of a segment stays unused.
const LARGE_BYTES: usize = ALLOCATION_BYTES / 8;

/// Overhead of a frame: its entry in `ends`.
const FRAME_OVERHEAD_BYTES: usize = size_of::<u64>();

/// Overhead of a segment.
const SEGMENT_OVERHEAD_BYTES: usize = size_of::<Segment>();

/// Maximum size of a batch of [`ReplayBuffer::batch_from`], except for a single
/// larger frame. A full read of the agent's output takes two batches; with 2
/// MiB, lines of 300 B to 64 KB had a lower throughput.
pub const BATCH_BYTES: usize = 1 << 20;

/// Share of the buffer, as a divisor, that an input may take as long as no
/// client has asked for inputs. A larger one would evict output that is wanted.
const INPUT_SHARE: usize = 16;

/// Recent frames with their sequence numbers.
#[derive(Debug)]
pub struct ReplayBuffer {
    limit: usize,
    /// Size of all frames, with their overhead.
    bytes: usize,
    /// Number of the oldest frame; `next` if there is none.
    first: u64,
    /// Number of the next frame.
    next: u64,
    /// End of each frame, oldest first, as an offset from the first frame ever.
    ends: VecDeque<u64>,
    /// Beginning of the oldest frame, as such an offset.
    begin: u64,
    /// The frames in order, several per segment.
    segments: VecDeque<Segment>,
    /// Frames that are not in a segment yet.
    open: BytesMut,
    /// Number of the first frame in `open`.
    open_first: u64,
    /// Frames for clients with a feature only, oldest first.
    optional: VecDeque<(u64, Feature)>,
    /// Features that a client has had.
    enabled: Features,
    inputs: Inputs,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    bytes: Bytes,
}

/// Range of evicted frames, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first missing number.
    pub from: u64,
    /// The last missing number.
    pub to: u64,
}

impl ReplayBuffer {
    /// Creates an empty buffer that keeps at most `limit` bytes, except for
    /// frames that a connected client has not received.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            first: 1,
            next: 1,
            ends: VecDeque::new(),
            begin: 0,
            segments: VecDeque::new(),
            open: BytesMut::new(),
            open_first: 1,
            optional: VecDeque::new(),
            enabled: Features::default(),
            inputs: Inputs::default(),
        }
    }

    /// Returns the place of the next frame. Places start at 1.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Returns the place of the oldest frame, or [`ReplayBuffer::next`] if
    /// empty.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Returns the size, including overhead.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the size of all frames so far, kept or not.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.begin_of(self.next)
    }

    /// Appends a frame whose payload is the concatenation of `parts`.
    pub fn push(&mut self, parts: [&[u8]; 3]) {
        let payload: usize = parts.iter().map(|part| part.len()).sum();
        let (head, head_bytes) = frame::header(frame::TEXT, payload);
        let length = head_bytes + payload;
        let mut spare = None;
        if self.open.capacity() - self.open.len() < length {
            self.seal();
            let memory = if length < LARGE_BYTES { ALLOCATION_BYTES } else { length };
            let before = std::mem::replace(&mut self.open, BytesMut::with_capacity(memory));
            spare = (length >= LARGE_BYTES).then_some(before);
        }
        self.open.extend_from_slice(&head[..head_bytes]);
        for part in parts {
            self.open.extend_from_slice(part);
        }
        self.ends.push_back(self.ends.back().unwrap_or(&self.begin) + length as u64);
        self.bytes += length + FRAME_OVERHEAD_BYTES;
        self.next += 1;
        if let Some(spare) = spare {
            self.seal();
            self.open = spare;
        }
    }

    /// Keeps frames for `features` from now on.
    pub fn enable(&mut self, features: Features) {
        self.enabled = self.enabled.union(features);
    }

    /// Appends an `input` frame.
    pub fn push_input(&mut self, parts: [&[u8]; 3]) {
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if bytes <= self.limit / INPUT_SHARE || self.enabled.has(Feature::Input) {
            self.inputs.push(self.next);
            self.optional.push_back((self.next, Feature::Input));
            self.push(parts);
        }
    }

    /// Appends a frame for clients with `feature` only. Without such a client so
    /// far, nothing is appended: the numbers of all others stay without holes.
    pub fn push_for(&mut self, feature: Feature, parts: [&[u8]; 3]) {
        if self.enabled.has(feature) {
            self.optional.push_back((self.next, feature));
            self.push(parts);
        }
    }

    /// Returns true if another block of frames may be appended. `unread_from`
    /// is the number of the first frame that a connected client has not
    /// received. At most half of the buffer is for those; the other half holds
    /// the frames sent last, which may have been lost with the connection.
    #[must_use]
    pub fn has_room(&self, unread_from: u64) -> bool {
        let unread_from = unread_from.clamp(self.first, self.next);
        let unread = self.begin_of(self.next) - self.begin_of(unread_from);
        unread == 0 || unread < self.limit as u64 / 2
    }

    /// Evicts the oldest frames until the limit is met, but none from
    /// `keep_from` on.
    pub fn evict(&mut self, keep_from: u64) {
        while self.bytes > self.limit && self.first < keep_from {
            self.pop();
        }
    }

    /// Evicts all frames before `keep_from`, whatever the limit.
    pub fn forget(&mut self, keep_from: u64) {
        while self.first < keep_from.min(self.next) {
            self.pop();
        }
    }

    /// Returns the size of the frames from `from` to before `to`, without those
    /// that are no longer kept.
    #[must_use]
    pub fn bytes_between(&self, from: u64, to: u64) -> u64 {
        let offset = |seq: u64| self.begin_of(seq.clamp(self.first, self.next));
        offset(to).saturating_sub(offset(from))
    }

    fn pop(&mut self) {
        if self.segments.is_empty() {
            self.seal();
        }
        let (Some(end), Some(segment)) = (self.ends.pop_front(), self.segments.front_mut()) else {
            return;
        };
        let length = (end - self.begin) as usize;
        self.begin = end;
        self.first += 1;
        while self.optional.front().is_some_and(|(seq, _)| *seq < self.first) {
            self.optional.pop_front();
        }
        self.inputs.evict(self.first);
        self.bytes -= length + FRAME_OVERHEAD_BYTES;
        if segment.bytes.len() > length {
            segment.bytes.advance(length);
            segment.first = self.first;
        } else {
            self.segments.pop_front();
            self.bytes -= SEGMENT_OVERHEAD_BYTES;
        }
    }

    /// Returns the number of the frame at `place` for a client with `features`.
    #[must_use]
    pub fn number(&self, place: u64, features: Features) -> u64 {
        if features.has(Feature::Input) { place } else { self.inputs.number(place) }
    }

    /// Returns the place behind the frame that has `number` for a client with
    /// `features`, or of the oldest frame if that one is no longer kept.
    #[must_use]
    pub fn place_after(&self, number: u64, features: Features) -> u64 {
        if number < self.number(self.first, features) {
            return self.first;
        }
        let place = if features.has(Feature::Input) { number } else { self.inputs.place(number) };
        self.first.max(place + 1)
    }

    /// Returns the range of numbers between `after` and the oldest frame, if
    /// any. A number that has not been assigned is treated as the last one, so
    /// nothing follows it.
    #[must_use]
    pub fn gap_after(&self, after: u64, features: Features) -> Option<Gap> {
        let first = self.number(self.first, features);
        (after + 1 < first).then(|| Gap { from: after + 1, to: first - 1 })
    }

    /// Appends to `batch` the frames from `cursor` on for a client with
    /// `features`, up to [`BATCH_BYTES`]. Returns the cursor after them.
    pub fn batch_from(&mut self, cursor: u64, features: Features, batch: &mut Vec<Bytes>) -> u64 {
        self.seal();
        let mut cursor = cursor.max(self.first);
        let mut bytes = 0;
        loop {
            let hidden = self.hidden_from(cursor, features);
            let until = hidden.unwrap_or(self.next);
            cursor = self.slices(cursor, until, &mut bytes, batch);
            if cursor < until {
                return cursor;
            }
            match hidden {
                Some(hidden) => cursor = hidden + 1,
                None => return cursor,
            }
        }
    }

    /// Returns the first frame from `cursor` on that a client with `features`
    /// does not get.
    fn hidden_from(&self, cursor: u64, features: Features) -> Option<u64> {
        let at = self.optional.partition_point(|(seq, _)| *seq < cursor);
        let hidden = self.optional.iter().skip(at).find(|(_, feature)| !features.has(*feature));
        hidden.map(|(seq, _)| *seq)
    }

    /// Appends the frames from `cursor` to `until`, within the limit of a
    /// batch.
    fn slices(
        &self,
        mut cursor: u64,
        until: u64,
        bytes: &mut usize,
        batch: &mut Vec<Bytes>,
    ) -> u64 {
        let mut at =
            self.segments.partition_point(|segment| segment.first <= cursor).saturating_sub(1);
        while cursor < until
            && let Some(segment) = self.segments.get(at)
        {
            let end = self.segments.get(at + 1).map_or(self.next, |next| next.first).min(until);
            if cursor < end {
                let offset = |seq| (self.begin_of(seq) - self.begin_of(segment.first)) as usize;
                let slice = segment.bytes.slice(offset(cursor)..offset(end));
                if *bytes > 0 && *bytes + slice.len() > BATCH_BYTES {
                    break;
                }
                *bytes += slice.len();
                batch.push(slice);
                cursor = end;
            }
            at += 1;
        }
        cursor
    }

    /// Like [`batch_from`](Self::batch_from), with sequence numbers: each frame
    /// is rebuilt with its `seq`. This path is slower.
    pub fn batch_from_sequenced(
        &mut self,
        cursor: u64,
        features: Features,
        batch: &mut Vec<Bytes>,
    ) -> u64 {
        let mut seq = cursor.max(self.first);
        let mut plain = Vec::new();
        let end = self.batch_from(seq, features, &mut plain);
        let mut out = Vec::with_capacity(
            plain.iter().map(Bytes::len).sum::<usize>()
                + (end - seq) as usize * (envelope::SEQ_FIELD_BYTES + frame::MAX_HEADER_BYTES),
        );
        for segment in plain {
            let mut rest = &segment[..];
            while !rest.is_empty() {
                while self.hidden_from(seq, features) == Some(seq) {
                    seq += 1;
                }
                let length = (self.begin_of(seq + 1) - self.begin_of(seq)) as usize;
                let (whole, after) = rest.split_at(length);
                let payload = frame::payload(whole);
                let number = self.number(seq, features);
                let (head, head_bytes) =
                    frame::header(frame::TEXT, payload.len() + envelope::seq_field_bytes(number));
                out.extend_from_slice(&head[..head_bytes]);
                envelope::push_sequenced(&mut out, payload, number);
                rest = after;
                seq += 1;
            }
        }
        if !out.is_empty() {
            batch.push(out.into());
        }
        end
    }

    /// Turns the open frames into a segment.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            let bytes = self.open.split().freeze();
            self.segments.push_back(Segment { first: self.open_first, bytes });
            self.bytes += SEGMENT_OVERHEAD_BYTES;
        }
        self.open_first = self.next;
    }

    /// Returns the beginning of frame `seq`, as an offset like those of `ends`.
    /// `seq` is a stored frame, or the next one.
    fn begin_of(&self, seq: u64) -> u64 {
        match (seq - self.first) as usize {
            0 => self.begin,
            frames => self.ends[frames - 1],
        }
    }
}

#[cfg(test)]
mod tests;
