//! The bound on a turn: it is interrupted, then the agent is stopped.

use std::time::Instant;

use super::Session;

impl Session {
    /// Begins to count when a turn begins, and stops when it has ended. While
    /// the agent waits for a person the time does not count.
    pub(super) fn watch_turn(&mut self, now: Instant) {
        let Some(limit) = self.runtime.settings.turn_timeout else { return };
        let waits = self.asks_a_person();
        let Some(running) = &mut self.agent.running else { return };
        if running.turns.current().is_none() || waits || running.is_stopping() {
            running.turn_ends_by = None;
            running.timed_out = false;
        } else if running.turn_ends_by.is_none() {
            running.turn_ends_by = Some(now + limit);
        }
    }

    /// The turn has taken too long: an interrupt, and behind the grace for it
    /// the end of the agent.
    pub(super) fn on_turn_timeout(&mut self, now: Instant) {
        let settings = &self.runtime.settings;
        let (limit, grace) = (settings.turn_timeout.unwrap_or_default(), settings.stop_grace);
        let Some(running) = &mut self.agent.running else { return };
        if running.timed_out {
            running.turn_ends_by = None;
            running.stop_for_timeout(grace, now);
            self.error(&format!(
                "The agent is being stopped: its turn has not ended {grace:?} after it was interrupted"
            ));
        } else {
            running.timed_out = true;
            running.turn_ends_by = Some(now + grace);
            self.inbox.push_interrupt_first();
            self.error(&format!("The turn was interrupted: it took longer than {limit:?}"));
        }
    }
}
