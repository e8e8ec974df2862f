//! The recent frames, kept ready to be written; a client is a cursor into them.
//!
//! Every frame that can be replayed is appended once, behind its WebSocket
//! header, and gets the next sequence number. What a client is owed is then a
//! run of slices of this memory, handed over by reference count. Live output,
//! a slow reader and a replay after a reconnect are the same case.
//!
//! The buffer is bounded in bytes. It forgets from its old end, but never what
//! a connected client has not got yet: whoever fills it asks [`ReplayBuffer::has_room`]
//! first.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};
use claude_relay_protocol::envelope;

use crate::ws::frame;

/// How much memory is taken at once for frames to come. Frames of up to this
/// size lie one behind the other in it.
const ALLOCATION_BYTES: usize = 256 << 10;

/// A frame from this size on gets memory of its own when it does not fit behind
/// the others, so that at most this much of a segment stays unused.
const LARGE_BYTES: usize = ALLOCATION_BYTES / 8;

/// What a frame costs beside its bytes: its place in `ends`.
const FRAME_OVERHEAD_BYTES: usize = size_of::<u64>();

/// What a piece costs beside its bytes.
const SEGMENT_OVERHEAD_BYTES: usize = size_of::<Segment>();

/// The most that one call of [`ReplayBuffer::batch_from`] hands over, but for a
/// single frame that is larger. A full read of the agent's output takes two;
/// with 2 MiB for one, lines of 300 B to 64 KB went through more slowly.
pub const BATCH_BYTES: usize = 1 << 20;

/// Recent frames with their numbers.
#[derive(Debug)]
pub struct ReplayBuffer {
    limit: usize,
    /// Bytes of all frames kept, with their overhead.
    bytes: usize,
    /// The number of the oldest frame kept; `next` when there is none.
    first: u64,
    /// The number that the next frame gets.
    next: u64,
    /// Where each frame kept ends, oldest first, counted in bytes from the
    /// first frame there ever was.
    ends: VecDeque<u64>,
    /// Where the oldest frame kept begins, in the same count.
    begin: u64,
    /// The frames in order, several to a piece.
    segments: VecDeque<Segment>,
    /// Frames that are not in a piece yet.
    open: BytesMut,
    /// The number of the first frame in `open`.
    open_first: u64,
    /// Frames that only clients with a feature get, oldest first.
    optional: VecDeque<(u64, Feature)>,
}

/// A part of the protocol that a client says it understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `agent_state` and `undelivered`.
    AgentState,
    /// `input`.
    Input,
    /// `agent_request` for dialogues with a person.
    Questions,
    /// `agent_request` for hooks.
    Hooks,
    /// `agent_request` for tools that the client runs.
    HostTools,
}

/// The features of one client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    /// Reads the list in a URL; names that are not known are left out.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        list.split(',').fold(Self::default(), |features, name| match name.trim() {
            "agent_state" => features.with(Feature::AgentState),
            "input" => features.with(Feature::Input),
            "questions" => features.with(Feature::Questions),
            "hooks" => features.with(Feature::Hooks),
            "host_tools" => features.with(Feature::HostTools),
            _ => features,
        })
    }

    /// These and one more.
    #[must_use]
    pub fn with(self, feature: Feature) -> Self {
        Self(self.0 | 1 << feature as u8)
    }

    /// Whether `feature` is one of them.
    #[must_use]
    pub fn has(self, feature: Feature) -> bool {
        self.0 & (1 << feature as u8) != 0
    }
}

#[derive(Debug)]
struct Segment {
    first: u64,
    bytes: Bytes,
}

/// Numbers of frames that are no longer kept, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first one missing.
    pub from: u64,
    /// The last one missing.
    pub to: u64,
}

