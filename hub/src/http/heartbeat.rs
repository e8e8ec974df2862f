//! The heartbeat of a WebSocket client: a ping at intervals, and the time for its
//! answer, which a client that reads slowly gets anew while it reads.

use std::time::Duration;

use tokio::time::Instant;

/// Size of the send buffer that is asked of the system for a client. What is in it
/// lies in front of a ping, and nobody sees how fast the client takes it: with the
/// megabytes that the system gives by itself a slow client would seem dead.
pub(super) const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Maximum size of what a client has taken since a ping and can still lie in front
/// of it: a batch, and the buffers of both systems. Who takes more without an
/// answer has read the ping.
const UNREAD_BYTES: u64 = 16 << 20;

/// The heartbeat. Instants and sizes in, decisions out.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    ping_at: Instant,
    /// The ping without an answer.
    unanswered: Option<Unanswered>,
}

/// A ping without an answer.
#[derive(Debug)]
struct Unanswered {
    /// The end of the time for the answer.
    by: Instant,
    /// What the client's socket had taken when the ping was sent.
    taken_before: u64,
    /// What it had taken when the time began.
    taken: u64,
}

/// The decision at a deadline.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Wait for the next deadline.
    Wait,
    /// Send a ping.
    Ping,
    /// The client is gone.
    Dead,
}

impl Heartbeat {
    pub(super) fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        Self { interval, timeout, ping_at: now + interval, unanswered: None }
    }

    /// Returns the time at which [`Heartbeat::on_deadline`] has to be asked.
    pub(super) fn deadline(&self) -> Instant {
        self.unanswered.as_ref().map_or(self.ping_at, |ping| ping.by)
    }

    /// Notes that the client has sent something.
    pub(super) fn on_heard(&mut self) {
        self.unanswered = None;
    }

    /// Decides at a deadline. `taken` is the size of all that the client's socket has
    /// taken, `is_read` says that what the client sends is read, so that its answer
    /// would have been seen.
    pub(super) fn on_deadline(&mut self, now: Instant, taken: u64, is_read: bool) -> Beat {
        if now < self.deadline() {
            return Beat::Wait;
        }
        let Some(ping) = &mut self.unanswered else {
            self.ping_at = now + self.interval;
            let by = now + self.timeout;
            self.unanswered = Some(Unanswered { by, taken_before: taken, taken });
            return Beat::Ping;
        };
        let is_behind = taken.saturating_sub(ping.taken_before) <= UNREAD_BYTES;
        if is_read && !(taken > ping.taken && is_behind) {
            return Beat::Dead;
        }
        ping.by = now + self.timeout;
        ping.taken = taken;
        Beat::Wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn pinged() -> (Heartbeat, Instant) {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(INTERVAL, TIMEOUT, start);
        assert_eq!(heartbeat.on_deadline(start, 0, true), Beat::Wait);
        let now = start + INTERVAL;
        assert_eq!((heartbeat.deadline(), heartbeat.on_deadline(now, 0, true)), (now, Beat::Ping));
        (heartbeat, now)
    }

    #[test]
    fn a_client_that_answers_stays() {
        let (mut heartbeat, now) = pinged();
        heartbeat.on_heard();
        assert_eq!(heartbeat.deadline(), now + INTERVAL);
        assert_eq!(heartbeat.on_deadline(now + INTERVAL, 0, true), Beat::Ping);
    }

    #[test]
    fn a_client_that_takes_nothing_and_says_nothing_is_dead() {
        let (mut heartbeat, now) = pinged();
        assert_eq!(
            heartbeat.on_deadline(now + TIMEOUT - Duration::from_millis(1), 0, true),
            Beat::Wait
        );
        assert_eq!(heartbeat.on_deadline(now + TIMEOUT, 0, true), Beat::Dead);
    }

    #[test]
    fn a_client_that_reads_slowly_stays_and_gets_one_ping() {
        let (mut heartbeat, mut now) = pinged();
        for taken in 1..1000 {
            now += TIMEOUT;
            assert_eq!(heartbeat.on_deadline(now, taken, true), Beat::Wait);
        }
        // It stops.
        assert_eq!(heartbeat.on_deadline(now + TIMEOUT, 999, true), Beat::Dead);
    }

    #[test]
    fn a_client_that_reads_the_ping_and_does_not_answer_is_dead() {
        let (mut heartbeat, now) = pinged();
        assert_eq!(heartbeat.on_deadline(now + TIMEOUT, UNREAD_BYTES, true), Beat::Wait);
        assert_eq!(heartbeat.on_deadline(now + TIMEOUT * 2, UNREAD_BYTES + 1, true), Beat::Dead);
    }

    #[test]
    fn a_client_whose_answer_nobody_would_see_is_waited_for() {
        let (mut heartbeat, now) = pinged();
        assert_eq!(heartbeat.on_deadline(now + TIMEOUT, 0, false), Beat::Wait);
        assert_eq!(heartbeat.on_deadline(now + TIMEOUT * 2, 0, true), Beat::Dead);
    }
}
