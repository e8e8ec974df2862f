//! The hot path takes no memory for a message: pipe, lines, route, envelope,
//! replay buffer, batches. A test binary of its own, because the allocator is
//! counted in the whole process.

use std::alloc::System;

use bytes::Bytes;
use claude_relay_protocol::envelope;
use claude_relay_server::agent::claude;
use claude_relay_server::agent::protocol::Route;
use claude_relay_server::process::lines::{Line, LineBuffer, READ_BYTES};
use claude_relay_server::session::replay::{Features, ReplayBuffer};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The work of the read loop and of `Session::on_lines` and `deliver`, with
/// the same calls in the same order.
struct Path {
    buffer: LineBuffer,
    log: ReplayBuffer,
    batch: Vec<Bytes>,
    cursor: u64,
    forwarded: usize,
}

impl Path {
    fn read(&mut self, chunk: &[u8]) {
        self.buffer.spare().extend_from_slice(chunk);
        let Some(block) = self.buffer.take() else { return };
        for line in block.lines() {
            self.log.evict(self.cursor);
            if let Line::Whole(line) = line
                && let Route::Forward(_) = claude::classify(line)
            {
                self.log.push([envelope::SDK_MESSAGE_PREFIX, line, envelope::SDK_MESSAGE_SUFFIX]);
                self.forwarded += 1;
            }
        }
        // What one read brings is more than a batch, with its envelopes.
        while self.cursor < self.log.next() {
            self.cursor = self.log.batch_from(self.cursor, Features::default(), &mut self.batch);
            self.batch.clear();
        }
        self.log.evict(self.cursor);
    }
}

#[test]
fn a_message_takes_no_memory() {
    const LINES: usize = 200_000;
    let mut path = Path {
        buffer: LineBuffer::default(),
        log: ReplayBuffer::new(4 << 20),
        batch: Vec::new(),
        cursor: 1,
        forwarded: 0,
    };
    let line = format!(
        "{{\"type\":\"stream_event\",\"event\":{{\"a\":[1,true]}},\"text\":\"{}\"}}\n",
        "x".repeat(240)
    );
    let text = line.repeat(LINES);
    let (warm_up, measured) = text.as_bytes().split_at(text.len() / 4 / line.len() * line.len());
    warm_up.chunks(READ_BYTES).for_each(|chunk| path.read(chunk));

    let before = path.forwarded;
    let region = Region::new(ALLOCATOR);
    measured.chunks(READ_BYTES).for_each(|chunk| path.read(chunk));
    let taken = region.change();

    let messages = path.forwarded - before;
    assert_eq!(path.forwarded, LINES);
    // A few for each read of some three thousand lines: four or five segments
    // and the counts of who holds them. For the messages themselves: none.
    let reads = measured.len().div_ceil(READ_BYTES);
    assert!(
        taken.allocations + taken.reallocations <= 10 * reads,
        "{} allocations for {messages} messages in {reads} reads",
        taken.allocations + taken.reallocations,
    );
    assert!(10 * reads * 50 < messages, "too few messages in a read to tell");
    // And nothing grows.
    let left = taken.bytes_allocated.abs_diff(taken.bytes_deallocated);
    assert!(left < 1 << 20, "{left} bytes more or less than before");
}
