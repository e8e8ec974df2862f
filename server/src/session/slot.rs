//! Who holds the one place for a client. Pure: instants go in, decisions come out.
//!
//! A live holder keeps the place, however often others knock; a dead one loses
//! it. Nobody can be told dead without a ping that went unanswered: the holder
//! is pinged at an interval, and at once when somebody else wants in.

use std::time::{Duration, Instant};

/// One connection in the life of the server. Never used twice, so that late
/// news of an old one is known for what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct SlotTimeouts {
    /// Between two pings to a silent holder.
    pub ping_interval: Duration,
    /// For the answer to a ping.
    pub pong_timeout: Duration,
    /// For the answer when somebody else wants in.
    pub probe_timeout: Duration,
}

/// How many newcomers may wait for the outcome of a probe. More are refused
/// at once; a place is decided within the probe's time anyway.
pub const WAITING_LIMIT: usize = 32;

/// A timer that fires this late says that the whole server stood still (a
/// paused sandbox, a stopped process), and nothing of the holder: its answer
/// may be there, unread. It is then asked once more.
const LATE_TIMER: Duration = Duration::from_millis(250);

/// What is to be done now, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// This one has the place now.
    Accept(ConnectionId),
    /// Tell it that the place is taken.
    Refuse(ConnectionId),
    /// Send the holder a ping.
    Ping(ConnectionId),
    /// The holder is dead and has lost the place.
    Evict(ConnectionId),
    /// The holder has lost the place to one that asked to take over.
    Replace(ConnectionId),
}

/// The one place.
#[derive(Debug)]
pub struct Slot {
    timeouts: SlotTimeouts,
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    id: ConnectionId,
    ping_at: Instant,
    /// When the ping that is under way counts as unanswered.
    answer_by: Option<Instant>,
    /// The ping under way has been repeated because the timer was late.
    repeated: bool,
    waiting: Vec<ConnectionId>,
}

impl Slot {
    /// A vacant place.
    #[must_use]
    pub fn new(timeouts: SlotTimeouts) -> Self {
        Self { timeouts, holder: None }
    }

    /// Who holds it.
    #[must_use]
    pub fn holder(&self) -> Option<ConnectionId> {
        self.holder.as_ref().map(|holder| holder.id)
    }

    /// A newcomer wants in.
    pub fn acquire(&mut self, id: ConnectionId, takeover: bool, now: Instant) -> Vec<Decision> {
        let Some(holder) = &mut self.holder else {
            return self.grant(id, now);
        };
        if takeover {
            let old = holder.id;
            let waiting = std::mem::take(&mut holder.waiting);
            let mut decisions = vec![Decision::Replace(old)];
            decisions.extend(self.grant(id, now));
            decisions.extend(waiting.into_iter().map(Decision::Refuse));
            return decisions;
        }
        if holder.waiting.len() >= WAITING_LIMIT {
            return vec![Decision::Refuse(id)];
        }
        holder.waiting.push(id);
        let probe_by = now + self.timeouts.probe_timeout;
        match &mut holder.answer_by {
            Some(answer_by) => {
                *answer_by = probe_by.min(*answer_by);
                Vec::new()
            }
            None => {
                holder.answer_by = Some(probe_by);
                holder.repeated = false;
                vec![Decision::Ping(holder.id)]
            }
        }
    }

    /// Something came from `id`: it lives. Whoever waited for the contrary is
    /// refused.
    pub fn touch(&mut self, id: ConnectionId, now: Instant) -> Vec<Decision> {
        let Some(holder) = self.holder.as_mut().filter(|holder| holder.id == id) else {
            return Vec::new();
        };
        holder.answer_by = None;
        holder.ping_at = now + self.timeouts.ping_interval;
        holder.waiting.drain(..).map(Decision::Refuse).collect()
    }

