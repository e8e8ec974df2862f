use super::*;

fn buffer(limit: usize) -> ReplayBuffer {
    let mut buffer = ReplayBuffer::new(limit);
    for _ in 0..10 {
        buffer.push([br#"{"type":"info","data":"0123456789"}"#, b"", b""]);
        buffer.evict(u64::MAX);
    }
    buffer
}

fn start(replay: &ReplayBuffer, after: u64, stream: Option<&str>) -> (u64, Option<(u64, u64)>) {
    let from = Replay { after, stream: stream.map(Into::into) };
    let (cursor, gap) = starting_point(replay, &from, Features::default(), "ours");
    (cursor, gap.map(|gap| (gap.from, gap.to)))
}

#[test]
fn a_client_resumes_after_its_last_frame() {
    let buffer = buffer(1 << 20);
    assert_eq!(start(&buffer, 0, None), (1, None));
    assert_eq!(start(&buffer, 7, Some("ours")), (8, None));
    assert_eq!(start(&buffer, 10, Some("ours")), (11, None));
}

#[test]
fn evicted_frames_are_a_gap() {
    let buffer = buffer(200);
    let first = buffer.first();
    assert!(first > 3);
    assert_eq!(start(&buffer, 0, None), (first, Some((1, first - 1))));
    assert_eq!(start(&buffer, 2, Some("ours")), (first, Some((3, first - 1))));
    assert_eq!(start(&buffer, first - 1, None), (first, None));
}

#[test]
fn numbers_of_another_stream_are_ignored() {
    let buffer = buffer(200);
    let first = buffer.first();
    assert_eq!(start(&buffer, 5, Some("theirs")), (first, Some((1, first - 1))));
    assert_eq!(start(&buffer, 11, Some("ours")), (first, Some((1, first - 1))));
    assert_eq!(start(&buffer, u64::MAX, None), (first, Some((1, first - 1))));
}
