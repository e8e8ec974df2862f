//! Figures of the session for `/metrics`, as Prometheus text.
//!
//! No label holds a value from outside: all are names of this program.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::Session;

/// Upper bounds of the turns' durations, in seconds.
const BOUNDS: [u64; 9] = [1, 2, 5, 10, 30, 60, 300, 900, 3600];

/// All values of `agent_state.state`.
const STATES: [&str; 6] = ["stopped", "starting", "idle", "running", "waiting", "stopping"];

/// Counters that the session keeps for `/metrics` alone.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) clients: u64,
    pub(super) clients_refused: u64,
    pub(super) messages: u64,
    pub(super) message_bytes: u64,
    turn_began: Option<Instant>,
    turn_durations: Durations,
}

/// Histogram of durations.
#[derive(Debug, Default)]
struct Durations {
    /// Number of durations up to each bound and above the one before.
    counts: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Durations {
    fn observe(&mut self, duration: Duration) {
        if let Some(at) = BOUNDS.iter().position(|bound| duration <= Duration::from_secs(*bound)) {
            self.counts[at] += 1;
        }
        self.count += 1;
        self.sum += duration;
    }
}

impl Counters {
    /// Records the turns that have ended: `ended` of them since the start,
    /// and `in_turn` if one runs now.
    fn watch(&mut self, ended: u64, in_turn: bool, now: Instant) {
        while self.turn_durations.count < ended {
            let began = self.turn_began.take().unwrap_or(now);
            self.turn_durations.observe(now.saturating_duration_since(began));
        }
        match in_turn {
            true => drop(self.turn_began.get_or_insert(now)),
            // The agent has ended within its turn.
            false => self.turn_began = None,
        }
    }
}

impl Session {
    /// Keeps count of the turns.
    pub(super) fn count_turns(&mut self, now: Instant) {
        let in_turn = self.agent.running.as_ref().is_some_and(|running| running.in_turn());
        self.counters.watch(self.agent.turns, in_turn, now);
    }

    /// Returns all figures.
    pub(super) fn metrics(&self) -> String {
        let (agent, counters, replay) = (&self.agent, &self.counters, &self.replay);
        let mut text = Text::default();
        text.family("build_info", "gauge", "Version of the server.");
        text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.family("agent_state", "gauge", "1 for the agent's state, 0 for the others.");
        for state in STATES {
            text.sample("agent_state", &[("state", state)], (state == self.state_name()).into());
        }
        for (name, kind, help, value) in [
            (
                "client_connected",
                "gauge",
                "1 while a client holds the slot.",
                self.client.is_some().into(),
            ),
            ("clients_total", "counter", "Clients that got the slot.", counters.clients),
            (
                "clients_refused_total",
                "counter",
                "Clients that another one kept out of the slot.",
                counters.clients_refused,
            ),
            (
                "client_unread_frames",
                "gauge",
                "Frames that the client's socket has not taken.",
                self.unread_frames(),
            ),
            ("messages_total", "counter", "User messages received.", counters.messages),
            (
                "message_bytes_total",
                "counter",
                "Bytes of user messages received.",
                counters.message_bytes,
            ),
            ("frames_total", "counter", "Frames for clients.", replay.next() - 1),
            ("frame_bytes_total", "counter", "Bytes of frames for clients.", replay.total_bytes()),
            ("replay_frames", "gauge", "Frames that are kept.", replay.next() - replay.first()),
            ("replay_bytes", "gauge", "Bytes that are kept.", replay.bytes() as u64),
            (
                "replay_limit_bytes",
                "gauge",
                "Capacity of the replay buffer.",
                self.runtime.settings.replay_bytes as u64,
            ),
            (
                "waiting_messages",
                "gauge",
                "User messages that wait for the agent.",
                self.inbox.messages() as u64,
            ),
            (
                "open_permissions",
                "gauge",
                "Permission requests without an answer.",
                self.permissions.len() as u64,
            ),
            ("agent_starts_total", "counter", "Starts of the agent.", agent.starts),
            (
                "agent_restarts_total",
                "counter",
                "Starts of the agent after the first.",
                agent.starts.saturating_sub(1),
            ),
            (
                "agent_failures",
                "gauge",
                "Ends of the agent in a row without a finished turn.",
                agent.backoff.failures().into(),
            ),
            ("turns_total", "counter", "Turns that have ended.", agent.turns),
        ] {
            text.family(name, kind, help);
            text.sample(name, &[], value);
        }
        if let Some(notifier) = &self.runtime.notifier {
            let [delivered, failed, _] = notifier.counts();
            let (name, help) = ("notices_delivered_total", "Notices of --on-waiting delivered.");
            text.family(name, "counter", help);
            text.sample(name, &[], delivered);
            let (name, help) = ("notices_failed_total", "Notices of --on-waiting given up.");
            text.family(name, "counter", help);
            text.sample(name, &[], failed);
        }
        text.durations(
            "turn_duration_seconds",
            "Time from a turn's message to its result.",
            &counters.turn_durations,
        );
        text.0
    }

    fn unread_frames(&self) -> u64 {
        self.replay.next().saturating_sub(self.keeps_from())
    }
}

/// Prometheus text format, version 0.0.4.
#[derive(Debug, Default)]
struct Text(String);

/// Prefix of every name.
const PREFIX: &str = "claude_relay_";

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {PREFIX}{name} {help}"));
        self.line(format_args!("# TYPE {PREFIX}{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        match labels.is_empty() {
            true => self.line(format_args!("{PREFIX}{name} {value}")),
            false => self.line(format_args!("{PREFIX}{name}{{{}}} {value}", labels.join(","))),
        }
    }

    fn durations(&mut self, name: &str, help: &str, durations: &Durations) {
        self.family(name, "histogram", help);
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(durations.counts) {
            below += count;
            self.sample(&format!("{name}_bucket"), &[("le", &bound.to_string())], below);
        }
        self.sample(&format!("{name}_bucket"), &[("le", "+Inf")], durations.count);
        self.line(format_args!("{PREFIX}{name}_sum {}", durations.sum.as_secs_f64()));
        self.sample(&format!("{name}_count"), &[], durations.count);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a `String` does not fail.
        let _ = writeln!(self.0, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_measured_from_its_message_to_its_result() {
        let (mut counters, start) = (Counters::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        counters.watch(0, true, at(0));
        counters.watch(0, true, at(3));
        counters.watch(1, false, at(4));
        counters.watch(1, false, at(100));
        counters.watch(1, true, at(200));
        // Two turns end in one block of lines, and the third begins.
        counters.watch(3, true, at(201));
        let durations = &counters.turn_durations;
        assert_eq!((durations.count, durations.sum), (3, Duration::from_secs(5)));
        assert_eq!(durations.counts[..3], [2, 0, 1]);
        // An agent that ends within its turn has finished none.
        counters.watch(3, false, at(300));
        counters.watch(3, true, at(301));
        counters.watch(4, false, at(302));
        assert_eq!(counters.turn_durations.sum, Duration::from_secs(6));
    }
}
