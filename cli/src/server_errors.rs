//! Errors of the server in a turn. The end of the turn may tell the same failure,
//! so they wait for it a moment, and each failure is told once.

use std::time::{Duration, Instant};

/// Time after which an error is told, if the turn has not ended.
const HOLD: Duration = Duration::from_secs(3);

/// Errors that wait, and the last one that was told.
#[derive(Debug, Default)]
pub(crate) struct ServerErrors {
    waiting: Vec<Waiting>,
    told: Option<String>,
}

#[derive(Debug)]
struct Waiting {
    text: String,
    since: Instant,
    /// It tells of an end of the agent.
    is_exit: bool,
}

impl ServerErrors {
    pub(crate) fn add(&mut self, text: &str, now: Instant) {
        self.waiting.push(Waiting { text: text.to_owned(), since: now, is_exit: false });
    }

    /// The agent has ended, which the last error tells. An agent that is started
    /// again for the same message and ends again does not tell more by that.
    pub(crate) fn on_exit(&mut self) {
        if let Some(mut last) = self.waiting.pop() {
            last.is_exit = true;
            self.waiting.retain(|error| !error.is_exit);
            self.waiting.push(last);
        }
    }

    /// Takes the errors that have waited long enough.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<String> {
        let is_due = |error: &Waiting| now.saturating_duration_since(error.since) >= HOLD;
        // They are told in their order.
        if self.waiting.first().is_some_and(is_due) { self.take() } else { Vec::new() }
    }

    /// Takes all errors, to be told.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let texts: Vec<String> = self.waiting.drain(..).map(|error| error.text).collect();
        self.told = texts.last().cloned().or(self.told.take());
        texts
    }

    /// Takes the errors that `end`, the words for the end of the turn, does not
    /// tell as well.
    pub(crate) fn beside(&mut self, end: Option<&str>) -> Vec<String> {
        self.waiting.retain(|error| !end.is_some_and(|end| contains(end, &error.text)));
        let told = self.told.take();
        let texts = self.take();
        self.told = told;
        texts
    }

    /// Returns true if the last error that was told is this one.
    pub(crate) fn was_told(&self, end: &str) -> bool {
        self.told.as_deref().is_some_and(|told| told.eq_ignore_ascii_case(end))
    }
}

/// Returns true if `text` stands in `within`, however it begins there.
pub(crate) fn contains(within: &str, text: &str) -> bool {
    within.to_ascii_lowercase().contains(&text.to_ascii_lowercase())
}

/// Returns what `text` says after `beginning`, if it begins so and goes on with
/// another sentence, or ends there.
pub(crate) fn after<'a>(text: &'a str, beginning: &str) -> Option<&'a str> {
    match text.strip_prefix(beginning.trim_end_matches('.'))? {
        "" | "." => Some(""),
        rest => rest.strip_prefix(". "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_told_error_is_what_is_left() {
        assert_eq!(after("It broke. Send it again", "It broke"), Some("Send it again"));
        assert_eq!(after("It broke. Send it again", "It broke."), Some("Send it again"));
        assert_eq!(after("It broke.", "It broke"), Some(""));
        assert_eq!(after("It broke down. Mend it", "It broke"), None);
        assert_eq!(after("Another", "It broke"), None);
    }

    #[test]
    fn the_end_of_the_turn_tells_the_error_that_has_caused_it() {
        let mut errors = ServerErrors::default();
        errors.add("A line was left out", Instant::now());
        errors.add("Server is shutting down", Instant::now());
        let end = Some("the turn was interrupted: server is shutting down");
        assert_eq!(errors.beside(end), ["A line was left out"]);
        assert_eq!(errors.beside(end), Vec::<String>::new());
    }

    #[test]
    fn an_agent_that_ends_again_and_again_is_told_once() {
        let mut errors = ServerErrors::default();
        for text in ["It ended", "It ended for the second time"] {
            errors.add(text, Instant::now());
            errors.on_exit();
        }
        assert_eq!(errors.beside(None), ["It ended for the second time"]);
    }

    #[test]
    fn an_error_that_the_turn_outlives_is_told_in_time_and_not_again_at_the_end() {
        let mut errors = ServerErrors::default();
        let start = Instant::now();
        errors.add("The agent ended", start);
        assert_eq!(errors.due(start + HOLD / 2), Vec::<String>::new());
        assert_eq!(errors.due(start + HOLD), ["The agent ended"]);
        assert!(errors.was_told("the agent ended") && !errors.was_told("the turn failed"));
    }
}
