//! The clock that notices a server which is gone without a close frame. Pure:
//! the caller brings the time and does the waiting.

use std::time::Duration;

use tokio::time::Instant;

/// The action at a deadline.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing to do.
    None,
    /// Send a ping.
    Ping,
    /// The server has not answered.
    Lost,
}

/// The state of a connection at a deadline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signs {
    /// The number of frames that have been read so far.
    pub(super) heard: u64,
    /// A subscriber has no room, so nothing is read and silence means nothing.
    pub(super) stalled: bool,
    /// A message waits for its confirmation.
    pub(super) awaited: bool,
}

pub(super) struct Heartbeat {
    interval: Duration,
    answer_timeout: Duration,
    deadline: Instant,
    phase: Phase,
    /// The number of frames that had been read when the phase began.
    heard: u64,
    /// A message was written while an answer was due already.
    expected: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waits for silence.
    Listening,
    /// Waits for the answer to a ping of the heartbeat's own.
    Pinged,
    /// Waits for the confirmation of a message.
    Expecting,
}

impl Heartbeat {
    pub(super) fn new(interval: Duration, answer_timeout: Duration, now: Instant) -> Self {
        Self {
            interval,
            answer_timeout,
            deadline: after(now, interval),
            phase: Phase::Listening,
            heard: 0,
            expected: false,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A message was written; its confirmation is due.
    pub(super) fn expect(&mut self, now: Instant, heard: u64) {
        match self.phase {
            Phase::Listening => self.enter(Phase::Expecting, now, heard),
            Phase::Pinged | Phase::Expecting => self.expected = true,
        }
    }

    /// The deadline has come.
    pub(super) fn on_deadline(&mut self, now: Instant, signs: Signs) -> Action {
        let Signs { heard, stalled, awaited } = signs;
        let silent = heard == self.heard && !stalled;
        match self.phase {
            Phase::Listening if silent => {
                self.enter(Phase::Pinged, now, heard);
                return Action::Ping;
            }
            Phase::Pinged if silent => return Action::Lost,
            Phase::Expecting if silent && awaited => return Action::Lost,
            _ => {}
        }
        let next = match std::mem::take(&mut self.expected) {
            true => Phase::Expecting,
            false => Phase::Listening,
        };
        self.enter(next, now, heard);
        Action::None
    }

    fn enter(&mut self, phase: Phase, now: Instant, heard: u64) {
        let wait = match phase {
            Phase::Listening => self.interval,
            Phase::Pinged | Phase::Expecting => self.answer_timeout,
        };
        self.phase = phase;
        self.heard = heard;
        self.deadline = after(now, wait);
    }
}

/// The time after `wait`. One that no clock can hold is a century away.
fn after(now: Instant, wait: Duration) -> Instant {
    now.checked_add(wait).unwrap_or(now + Duration::from_secs(1 << 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);
    const ANSWER: Duration = Duration::from_secs(10);

    fn signs(heard: u64) -> Signs {
        Signs { heard, stalled: false, awaited: false }
    }

    #[test]
    fn silence_is_a_ping_and_silence_after_it_the_end() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::new(INTERVAL, ANSWER, now);
        assert_eq!(heartbeat.on_deadline(now, signs(1)), Action::None);
        assert_eq!(heartbeat.deadline(), now + INTERVAL);
        assert_eq!(heartbeat.on_deadline(now, signs(1)), Action::Ping);
        assert_eq!(heartbeat.deadline(), now + ANSWER);
        assert_eq!(heartbeat.on_deadline(now, signs(1)), Action::Lost);
    }

    #[test]
    fn an_answer_or_a_stall_keeps_the_connection() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::new(INTERVAL, ANSWER, now);
        assert_eq!(heartbeat.on_deadline(now, signs(0)), Action::Ping);
        assert_eq!(heartbeat.on_deadline(now, signs(1)), Action::None);
        let stalled = Signs { stalled: true, ..signs(1) };
        assert_eq!(heartbeat.on_deadline(now, stalled), Action::None);
    }

    #[test]
    fn a_message_without_confirmation_is_the_end_and_one_with_it_is_not() {
        let now = Instant::now();
        let mut heartbeat = Heartbeat::new(INTERVAL, ANSWER, now);
        heartbeat.expect(now, 5);
        assert_eq!(heartbeat.deadline(), now + ANSWER);
        assert_eq!(heartbeat.on_deadline(now, signs(5)), Action::None);
        heartbeat.expect(now, 5);
        heartbeat.expect(now, 5);
        let awaited = Signs { awaited: true, ..signs(6) };
        assert_eq!(heartbeat.on_deadline(now, awaited), Action::None);
        assert_eq!(heartbeat.on_deadline(now, awaited), Action::Lost);
    }
}