impl ReplayBuffer {
    /// An empty buffer that keeps at most `limit` bytes, but for one frame
    /// that is larger and for what a connected client is owed.
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
        }
    }

    /// The number that the next frame will get. Numbers start at 1.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The number of the oldest frame kept, [`ReplayBuffer::next`] when empty.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many bytes are kept, overhead included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a frame whose payload is `parts` one behind the other.
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

    /// Appends a frame that only clients with `feature` get.
    pub fn push_for(&mut self, feature: Feature, frame: &str) {
        self.optional.push_back((self.next, feature));
        self.push([frame.as_bytes(), &[], &[]]);
    }

    /// Whether another block of frames may come in, given the number of the
    /// first frame that a connected client has not got yet. At most half of
    /// the buffer is for those: the other half is what was sent last and may
    /// have been lost with the connection.
    #[must_use]
    pub fn has_room(&self, unread_from: u64) -> bool {
        let unread_from = unread_from.clamp(self.first, self.next);
        let unread = self.begin_of(self.next) - self.begin_of(unread_from);
        unread == 0 || unread < self.limit as u64 / 2
    }

    /// Forgets the oldest frames until the bound is met, but none from
    /// `keep_from` on.
    pub fn evict(&mut self, keep_from: u64) {
        while self.bytes > self.limit && self.first < keep_from {
            self.pop();
        }
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
        self.bytes -= length + FRAME_OVERHEAD_BYTES;
        if segment.bytes.len() > length {
            segment.bytes.advance(length);
            segment.first = self.first;
        } else {
            self.segments.pop_front();
            self.bytes -= SEGMENT_OVERHEAD_BYTES;
        }
    }

    /// What lies between `after` and the oldest frame kept, if anything. A
    /// number that this buffer has not given out yet is treated as the last
    /// one given: there is nothing behind it.
    #[must_use]
    pub fn gap_after(&self, after: u64) -> Option<Gap> {
        (after + 1 < self.first).then(|| Gap { from: after + 1, to: self.first - 1 })
    }

    /// Appends to `batch` the frames from `cursor` on that a client with
    /// `features` gets, up to [`BATCH_BYTES`], and gives the cursor behind
    /// them.
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

    /// The first frame from `cursor` on that a client with `features` does not
    /// get.
    fn hidden_from(&self, cursor: u64, features: Features) -> Option<u64> {
        let at = self.optional.partition_point(|(seq, _)| *seq < cursor);
        let hidden = self.optional.iter().skip(at).find(|(_, feature)| !features.has(*feature));
        hidden.map(|(seq, _)| *seq)
    }

    /// Appends the frames from `cursor` to `until` as far as there is room.
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
                let owed = segment.bytes.slice(offset(cursor)..offset(end));
                if *bytes > 0 && *bytes + owed.len() > BATCH_BYTES {
                    break;
                }
                *bytes += owed.len();
                batch.push(owed);
                cursor = end;
            }
            at += 1;
        }
        cursor
    }

    /// The same for a client that wants numbers: each frame is built anew
    /// with its `seq`. This is the slower path.
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
                let (head, head_bytes) =
                    frame::header(frame::TEXT, payload.len() + envelope::seq_field_bytes(seq));
                out.extend_from_slice(&head[..head_bytes]);
                envelope::push_sequenced(&mut out, payload, seq);
                rest = after;
                seq += 1;
            }
        }
        if !out.is_empty() {
            batch.push(out.into());
        }
        end
    }

    /// Turns the open frames into a piece.
    fn seal(&mut self) {
        if !self.open.is_empty() {
            let bytes = self.open.split().freeze();
            self.segments.push_back(Segment { first: self.open_first, bytes });
            self.bytes += SEGMENT_OVERHEAD_BYTES;
        }
        self.open_first = self.next;
    }

    /// Where frame `seq` begins, counted as in `ends`. `seq` is one that is
    /// kept, or the next one.
    fn begin_of(&self, seq: u64) -> u64 {
        match (seq - self.first) as usize {
            0 => self.begin,
            frames => self.ends[frames - 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PREFIX: &[u8] = br#"{"type":"sdk_message","data":"#;

    fn push(buffer: &mut ReplayBuffer, line: &str) {
        buffer.push([PREFIX, line.as_bytes(), b"}"]);
    }

    /// The payloads in a batch.
    fn payloads(batch: &[Bytes]) -> Vec<String> {
        let bytes = batch.concat();
        let mut rest = &bytes[..];
        let mut out = Vec::new();
        while !rest.is_empty() {
            let (header, length) = match rest[1] {
                126 => (4, u16::from_be_bytes([rest[2], rest[3]]) as usize),
                127 => (10, u64::from_be_bytes(rest[2..10].try_into().unwrap()) as usize),
                short => (2, short as usize),
            };
            out.push(String::from_utf8(rest[header..header + length].to_vec()).unwrap());
            rest = &rest[header + length..];
        }
        out
    }

    fn batch_from(buffer: &mut ReplayBuffer, cursor: u64) -> (Vec<String>, u64) {
        let mut batch = Vec::new();
        let next = buffer.batch_from(cursor, Features::default(), &mut batch);
        (payloads(&batch), next)
    }

    #[test]
    fn a_client_gets_what_lies_behind_its_cursor() {
        let mut buffer = ReplayBuffer::new(1 << 20);
        for line in ["1", "2", "3"] {
            push(&mut buffer, line);
        }
        let (frames, next) = batch_from(&mut buffer, 2);
        assert_eq!(
            frames,
            [r#"{"type":"sdk_message","data":2}"#, r#"{"type":"sdk_message","data":3}"#]
        );
        assert_eq!(next, 4);
        push(&mut buffer, "4");
        assert_eq!(batch_from(&mut buffer, next).0, [r#"{"type":"sdk_message","data":4}"#]);
        assert_eq!(batch_from(&mut buffer, 5), (vec![], 5));
    }

    #[test]
    fn numbers_stand_in_sequenced_frames() {
        let mut buffer = ReplayBuffer::new(1 << 20);
        push(&mut buffer, "1");
        push(&mut buffer, "2");
        let mut batch = Vec::new();
        assert_eq!(buffer.batch_from_sequenced(2, Features::default(), &mut batch), 3);
        assert_eq!(payloads(&batch), [r#"{"type":"sdk_message","seq":2,"data":2}"#]);
    }

    #[test]
    fn the_oldest_goes_first_and_the_gap_is_exact() {
        let mut buffer = ReplayBuffer::new(1000);
        for line in 0..100 {
            push(&mut buffer, &format!("\"{line:050}\""));
            buffer.evict(u64::MAX);
            assert!(buffer.bytes() <= 1000);
        }
        let first = buffer.first();
        assert!(first > 80);
        assert_eq!(buffer.gap_after(0), Some(Gap { from: 1, to: first - 1 }));
        assert_eq!(buffer.gap_after(first - 2), Some(Gap { from: first - 1, to: first - 1 }));
        assert_eq!(buffer.gap_after(first - 1), None);
        assert_eq!(batch_from(&mut buffer, 1).0.len() as u64, 101 - first);
    }

    #[test]
    fn what_a_client_has_not_got_is_not_forgotten() {
        let mut buffer = ReplayBuffer::new(1000);
        for _ in 0..100 {
            push(&mut buffer, "1");
            buffer.evict(3);
        }
        assert_eq!(buffer.first(), 3);
        assert!(!buffer.has_room(3));
        assert!(buffer.has_room(101));
    }

    #[test]
    fn a_frame_larger_than_the_bound_is_kept_for_a_client_only() {
        let mut buffer = ReplayBuffer::new(100);
        push(&mut buffer, &"1".repeat(500));
        buffer.evict(1);
        assert_eq!(batch_from(&mut buffer, 1).0.len(), 1);
        buffer.evict(u64::MAX);
        assert_eq!((buffer.bytes(), buffer.first()), (0, 2));
    }

    #[test]
    fn a_large_frame_leaves_the_rest_of_a_segment_to_small_ones() {
        let mut buffer = ReplayBuffer::new(1 << 20);
        for length in [10, ALLOCATION_BYTES, 10] {
            push(&mut buffer, &"1".repeat(length));
        }
        buffer.seal();
        let places: Vec<usize> =
            buffer.segments.iter().map(|segment| segment.bytes.as_ptr() as usize).collect();
        assert_eq!(places[2], places[0] + buffer.segments[0].bytes.len());
        assert_eq!(batch_from(&mut buffer, 1).0.len(), 3);
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut buffer = ReplayBuffer::new(64 << 20);
        for _ in 0..100 {
            push(&mut buffer, &"1".repeat(100_000));
        }
        let mut batch = Vec::new();
        let next = buffer.batch_from(1, Features::default(), &mut batch);
        assert!(next < 101);
        assert!(batch.iter().map(Bytes::len).sum::<usize>() <= BATCH_BYTES);
    }

    /// What to do to the buffer.
    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Read,
        ReadSequenced,
        Forget,
        Reconnect(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => prop_oneof![0usize..300, 60_000usize..70_000].prop_map(Step::Push),
            2 => Just(Step::Read),
            1 => Just(Step::ReadSequenced),
            1 => Just(Step::Forget),
            1 => (0u64..50).prop_map(Step::Reconnect),
        ]
    }

    proptest! {
        /// Against the simplest model: a list of all frames ever.
        #[test]
        fn nothing_falls_between(steps in proptest::collection::vec(step(), 0..100), limit in 0usize..200_000) {
            let mut buffer = ReplayBuffer::new(limit);
            let mut all: Vec<String> = Vec::new();
            let mut cursor = 1;
            for step in steps {
                match step {
                    Step::Push(length) => {
                        let line = format!("\"{}:{}\"", all.len() + 1, "x".repeat(length));
                        push(&mut buffer, &line);
                        all.push(line);
                    }
                    Step::Read | Step::ReadSequenced => {
                        let mut batch = Vec::new();
                        let sequenced = matches!(step, Step::ReadSequenced);
                        let next = if sequenced {
                            buffer.batch_from_sequenced(cursor, Features::default(), &mut batch)
                        } else {
                            buffer.batch_from(cursor, Features::default(), &mut batch)
                        };
                        for (index, frame) in payloads(&batch).into_iter().enumerate() {
                            let seq = cursor + index as u64;
                            let line = &all[seq as usize - 1];
                            let expected = if sequenced {
                                format!(r#"{{"type":"sdk_message","seq":{seq},"data":{line}}}"#)
                            } else {
                                format!(r#"{{"type":"sdk_message","data":{line}}}"#)
                            };
                            prop_assert_eq!(frame, expected);
                        }
                        prop_assert!(next > cursor || cursor == buffer.next());
                        cursor = next;
                    }
                    Step::Forget => {
                        buffer.evict(cursor);
                        prop_assert!(buffer.first() <= cursor);
                    }
                    Step::Reconnect(after) => {
                        let after = after.min(all.len() as u64);
                        let gap = buffer.gap_after(after);
                        prop_assert_eq!(gap.map_or(after + 1, |gap| gap.to + 1), buffer.first().max(after + 1));
                        cursor = buffer.first().max(after + 1);
                    }
                }
                prop_assert_eq!(buffer.next(), all.len() as u64 + 1);
            }
            buffer.evict(u64::MAX);
            prop_assert!(buffer.bytes() <= limit);
        }
    }
}
