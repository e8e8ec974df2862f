//! Messages of the supervisor about the agent, and the escalation that stops
//! the agent.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::channel::AgentPid;
use super::{ExitReason, ProcessCommand, ProcessEvent, REAP_TIMEOUT, Signal, StartFailure};
use crate::supervisor::{self, descendants};

/// Reads the supervisor's messages and sends it the signals of the escalation.
/// Returns when the agent and all its descendants have ended.
pub(super) async fn supervise(
    control: UnixStream,
    mut commands: mpsc::Receiver<ProcessCommand>,
    events: mpsc::Sender<ProcessEvent>,
    agent: AgentPid,
    owns_process: bool,
) -> ExitReason {
    let (from_supervisor, mut to_supervisor) = control.into_split();
    let mut lines = BufReader::new(from_supervisor).lines();
    let mut escalation: Vec<(Instant, &'static [u8])> = Vec::new();
    let mut reason = None;
    let mut reap_deadline: Option<Instant> = None;
    loop {
        let next = escalation.first().map(|(at, _)| *at).or(reap_deadline);
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    let (kind, value) = line.split_at_checked(1).unwrap_or_default();
                    match (kind, value.parse::<i32>()) {
                        ("P", Ok(pid)) => {
                            let pid = pid.unsigned_abs();
                            let _ = agent.set(pid);
                            let _ = events.send(ProcessEvent::Started(Some(pid))).await;
                        }
                        ("X", Ok(code)) => reason = Some(ExitReason::Exited(code)),
                        ("G", Ok(signal)) => reason = Some(ExitReason::Signalled(signal)),
                        _ => reason = Some(ExitReason::NotStarted(StartFailure::parse(value))),
                    }
                    if reason.is_some() {
                        escalation.clear();
                        reap_deadline = Some(Instant::now() + REAP_TIMEOUT);
                    }
                }
                // The supervisor has ended, and so have its descendants, unless
                // it was killed. In that case they have become children of this
                // process, if it is the server's own.
                Ok(None) | Err(_) => {
                    let Some(reason) = reason else {
                        if owns_process {
                            let _ = tokio::task::spawn_blocking(descendants::sweep).await;
                        }
                        return ExitReason::Lost;
                    };
                    return reason;
                }
            },
            command = commands.recv() => match command {
                Some(ProcessCommand::Stop(grace)) if escalation.is_empty() && reason.is_none() => {
                    let now = Instant::now();
                    escalation = vec![(now + grace, supervisor::TERM), (now + 2 * grace, supervisor::KILL)];
                }
                Some(ProcessCommand::Stop(_)) => {}
                Some(ProcessCommand::Terminate(grace)) => if reason.is_none() {
                    let now = Instant::now();
                    let kill_at = escalation.last().map_or(now + grace, |(at, _)| (now + grace).min(*at));
                    escalation = vec![(now, supervisor::TERM), (kill_at, supervisor::KILL)];
                },
                Some(ProcessCommand::Signal(signal)) => {
                    let line = match signal {
                        Signal::Interrupt => supervisor::INT,
                        Signal::Hangup => supervisor::HUP,
                    };
                    // The supervisor ends with the agent.
                    let _ = to_supervisor.write_all(line).await;
                }
                Some(ProcessCommand::Kill) | None if reason.is_none() => {
                    escalation = vec![(Instant::now(), supervisor::KILL)];
                    if command.is_none() {
                        // The session has dropped the process, so nobody reads
                        // further events.
                        let _ = to_supervisor.write_all(supervisor::KILL).await;
                        return ExitReason::Lost;
                    }
                }
                Some(ProcessCommand::Kill) => {}
                None => return reason.unwrap_or(ExitReason::Lost),
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                if escalation.is_empty() {
                    tracing::warn!("descendants of the agent still run after {REAP_TIMEOUT:?}; they are no longer waited for");
                    return reason.unwrap_or(ExitReason::Lost);
                }
                let (_, line) = escalation.remove(0);
                if to_supervisor.write_all(line).await.is_err() {
                    escalation.clear();
                }
                let signal = if line == supervisor::TERM { "SIGTERM" } else { "SIGKILL" };
                // It is left out if the session is behind: the end follows.
                let _ = events.try_send(ProcessEvent::Escalated(signal));
            },
        }
    }
}
