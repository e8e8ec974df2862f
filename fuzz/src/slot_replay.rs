//! The one place and the replay buffer, as a sequence of things that happen.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Unstructured};
use claude_relay_protocol::envelope;
use claude_relay_server::session::replay::ReplayBuffer;
use claude_relay_server::session::slot::{ConnectionId, Decision, Slot, SlotTimeouts};

/// How much is kept: a few frames.
const LIMIT: usize = 2000;

/// What can happen.
#[derive(Arbitrary, Debug)]
enum Happening {
    /// Somebody comes.
    Arrive { takeover: bool, after: Option<u8>, sequenced: bool },
    /// One of those that ever came is heard.
    Heard(u8),
    /// One of them goes.
    Left(u8),
    /// Time passes, and the timer fires when it is due.
    Time(u16),
    /// The agent says something of this size.
    Line(u16),
    /// The client's socket takes what it is owed.
    Deliver,
}

/// What the holder has been promised.
#[derive(Debug)]
struct Reader {
    cursor: u64,
    sequenced: bool,
}

/// Any sequence of them: there is never more than one holder, nobody is told
/// twice, and a client misses nothing, sees nothing twice, and nothing of what
/// it was not told it would see.
pub fn slot_replay(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let start = Instant::now();
    let mut world = World {
        now: start,
        slot: Slot::new(SlotTimeouts {
            ping_interval: Duration::from_millis(3000),
            pong_timeout: Duration::from_millis(1000),
            probe_timeout: Duration::from_millis(200),
        }),
        log: ReplayBuffer::new(LIMIT),
        came: 0,
        waiting: BTreeSet::new(),
        wishes: Vec::new(),
        holder: None,
    };
    while let Ok(happening) = Happening::arbitrary(&mut input) {
        if input.is_empty() {
            break;
        }
        world.happen(happening);
        world.check();
    }
}

struct World {
    now: Instant,
    slot: Slot,
    log: ReplayBuffer,
    came: u64,
    waiting: BTreeSet<u64>,
    /// How each that came wants to read.
    wishes: Vec<(Option<u8>, bool)>,
    holder: Option<(u64, Reader)>,
}

impl World {
    fn happen(&mut self, happening: Happening) {
        let decisions = match happening {
            Happening::Arrive { takeover, after, sequenced } => {
                let id = self.came;
                self.came += 1;
                self.wishes.push((after, sequenced));
                self.waiting.insert(id);
                self.slot.acquire(ConnectionId(id), takeover, self.now)
            }
            Happening::Heard(who) => match self.one_of_them(who) {
                Some(id) => self.slot.touch(id, self.now),
                None => Vec::new(),
            },
            Happening::Left(who) => match self.one_of_them(who) {
                Some(id) => {
                    self.waiting.remove(&id.0);
                    if self.holder.as_ref().is_some_and(|(holder, _)| *holder == id.0) {
                        self.holder = None;
                    }
                    self.slot.release(id, self.now)
                }
                None => Vec::new(),
            },
            Happening::Time(ms) => {
                self.now += Duration::from_millis(u64::from(ms));
                match self.slot.deadline() {
                    Some(deadline) if deadline <= self.now => self.slot.on_time(self.now),
                    _ => Vec::new(),
                }
            }
            Happening::Line(bytes) => {
                self.say(usize::from(bytes % 700));
                Vec::new()
            }
            Happening::Deliver => {
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
                let (after, sequenced) = self.wishes[id as usize];
                let cursor = match after {
                    Some(after) if u64::from(after) < self.log.next() => {
                        let after = u64::from(after);
                        let gap = self.log.gap_after(after);
                        let from = self.log.first().max(after + 1);
                        assert_eq!(gap.map_or(after + 1, |gap| gap.to + 1), from);
                        from
                    }
                    _ => self.log.next(),
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

    /// The agent says a line that holds its own number.
    fn say(&mut self, bytes: usize) {
        let unread = self.holder.as_ref().map_or(self.log.next(), |(_, reader)| reader.cursor);
        if !self.log.has_room(unread) {
            return;
        }
        let line = format!(r#"{{"n":{},"x":"{}"}}"#, self.log.next(), "x".repeat(bytes));
        self.log.push([
            envelope::SDK_MESSAGE_PREFIX,
            line.as_bytes(),
            envelope::SDK_MESSAGE_SUFFIX,
        ]);
        let keep = self.holder.as_ref().map_or(u64::MAX, |(_, reader)| reader.cursor);
        self.log.evict(keep);
    }

    /// Everything that the holder is owed comes, in order and once.
    fn deliver(&mut self) {
        let Some((_, reader)) = &mut self.holder else { return };
        let mut batch = Vec::new();
        let end = if reader.sequenced {
            self.log.batch_from_sequenced(reader.cursor, &mut batch)
        } else {
            self.log.batch_from(reader.cursor, &mut batch)
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

    fn one_of_them(&self, who: u8) -> Option<ConnectionId> {
        u64::from(who).checked_rem(self.came).map(ConnectionId)
    }

    fn check(&self) {
        assert_eq!(self.slot.holder().map(|id| id.0), self.holder.as_ref().map(|(id, _)| *id));
        assert!(self.holder.is_some() || self.waiting.is_empty(), "somebody waits for nobody");
        assert!(self.slot.deadline().is_some() == self.holder.is_some());
        // The bound, and the one frame that may be over it.
        assert!(self.log.bytes() <= 2 * LIMIT + 1000, "{} bytes", self.log.bytes());
        if let Some((_, reader)) = &self.holder {
            assert!(reader.cursor >= self.log.first(), "forgotten before it was delivered");
        }
    }
}
