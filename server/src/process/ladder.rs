//! What the supervisor tells of a run, and the ladder down which it ends one.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{AFTERMATH, Ending, Note, Order};
use crate::supervisor::{self, descendants};

/// Hears from the supervisor how the agent fares and walks it down the ladder when
/// it is to stop. Returns when the agent and everything below it are gone.
pub(super) async fn walk(
    control: UnixStream,
    mut orders: mpsc::Receiver<Order>,
    notes: mpsc::Sender<Note>,
) -> Ending {
    let (from_supervisor, mut to_supervisor) = control.into_split();
    let mut words = BufReader::new(from_supervisor).lines();
    let mut ladder: Vec<(Instant, &'static [u8])> = Vec::new();
    let mut how = None;
    let mut gone_by: Option<Instant> = None;
    loop {
        let next = ladder.first().map(|(at, _)| *at).or(gone_by);
        tokio::select! {
            word = words.next_line() => match word {
                Ok(Some(word)) => {
                    let (kind, value) = word.split_at_checked(1).unwrap_or_default();
                    match (kind, value.parse::<i32>()) {
                        ("P", Ok(pid)) => {
                            let _ = notes.send(Note::Started(Some(pid.unsigned_abs()))).await;
                        }
                        ("X", Ok(code)) => how = Some(Ending::Exited(code)),
                        ("G", Ok(signal)) => how = Some(Ending::Signalled(signal)),
                        _ => how = Some(Ending::NotStarted(value.to_owned())),
                    }
                    if how.is_some() {
                        ladder.clear();
                        gone_by = Some(Instant::now() + AFTERMATH);
                    }
                }
                // The supervisor is gone, and with it everything below it, unless
                // it was killed itself: then that hangs under this process.
                Ok(None) | Err(_) => {
                    let Some(how) = how else {
                        let _ = tokio::task::spawn_blocking(descendants::sweep).await;
                        return Ending::Lost;
                    };
                    return how;
                }
            },
            order = orders.recv() => match order {
                Some(Order::Stop(grace)) if ladder.is_empty() && how.is_none() => {
                    let now = Instant::now();
                    ladder = vec![(now + grace, supervisor::TERM), (now + 2 * grace, supervisor::KILL)];
                }
                Some(Order::Stop(_)) => {}
                Some(Order::Kill) | None if how.is_none() => {
                    ladder = vec![(Instant::now(), supervisor::KILL)];
                    if order.is_none() {
                        // Nobody is left to hear the rest.
                        let _ = to_supervisor.write_all(supervisor::KILL).await;
                        return Ending::Lost;
                    }
                }
                Some(Order::Kill) => {}
                None => return how.unwrap_or(Ending::Lost),
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if ladder.is_empty() {
                    tracing::warn!("what the agent left behind is not gone after {AFTERMATH:?}; going on");
                    return how.unwrap_or(Ending::Lost);
                }
                let (_, word) = ladder.remove(0);
                if to_supervisor.write_all(word).await.is_err() {
                    ladder.clear();
                }
            },
        }
    }
}
