//! Tests of the replay buffer, some against a model.

use super::*;
use proptest::prelude::*;

const PREFIX: &[u8] = br#"{"type":"sdk_message","data":"#;

fn push(buffer: &mut ReplayBuffer, line: &str) {
    buffer.push([PREFIX, line.as_bytes(), b"}"]);
}

/// Returns the payloads of a batch.
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
fn a_client_gets_the_frames_from_its_cursor_on() {
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
fn sequenced_frames_have_numbers() {
    let mut buffer = ReplayBuffer::new(1 << 20);
    push(&mut buffer, "1");
    push(&mut buffer, "2");
    let mut batch = Vec::new();
    assert_eq!(buffer.batch_from_sequenced(2, Features::default(), &mut batch), 3);
    assert_eq!(payloads(&batch), [r#"{"type":"sdk_message","seq":2,"data":2}"#]);
}

#[test]
fn the_oldest_frames_are_evicted_and_the_gap_is_exact() {
    let mut buffer = ReplayBuffer::new(1000);
    for line in 0..100 {
        push(&mut buffer, &format!("\"{line:050}\""));
        buffer.evict(u64::MAX);
        assert!(buffer.bytes() <= 1000);
    }
    let first = buffer.first();
    assert!(first > 80);
    assert_eq!(buffer.gap_after(0, Features::default()), Some(Gap { from: 1, to: first - 1 }));
    assert_eq!(
        buffer.gap_after(first - 2, Features::default()),
        Some(Gap { from: first - 1, to: first - 1 })
    );
    assert_eq!(buffer.gap_after(first - 1, Features::default()), None);
    assert_eq!(batch_from(&mut buffer, 1).0.len() as u64, 101 - first);
}

#[test]
fn frames_that_a_client_has_not_received_are_kept() {
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
    let addresses: Vec<usize> =
        buffer.segments.iter().map(|segment| segment.bytes.as_ptr() as usize).collect();
    assert_eq!(addresses[2], addresses[0] + buffer.segments[0].bytes.len());
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

/// An operation on the buffer.
#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Read,
    ReadSequenced,
    Evict,
    Reconnect(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![0usize..300, 60_000usize..70_000].prop_map(Step::Push),
        2 => Just(Step::Read),
        1 => Just(Step::ReadSequenced),
        1 => Just(Step::Evict),
        1 => (0u64..50).prop_map(Step::Reconnect),
    ]
}

proptest! {
    /// Compares the buffer with the simplest model: a list of all frames.
    #[test]
    fn no_frame_is_lost_or_repeated(steps in proptest::collection::vec(step(), 0..100), limit in 0usize..200_000) {
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
                Step::Evict => {
                    buffer.evict(cursor);
                    prop_assert!(buffer.first() <= cursor);
                }
                Step::Reconnect(after) => {
                    let after = after.min(all.len() as u64);
                    let gap = buffer.gap_after(after, Features::default());
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
