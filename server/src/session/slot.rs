//! The client slot, as a pure state machine: times go in, decisions come out.
//!
//! A live holder keeps the slot, regardless of how many others ask for it; a
//! dead one loses it. A holder counts as dead only after an unanswered ping: it
//! is pinged at an interval, and at once when another connection asks for the
//! slot.

use std::time::{Duration, Instant};

/// Id of a connection, never reused, so that late events of an ended connection
/// are recognized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Timeouts of the slot.
#[derive(Debug, Clone, Copy)]
pub struct SlotTimeouts {
    /// Interval between two pings to a silent holder.
    pub ping_interval: Duration,
    /// Timeout for the answer to a ping.
    pub pong_timeout: Duration,
    /// Timeout for the answer to a probe: a ping because another connection
    /// asks for the slot.
    pub probe_timeout: Duration,
}

/// Maximum number of connections that wait for the result of a probe. More are
/// refused at once; the result is known within the probe timeout.
pub const WAITING_LIMIT: usize = 32;

/// Delay of a timer from which the whole server must have been stopped (a
/// paused sandbox, a stopped process). The holder's answer may then be waiting
/// unread, so it is pinged once more.
const LATE_TIMER: Duration = Duration::from_millis(250);

/// Decision of the slot. Several are executed in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The connection has acquired the slot.
    Accept(ConnectionId),
    /// The slot is taken; refuse the connection.
    Refuse(ConnectionId),
    /// Send a ping to the holder.
    Ping(ConnectionId),
    /// The holder is dead and has lost the slot.
    Evict(ConnectionId),
    /// The holder has lost the slot to a connection that took over.
    Replace(ConnectionId),
}

/// State of the slot.
#[derive(Debug)]
pub struct Slot {
    timeouts: SlotTimeouts,
    holder: Option<Holder>,
}

#[derive(Debug)]
struct Holder {
    id: ConnectionId,
    ping_at: Instant,
    /// Deadline for the answer to the pending ping.
    answer_by: Option<Instant>,
    /// The pending ping has been repeated because the timer was late.
    repeated: bool,
    waiting: Vec<ConnectionId>,
}

impl Slot {
    /// Creates a free slot.
    #[must_use]
    pub fn new(timeouts: SlotTimeouts) -> Self {
        Self { timeouts, holder: None }
    }

    /// Returns the holder.
    #[must_use]
    pub fn holder(&self) -> Option<ConnectionId> {
        self.holder.as_ref().map(|holder| holder.id)
    }

    /// Handles a connection that asks for the slot.
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

    /// Records that `id` is alive. Connections that wait for a probe are
    /// refused.
    pub fn touch(&mut self, id: ConnectionId, now: Instant) -> Vec<Decision> {
        let Some(holder) = self.holder.as_mut().filter(|holder| holder.id == id) else {
            return Vec::new();
        };
        holder.answer_by = None;
        holder.ping_at = now + self.timeouts.ping_interval;
        holder.waiting.drain(..).map(Decision::Refuse).collect()
    }

    /// Handles the end of connection `id`.
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

