//! The parts of the hot path by themselves: `cargo bench --bench parts`.

use bytes::Bytes;
use claude_relay_protocol::envelope;
use claude_relay_server::agent::claude;
use claude_relay_server::process::lines::{Line, LineBuffer, READ_BYTES};
use claude_relay_server::session::replay::{Features, ReplayBuffer};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};

/// Bytes of one line: what the whole-process bench sends too.
const SIZES: [usize; 4] = [300, 4 << 10, 64 << 10, 1 << 20];

fn main() {
    divan::main();
}

/// A line as the built-in agent writes it in bulk.
fn line(size: usize) -> Vec<u8> {
    const BEFORE: &str = r#"{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":"000000000001"#;
    const AFTER: &str = r#""}]},"parent_tool_use_id":null,"session_id":"02ed52c1-d7ae-4a2b-b3ac-1845cb30004b","uuid":"f9167594-0000-4000-8000-000000000001"}"#;
    let text = "x".repeat(size - BEFORE.len() - AFTER.len());
    format!("{BEFORE}{text}{AFTER}").into_bytes()
}

/// Chunks as they come from a pipe, cut into lines.
#[divan::bench(args = SIZES)]
fn split(bencher: Bencher<'_, '_>, size: usize) {
    let mut text = Vec::new();
    while text.len() < 4 << 20 {
        text.extend_from_slice(&line(size));
        text.push(b'\n');
    }
    bencher.counter(BytesCount::new(text.len())).bench_local(|| {
        let mut buffer = LineBuffer::default();
        let mut lines = 0;
        for chunk in text.chunks(READ_BYTES) {
            buffer.spare().extend_from_slice(chunk);
            if let Some(block) = buffer.take() {
                lines += block.lines().filter(|line| matches!(line, Line::Whole(_))).count();
            }
        }
        lines
    });
}

/// Classification of a line, and proof that it is JSON.
#[divan::bench(args = SIZES)]
fn route(bencher: Bencher<'_, '_>, size: usize) {
    let line = line(size);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        matches!(
            claude::classify(black_box(&line)),
            claude_relay_server::agent::protocol::Route::Forward(_)
        )
    });
}

/// Into the envelope and the buffer, and out again as the batches of a client
/// that keeps up. The buffer is full.
#[divan::bench(args = SIZES)]
fn envelope(bencher: Bencher<'_, '_>, size: usize) {
    const BATCH: usize = 64 << 10;
    let line = line(size);
    let mut log = ReplayBuffer::new(16 << 20);
    let mut batch: Vec<Bytes> = Vec::new();
    let count = (BATCH / size).max(1);
    let mut cursor = 1;
    bencher.counter(BytesCount::new(size * count)).bench_local(|| {
        for _ in 0..count {
            log.push([
                envelope::SDK_MESSAGE_PREFIX,
                black_box(&line),
                envelope::SDK_MESSAGE_SUFFIX,
            ]);
        }
        batch.clear();
        cursor = log.batch_from(cursor, Features::default(), &mut batch);
        log.evict(cursor);
    });
}

/// All of a full buffer for a client that comes back, with its numbers.
#[divan::bench(args = SIZES)]
fn replay(bencher: Bencher<'_, '_>, size: usize) {
    const LIMIT: usize = 16 << 20;
    let line = line(size);
    let mut log = ReplayBuffer::new(LIMIT);
    for _ in 0..LIMIT / size + 2 {
        log.push([envelope::SDK_MESSAGE_PREFIX, &line, envelope::SDK_MESSAGE_SUFFIX]);
        log.evict(u64::MAX);
    }
    let mut batch: Vec<Bytes> = Vec::new();
    bencher.counter(BytesCount::new(LIMIT)).bench_local(|| {
        let mut cursor = 1;
        while cursor < log.next() {
            batch.clear();
            cursor = log.batch_from_sequenced(cursor, Features::default(), &mut batch);
        }
    });
}