    /// `id` has gone by itself.
    pub fn release(&mut self, id: ConnectionId, now: Instant) -> Vec<Decision> {
        match &mut self.holder {
            Some(holder) if holder.id == id => self.clear(now),
            Some(holder) => {
                holder.waiting.retain(|waiting| *waiting != id);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// When [`Slot::on_time`] is to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.holder.as_ref().map(|holder| holder.answer_by.unwrap_or(holder.ping_at))
    }

    /// The time has come.
    pub fn on_time(&mut self, now: Instant) -> Vec<Decision> {
        let Some(holder) = &mut self.holder else {
            return Vec::new();
        };
        match holder.answer_by {
            Some(answer_by) if now < answer_by => Vec::new(),
            Some(answer_by) if now > answer_by + LATE_TIMER && !holder.repeated => {
                let wait = if holder.waiting.is_empty() {
                    self.timeouts.pong_timeout
                } else {
                    self.timeouts.probe_timeout
                };
                holder.repeated = true;
                holder.answer_by = Some(now + wait);
                vec![Decision::Ping(holder.id)]
            }
            Some(_) => {
                let mut decisions = vec![Decision::Evict(holder.id)];
                decisions.extend(self.clear(now));
                decisions
            }
            None if now < holder.ping_at => Vec::new(),
            None => {
                holder.answer_by = Some(now + self.timeouts.pong_timeout);
                holder.repeated = false;
                vec![Decision::Ping(holder.id)]
            }
        }
    }

    /// The holder is gone; the first that waited gets the place.
    fn clear(&mut self, now: Instant) -> Vec<Decision> {
        let waiting = self.holder.take().map(|holder| holder.waiting).unwrap_or_default();
        let mut waiting = waiting.into_iter();
        let Some(next) = waiting.next() else {
            return Vec::new();
        };
        let mut decisions = self.grant(next, now);
        decisions.extend(waiting.map(Decision::Refuse));
        decisions
    }

    fn grant(&mut self, id: ConnectionId, now: Instant) -> Vec<Decision> {
        self.holder = Some(Holder {
            id,
            ping_at: now + self.timeouts.ping_interval,
            answer_by: None,
            repeated: false,
            waiting: Vec::new(),
        });
        vec![Decision::Accept(id)]
    }
}

#[cfg(test)]
mod tests {
    use super::Decision::*;
    use super::*;
    use proptest::prelude::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);
    const C: ConnectionId = ConnectionId(3);

    fn slot() -> (Slot, Instant) {
        let timeouts = SlotTimeouts {
            ping_interval: Duration::from_secs(30),
            pong_timeout: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(2),
        };
        (Slot::new(timeouts), Instant::now())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_gets_the_place_and_a_live_holder_keeps_it() {
        let (mut slot, now) = slot();
        assert_eq!(slot.acquire(A, false, now), [Accept(A)]);
        assert_eq!(slot.acquire(B, false, now), [Ping(A)]);
        assert_eq!(slot.acquire(C, false, now), []);
        assert_eq!(slot.touch(A, now + seconds(1)), [Refuse(B), Refuse(C)]);
        assert_eq!(slot.holder(), Some(A));
    }

    #[test]
    fn a_dead_holder_loses_the_place_to_the_first_that_waited() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.acquire(B, false, now);
        slot.acquire(C, false, now + seconds(1));
        assert_eq!(slot.deadline(), Some(now + seconds(2)));
        assert_eq!(slot.on_time(now + seconds(2)), [Evict(A), Accept(B), Refuse(C)]);
        assert_eq!(slot.touch(A, now + seconds(3)), []);
        assert_eq!(slot.release(A, now + seconds(3)), []);
        assert_eq!(slot.holder(), Some(B));
    }

    #[test]
    fn the_ping_clock_drops_a_silent_holder() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        assert_eq!(slot.on_time(now + seconds(29)), []);
        assert_eq!(slot.on_time(now + seconds(30)), [Ping(A)]);
        assert_eq!(slot.deadline(), Some(now + seconds(40)));
        assert_eq!(slot.on_time(now + seconds(40)), [Evict(A)]);
        assert_eq!(slot.holder(), None);
        assert_eq!(slot.acquire(B, false, now + seconds(40)), [Accept(B)]);
    }