    /// Returns the time of the next call of [`Slot::on_time`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.holder.as_ref().map(|holder| holder.answer_by.unwrap_or(holder.ping_at))
    }

    /// Handles a deadline that has passed.
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

    /// Frees the slot; the newest waiting connection acquires it, as the one
    /// most likely alive. While others wait, it is pinged like any holder.
    fn clear(&mut self, now: Instant) -> Vec<Decision> {
        let mut waiting = self.holder.take().map(|holder| holder.waiting).unwrap_or_default();
        let Some(next) = waiting.pop() else {
            return Vec::new();
        };
        let mut decisions = self.grant(next, now);
        if let Some(holder) = self.holder.as_mut().filter(|_| !waiting.is_empty()) {
            holder.waiting = waiting;
            holder.answer_by = Some(now + self.timeouts.probe_timeout);
            decisions.push(Decision::Ping(next));
        }
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
    fn the_first_connection_gets_the_slot_and_a_live_holder_keeps_it() {
        let (mut slot, now) = slot();
        assert_eq!(slot.acquire(A, false, now), [Accept(A)]);
        assert_eq!(slot.acquire(B, false, now), [Ping(A)]);
        assert_eq!(slot.acquire(C, false, now), []);
        assert_eq!(slot.touch(A, now + seconds(1)), [Refuse(B), Refuse(C)]);
        assert_eq!(slot.holder(), Some(A));
    }

    #[test]
    fn a_dead_holder_loses_the_slot_to_the_newest_waiting_connection() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.acquire(B, false, now);
        slot.acquire(C, false, now + seconds(1));
        assert_eq!(slot.deadline(), Some(now + seconds(2)));
        assert_eq!(slot.on_time(now + seconds(2)), [Evict(A), Accept(C), Ping(C)]);
        assert_eq!(slot.touch(A, now + seconds(3)), []);
        assert_eq!(slot.release(A, now + seconds(3)), []);
        assert_eq!(slot.holder(), Some(C));
        assert_eq!(slot.touch(C, now + seconds(3)), [Refuse(B)]);
    }

    #[test]
    fn a_waiting_connection_that_has_died_does_not_keep_the_slot_from_a_live_one() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.acquire(B, false, now);
        slot.acquire(C, false, now);
        slot.on_time(now + seconds(2));
        assert_eq!(slot.on_time(now + seconds(4)), [Evict(C), Accept(B)]);
        assert_eq!(slot.touch(B, now + seconds(4)), []);
    }

    #[test]
    fn an_unanswered_ping_evicts_a_silent_holder() {
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
    fn a_probe_shortens_the_timeout_of_a_pending_ping() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.on_time(now + seconds(30));
        assert_eq!(slot.acquire(B, false, now + seconds(31)), []);
        assert_eq!(slot.deadline(), Some(now + seconds(33)));
    }

    #[test]
    fn a_late_timer_repeats_the_ping() {
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
    fn a_takeover_replaces_a_live_holder() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.acquire(B, false, now);
        assert_eq!(slot.acquire(C, true, now), [Replace(A), Accept(C), Refuse(B)]);
        assert_eq!(slot.release(A, now), []);
        assert_eq!(slot.holder(), Some(C));
    }

    #[test]
    fn a_released_slot_is_granted_at_once() {
        let (mut slot, now) = slot();
        slot.acquire(A, false, now);
        slot.acquire(B, false, now);
        slot.acquire(C, false, now);
        assert_eq!(slot.release(B, now), []);
        assert_eq!(slot.release(A, now), [Accept(C)]);
    }

    #[test]
    fn waiting_connections_are_bounded() {
        let (mut slot, now) = slot();
        for id in 0..=WAITING_LIMIT as u64 {
            assert_ne!(slot.acquire(ConnectionId(id), false, now), [Refuse(ConnectionId(id))]);
        }
        let one_more = ConnectionId(1000);
        assert_eq!(slot.acquire(one_more, false, now), [Refuse(one_more)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Acquire(bool),
        Touch(usize),
        Release(usize),
        Wait(u64),
    }

    proptest! {
        /// Checks that there is one holder, that no connection gets two
        /// decisions, and that a holder that answers every ping is replaced
        /// only by a takeover.
        #[test]
        fn the_slot_has_one_holder(steps in proptest::collection::vec(prop_oneof![
            any::<bool>().prop_map(Step::Acquire),
            (0usize..8).prop_map(Step::Touch),
            (0usize..8).prop_map(Step::Release),
            (0u64..20_000).prop_map(Step::Wait),
        ], 0..100)) {
            let (mut slot, mut now) = slot();
            let mut open: Vec<ConnectionId> = Vec::new();
            let mut holder = None;
            let mut pinged = false;
            for (number, step) in steps.into_iter().enumerate() {
                let mut takeover_asked = false;
                let decisions = match step {
                    Step::Acquire(takeover) => {
                        let id = ConnectionId(number as u64);
                        open.push(id);
                        takeover_asked = takeover;
                        slot.acquire(id, takeover, now)
                    }
                    Step::Touch(index) if index < open.len() => {
                        if holder == Some(open[index]) { pinged = false; }
                        slot.touch(open[index], now)
                    }
                    Step::Release(index) if index < open.len() => {
                        let id = open.remove(index);
                        if holder == Some(id) { holder = None; }
                        slot.release(id, now)
                    }
                    Step::Wait(ms) => {
                        now += Duration::from_millis(ms);
                        slot.on_time(now)
                    }
                    Step::Touch(_) | Step::Release(_) => Vec::new(),
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
