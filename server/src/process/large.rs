//! Large lines, which are looked at on another thread: one may hold millions of
//! small elements, and everybody else would wait.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::lines::{Block, Line};

/// Time that a stop gives a large line beyond the agent's own: one of 64 MiB of
/// small elements takes two seconds in a release build.
const LAST_LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// A block that begins with a large line, and the outcome for that line. There
/// is none for a line over the limit.
pub type Seen<T> = (Block, Option<T>);

/// Reason for which a large line was left out.
#[derive(Debug, thiserror::Error)]
pub enum NotSeen {
    /// Its thread panicked, or the program ends.
    #[error("reading it failed: {0}")]
    Failed(#[from] JoinError),
    /// It was still being read when the agent had to be stopped.
    #[error(
        "it was still being read when the agent was stopped, and what came with it is left out too"
    )]
    Stopped,
}

/// Large line of an agent that is being looked at. Its other output waits
/// meanwhile.
#[derive(Debug)]
pub struct LargeLine<T> {
    task: Option<JoinHandle<Seen<T>>>,
    /// Time at which it is left out.
    until: Option<Instant>,
}

impl<T> Default for LargeLine<T> {
    fn default() -> Self {
        Self { task: None, until: None }
    }
}

impl<T> LargeLine<T> {
    /// Returns true between a start and its end.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.task.is_some()
    }

    /// Bounds the wait, because the agent is stopped: `grace` twice, as its
    /// escalation takes, and [`LAST_LINE_TIMEOUT`].
    pub fn stop(&mut self, grace: Duration) {
        self.until.get_or_insert_with(|| Instant::now() + 2 * grace + LAST_LINE_TIMEOUT);
    }

    /// Ends the wait, because the agent is killed.
    pub fn give_up(&mut self) {
        self.until = Some(Instant::now());
    }
}

impl<T: Send + 'static> LargeLine<T> {
    /// Begins with the first line of a block.
    pub fn start(&mut self, block: Block, look: impl Fn(&[u8]) -> T + Send + 'static) {
        self.task = Some(spawn_blocking(move || {
            let first = match block.lines().next() {
                Some(Line::Whole(line)) => Some(look(line)),
                Some(Line::TooLong(_)) | None => None,
            };
            (block, first)
        }));
    }
}

/// Waits for the end, if there is a line. Cancel-safe.
///
/// # Errors
///
/// Returns an error if the line is left out.
pub async fn seen<T>(line: Option<&mut LargeLine<T>>) -> Result<Seen<T>, NotSeen> {
    let Some(LargeLine { task, until }) = line else { return std::future::pending().await };
    let Some(reading) = task else { return std::future::pending().await };
    let seen = match until {
        Some(until) => timeout_at(*until, reading).await.map_err(|_| NotSeen::Stopped),
        None => Ok(reading.await),
    };
    *task = None;
    Ok(seen??)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::process::lines::LineBuffer;

    #[tokio::test]
    async fn a_stop_goes_on_without_the_end_of_a_large_line() {
        let mut buffer = LineBuffer::default();
        buffer.spare().extend_from_slice(b"{}\n");
        let (go, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let mut line = LargeLine::default();
        line.start(buffer.take().unwrap(), move |_| wait.lock().unwrap().recv().is_ok());
        assert!(line.is_under_way());
        line.stop(Duration::ZERO);
        assert!(line.until >= Some(Instant::now() + LAST_LINE_TIMEOUT / 2));
        line.give_up();
        assert!(matches!(seen(Some(&mut line)).await, Err(NotSeen::Stopped)));
        assert!(!line.is_under_way());
        drop(go);
    }
}
