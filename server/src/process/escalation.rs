//! What the supervisor tells of a run, and the ladder down which it ends one.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Ending, ProcessCommand, ProcessEvent, REAP_TIMEOUT};
use crate::supervisor::{self, descendants};

/// Hears from the supervisor how the agent fares and walks it down the ladder when
/// it is to stop. Returns when the agent and everything below it are gone.
pub(super) async fn supervise(
    control: UnixStream,
    mut commands: mpsc::Receiver<ProcessCommand>,
    events: mpsc::Sender<ProcessEvent>,
) -> Ending {
    let (from_supervisor, mut to_supervisor) = control.into_split();
    let mut lines = BufReader::new(from_supervisor).lines();
    let mut escalation: Vec<(Instant, &'static [u8])> = Vec::new();
    let mut how = None;
    let mut gone_by: Option<Instant> = None;
    loop {
        let next = escalation.first().map(|(at, _)| *at).or(gone_by);
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    let (kind, value) = line.split_at_checked(1).unwrap_or_default();
                    match (kind, value.parse::<i32>()) {
                        ("P", Ok(pid)) => {
                            let _ = events.send(ProcessEvent::Started(Some(pid.unsigned_abs()))).await;
                        }
                        ("X", Ok(code)) => how = Some(Ending::Exited(code)),
                        ("G", Ok(signal)) => how = Some(Ending::Signalled(signal)),
                        _ => how = Some(Ending::NotStarted(value.to_owned())),
                    }
                    if how.is_some() {
                        escalation.clear();
                        gone_by = Some(Instant::now() + REAP_TIMEOUT);
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
            command = commands.recv() => match command {
                Some(ProcessCommand::Stop(grace)) if escalation.is_empty() && how.is_none() => {
                    let now = Instant::now();
                    escalation = vec![(now + grace, supervisor::TERM), (now + 2 * grace, supervisor::KILL)];
                }
                Some(ProcessCommand::Stop(_)) => {}
                Some(ProcessCommand::Kill) | None if how.is_none() => {
                    escalation = vec![(Instant::now(), supervisor::KILL)];
                    if command.is_none() {
                        // Nobody is left to hear the rest.
                        let _ = to_supervisor.write_all(supervisor::KILL).await;
                        return Ending::Lost;
                    }
                }
                Some(ProcessCommand::Kill) => {}
                None => return how.unwrap_or(Ending::Lost),
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if escalation.is_empty() {
                    tracing::warn!("what the agent left behind is not gone after {REAP_TIMEOUT:?}; going on");
                    return how.unwrap_or(Ending::Lost);
                }
                let (_, line) = escalation.remove(0);
                if to_supervisor.write_all(line).await.is_err() {
                    escalation.clear();
                }
            },
        }
    }
}