    #[test]
    fn a_probe_shortens_the_wait_for_a_ping_under_way() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.on_time(now + seconds(30));
        assert_eq!(slot.acquire(B, false, now + seconds(31)), []);
        assert_eq!(slot.deadline(), Some(now + seconds(33)));
    }

    #[test]
    fn a_server_that_stood_still_asks_once_more() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.on_time(now + seconds(30));
        let later = now + seconds(640);
        assert_eq!(slot.on_time(later), [Ping(A)]);
        assert_eq!(slot.acquire(B, false, later), []);
        assert_eq!(slot.deadline(), Some(later + seconds(2)));
        assert_eq!(slot.on_time(later + seconds(3)), [Evict(A), Accept(B)]);
    }

    #[test]
    fn taking_over_is_asked_for() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.acquire(B, false, now);
        assert_eq!(slot.acquire(C, true, now), [Replace(A), Accept(C), Refuse(B)]);
        assert_eq!(slot.release(A, now), []);
        assert_eq!(slot.holder(), Some(C));
    }

    #[test]
    fn leaving_makes_room_at_once() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.acquire(B, false, now);
        slot.acquire(C, false, now);
        assert_eq!(slot.release(B, now), []);
        assert_eq!(slot.release(A, now), [Accept(C)]);
    }

    #[test]
    fn the_waiting_are_bounded() {
        let (mut slot, now) = slot();
        for id in 0..=WAITING_LIMIT as u64 {
            assert_ne!(slot.acquire(ConnectionId(id), false, now), [Refuse(ConnectionId(id))]);
        }
        let one_more = ConnectionId(1000);
        assert_eq!(slot.acquire(one_more, false, now), [Refuse(one_more)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Arrive(bool),
        Heard(usize),
        Left(usize),
        Wait(u64),
    }

    proptest! {
        /// Whatever happens: one holder, nobody decided twice, and a holder
        /// that answers every ping is only ever replaced on request.
        #[test]
        fn one_place_one_holder(steps in proptest::collection::vec(prop_oneof![
            any::<bool>().prop_map(Step::Arrive),
            (0usize..8).prop_map(Step::Heard),
            (0usize..8).prop_map(Step::Left),
            (0u64..20_000).prop_map(Step::Wait),
        ], 0..100)) {
            let (mut slot, mut now) = slot();
            let mut open: Vec<ConnectionId> = Vec::new();
            let mut holder = None;
            let mut pinged = false;
            for (number, step) in steps.into_iter().enumerate() {
                let mut takeover_asked = false;
                let decisions = match step {
                    Step::Arrive(takeover) => {
                        let id = ConnectionId(number as u64);
                        open.push(id);
                        takeover_asked = takeover;
                        slot.acquire(id, takeover, now)
                    }
                    Step::Heard(index) if index < open.len() => {
                        if holder == Some(open[index]) { pinged = false; }
                        slot.touch(open[index], now)
                    }
                    Step::Left(index) if index < open.len() => {
                        let id = open.remove(index);
                        if holder == Some(id) { holder = None; }
                        slot.release(id, now)
                    }
                    Step::Wait(ms) => {
                        now += Duration::from_millis(ms);
                        slot.on_time(now)
                    }
                    Step::Heard(_) | Step::Left(_) => Vec::new(),
                };
                for decision in decisions {
                    match decision {
                        Accept(id) => {
                            prop_assert_eq!(holder, None);
                            prop_assert!(open.contains(&id));
                            holder = Some(id);
                            pinged = false;
                        }
                        Refuse(id) => {
                            prop_assert_ne!(holder, Some(id));
                            prop_assert!(open.contains(&id));
                            open.retain(|open| *open != id);
                        }
                        Ping(id) => {
                            prop_assert_eq!(holder, Some(id));
                            pinged = true;
                        }
                        Evict(id) | Replace(id) => {
                            prop_assert_eq!(holder, Some(id));
                            prop_assert!(pinged || takeover_asked);
                            open.retain(|open| *open != id);
                            holder = None;
                        }
                    }
                }
                prop_assert_eq!(slot.holder(), holder);
            }
        }
    }
}
