//! Large lines, which are looked at on another thread: one may hold millions of
//! small elements, and everybody else would wait.

use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::lines::{Block, Line};

/// A block that begins with a large line, and the outcome for that line. There
/// is none for a line over the limit.
pub type Seen<T> = (Block, Option<T>);

/// Large line of an agent that is being looked at. Its other output waits
/// meanwhile.
#[derive(Debug)]
pub struct LargeLine<T>(Option<JoinHandle<Seen<T>>>);

impl<T> Default for LargeLine<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Send + 'static> LargeLine<T> {
    /// Begins with the first line of a block.
    pub fn start(&mut self, block: Block, look: impl Fn(&[u8]) -> T + Send + 'static) {
        self.0 = Some(spawn_blocking(move || {
            let first = match block.lines().next() {
                Some(Line::Whole(line)) => Some(look(line)),
                Some(Line::TooLong(_)) | None => None,
            };
            (block, first)
        }));
    }

    /// Returns true between a start and its end.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.0.is_some()
    }
}

/// Waits for the end, if there is a line. Cancel-safe.
///
/// # Errors
///
/// Returns an error if the thread has panicked or the program ends.
pub async fn seen<T>(line: Option<&mut LargeLine<T>>) -> Result<Seen<T>, JoinError> {
    let Some(LargeLine(line)) = line else { return std::future::pending().await };
    let Some(task) = line else { return std::future::pending().await };
    let seen = task.await;
    *line = None;
    seen
}
