//! The client slot and the replay buffer under any sequence of events.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use claude_relay_protocol::envelope;
use claude_relay_server::session::replay::{Features, ReplayBuffer};
use claude_relay_server::session::slot::{ConnectionId, Decision, Slot, SlotTimeouts};

/// Bytes that are kept: a few frames.
const LIMIT: usize = 2000;

/// One event.
#[derive(Arbitrary, Debug)]
enum Step {
    /// A client asks for the slot.
    Acquire { takeover: bool, after: Option<u8>, sequenced: bool },
    /// A frame of one of the clients so far.
    Touch(u8),
    /// The end of one of them.
    Release(u8),
    /// Time passes, and the timer fires when it is due.
    Time(u16),
    /// A line of the agent with this size.
    Line(u16),
    /// The client's socket takes all it has not got.
    Deliver,
}

/// The delivery that the holder was promised.
#[derive(Debug)]
struct Reader {
    cursor: u64,
    sequenced: bool,
}

/// Runs a sequence of events. There is never more than one holder; each client
/// is accepted or refused once; a holder misses nothing, gets nothing twice, and
/// gets nothing from before the position that it was promised.
pub fn slot_replay(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let start = Instant::now();
    let mut model = Model {
        now: start,
        slot: Slot::new(SlotTimeouts {
            ping_interval: Duration::from_millis(3000),
            pong_timeout: Duration::from_millis(1000),
            probe_timeout: Duration::from_millis(200),
        }),
        replay: ReplayBuffer::new(LIMIT),
        clients: 0,
        waiting: BTreeSet::new(),
        attaches: Vec::new(),
        holder: None,
    };
    while let Ok(step) = Step::arbitrary(&mut input) {
        if input.is_empty() {
            break;
        }
        model.apply(step);
        model.check();
    }
}

struct Model {
    now: Instant,
    slot: Slot,
    replay: ReplayBuffer,
    clients: u64,
    waiting: BTreeSet<u64>,
    /// The delivery that each client asked for.
    attaches: Vec<(Option<u8>, bool)>,
    holder: Option<(u64, Reader)>,
}

impl Model {
    fn apply(&mut self, step: Step) {
        let decisions = match step {
            Step::Acquire { takeover, after, sequenced } => {
                let id = self.clients;
                self.clients += 1;
                self.attaches.push((after, sequenced));
                self.waiting.insert(id);
                self.slot.acquire(ConnectionId(id), takeover, self.now)
            }
            Step::Touch(who) => match self.client(who) {
                Some(id) => self.slot.touch(id, self.now),
                None => Vec::new(),
            },
            Step::Release(who) => match self.client(who) {
                Some(id) => {
                    self.waiting.remove(&id.0);
                    if self.holder.as_ref().is_some_and(|(holder, _)| *holder == id.0) {
                        self.holder = None;
                    }
                    self.slot.release(id, self.now)
                }
                None => Vec::new(),
            },
            Step::Time(ms) => {
                self.now += Duration::from_millis(u64::from(ms));
                match self.slot.deadline() {
                    Some(deadline) if deadline <= self.now => self.slot.on_time(self.now),
                    _ => Vec::new(),
                }
            }
            Step::Line(bytes) => {
                self.push_line(usize::from(bytes % 700));
                Vec::new()
            }
            Step::Deliver => {
                self.deliver();
                Vec::new()
            }
        };
        for decision in decisions {
            self.carry_out(decision);
        }
    }

    fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::Accept(ConnectionId(id)) => {
                assert!(self.holder.is_none(), "a second holder");
                assert!(self.waiting.remove(&id), "{id} does not wait");
                let (after, sequenced) = self.attaches[id as usize];
                let cursor = match after {
                    Some(after) if u64::from(after) < self.replay.next() => {
                        let after = u64::from(after);
                        let gap = self.replay.gap_after(after, Features::default());
                        let from = self.replay.first().max(after + 1);
                        assert_eq!(gap.map_or(after + 1, |gap| gap.to + 1), from);
                        from
                    }
                    _ => self.replay.next(),
                };
                self.holder = Some((id, Reader { cursor, sequenced }));
            }
            Decision::Refuse(ConnectionId(id)) => {
                assert!(self.waiting.remove(&id), "{id} is told twice");
                assert!(self.slot.holder().is_some(), "refused, and nobody is there");
            }
            Decision::Evict(ConnectionId(id)) | Decision::Replace(ConnectionId(id)) => {
                let (holder, _) = self.holder.take().expect("somebody holds it");
                assert_eq!(holder, id);
            }
            Decision::Ping(ConnectionId(id)) => {
                assert_eq!(self.holder.as_ref().map(|(holder, _)| *holder), Some(id));
            }
        }
    }

    /// Appends a line that holds its own number.
    fn push_line(&mut self, bytes: usize) {
        let unread = self.holder.as_ref().map_or(self.replay.next(), |(_, reader)| reader.cursor);
        if !self.replay.has_room(unread) {
            return;
        }
        let line = format!(r#"{{"n":{},"x":"{}"}}"#, self.replay.next(), "x".repeat(bytes));
        self.replay.push([
            envelope::SDK_MESSAGE_PREFIX,
            line.as_bytes(),
            envelope::SDK_MESSAGE_SUFFIX,
        ]);
        let keep = self.holder.as_ref().map_or(u64::MAX, |(_, reader)| reader.cursor);
        self.replay.evict(keep);
    }

    /// Delivers all that the holder has not got, and checks order and number.
    fn deliver(&mut self) {
        let Some((_, reader)) = &mut self.holder else { return };
        let mut batch = Vec::new();
        let end = if reader.sequenced {
            self.replay.batch_from_sequenced(reader.cursor, Features::default(), &mut batch)
        } else {
            self.replay.batch_from(reader.cursor, Features::default(), &mut batch)
        };
        let mut stream: Vec<u8> = batch.iter().flat_map(|piece| piece.to_vec()).collect();
        while !stream.is_empty() {
            let (head, length) = match stream[1] {
                126 => (4, usize::from(u16::from_be_bytes([stream[2], stream[3]]))),
                short => (2, usize::from(short)),
            };
            assert_eq!(stream[0], 0x81, "a whole text frame");
            let frame: serde_json::Value =
                serde_json::from_slice(&stream[head..head + length]).expect("a frame is JSON");
            assert_eq!(frame["data"]["n"], reader.cursor, "the next one");
            if reader.sequenced {
                assert_eq!(frame["seq"], reader.cursor);
            }
            reader.cursor += 1;
            stream.drain(..head + length);
        }
        assert_eq!(reader.cursor, end);
    }

    fn client(&self, who: u8) -> Option<ConnectionId> {
        u64::from(who).checked_rem(self.clients).map(ConnectionId)
    }

    fn check(&self) {
        assert_eq!(self.slot.holder().map(|id| id.0), self.holder.as_ref().map(|(id, _)| *id));
        assert!(self.holder.is_some() || self.waiting.is_empty(), "somebody waits for nobody");
        assert!(self.slot.deadline().is_some() == self.holder.is_some());
        // The bound, and the one frame that may be over it.
        assert!(self.replay.bytes() <= 2 * LIMIT + 1000, "{} bytes", self.replay.bytes());
        if let Some((_, reader)) = &self.holder {
            assert!(reader.cursor >= self.replay.first(), "forgotten before it was delivered");
        }
    }
}
