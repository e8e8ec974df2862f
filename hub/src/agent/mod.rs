//! The task of one agent: it starts the relay when there is something to do,
//! hands over one message after the other, and ends the relay when there has
//! been nothing for a while. A relay that has failed is started again.

#[cfg(not(feature = "e2b"))]
mod absent;
mod connect;
mod lines;
mod recover;
mod relay;
#[cfg(feature = "e2b")]
mod sandbox;
mod tools;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use claude_relay_client::{
    AgentStatus as RelayStatus, Answer, Client, ConnectError, ConnectionError, Messages, SendError,
    ServerMessage, TurnError,
};
use claude_relay_protocol::Backoff;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::hub::Hub;
use crate::hub::state::AgentCommand;
use crate::wire::AgentStatus;
use connect::Host;
use lines::Lines;
use relay::RelayError;

#[cfg(not(feature = "e2b"))]
use absent as sandbox;

pub use sandbox::Sandboxes;

/// Time that somebody waits for an agent to start.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Number of starts in a row that fail before the agent is left alone until the
/// next message.
const MAX_FAILURES: u32 = 5;

/// Delays between them.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Delay before a message is tried again, doubled each time.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Told when an agent is stopped because its tasks in the background do not end.
const BACKGROUND_TOO_LONG: &str = "stopped with its tasks in the background: they have gone on \
    since its last turn for longer than --background-timeout";

/// Reason for which an agent's connection has ended.
#[derive(Debug, thiserror::Error)]
enum AgentError {
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error("no connection to the relay: {0}")]
    Connect(#[from] ConnectError),
    #[error("the connection to the relay has ended: {0}")]
    Connection(#[from] ConnectionError),
    #[error("the relay has ended: {0}")]
    RelayEnded(String),
    #[error("this hub has no sandboxes: start it with --e2b-template")]
    NoSandboxes,
}

/// The cause for which an agent has no processes any more.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// There was nothing to do, or somebody has stopped it.
    Idle,
    /// Its configuration has changed.
    Configured,
    /// It was removed, or the hub ends.
    Over,
}

/// Runs an agent until it is removed or the hub ends.
pub(crate) async fn run(hub: Arc<Hub>, id: String, commands: mpsc::Receiver<AgentCommand>) {
    run_until_removed(&hub, &id, commands).await;
    let is_removed = !hub.state().kept.agents.contains_key(&id);
    if is_removed {
        let removing = tokio::task::spawn_blocking(move || hub.store.remove(&id));
        // A panic there would be a defect, and is reported by the runtime.
        let _ = removing.await;
    }
}

async fn run_until_removed(hub: &Arc<Hub>, id: &str, mut commands: mpsc::Receiver<AgentCommand>) {
    let mut backoff = Backoff::new(FIRST_DELAY, MAX_DELAY);
    let mut failures = 0;
    let mut is_wanted = hub.next_message(id).is_some();
    loop {
        if !is_wanted && !wait_for_work(hub, &mut commands).await {
            return;
        }
        hub.set_status(id, AgentStatus::Starting);
        let permit = tokio::select! {
            permit = Arc::clone(&hub.running).acquire_owned() => permit,
            () = hub.stopping.cancelled() => return,
            () = commands_closed(&commands) => return,
        };
        let started = Instant::now();
        let ended = Box::pin(live(hub, id, &mut commands)).await;
        drop(permit);
        if commands.is_closed() {
            return;
        }
        {
            let mut state = hub.state();
            hub.drop_permissions(&mut state, id);
            if let Some(live) = state.live.get(id) {
                live.client.send_replace(None);
            }
        }
        match ended {
            Ok(End::Over) => return,
            Ok(End::Idle) => {
                hub.set_status(id, AgentStatus::Stopped);
                is_wanted = false;
                failures = 0;
            }
            Ok(End::Configured) => {
                is_wanted = hub.next_message(id).is_some();
                if !is_wanted {
                    hub.set_status(id, AgentStatus::Stopped);
                }
            }
            Err(error) => {
                if started.elapsed() > MAX_DELAY {
                    failures = 0;
                    backoff.reset();
                }
                failures += 1;
                tracing::warn!(agent = id, "an agent has failed: {error}");
                hub.on_error(id, error.to_string());
                is_wanted = failures < MAX_FAILURES && hub.next_message(id).is_some();
                if is_wanted {
                    let delay = backoff.next_jittered(claude_relay_random::number());
                    tokio::select! {
                        () = sleep(delay) => {}
                        () = hub.stopping.cancelled() => return,
                        () = commands_closed(&commands) => return,
                    }
                } else {
                    hub.set_status(id, AgentStatus::Failed);
                    failures = 0;
                }
            }
        }
    }
}

/// Waits until the agent is removed.
async fn commands_closed(commands: &mpsc::Receiver<AgentCommand>) {
    let mut look = tokio::time::interval(Duration::from_millis(200));
    while !commands.is_closed() {
        look.tick().await;
    }
}

/// Waits for a message, or somebody who wants files. Returns false when there
/// will be none.
async fn wait_for_work(hub: &Hub, commands: &mut mpsc::Receiver<AgentCommand>) -> bool {
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = hub.stopping.cancelled() => return false,
        };
        match command {
            Some(AgentCommand::Wake) => return true,
            // Without processes there is nothing to interrupt or to stop; a
            // request whose agent has ended has no answer.
            Some(_) => {}
            None => return false,
        }
    }
}

/// A turn that is under way.
struct Running {
    uuid: String,
    turn: Pin<Box<dyn Future<Output = Result<Answer, TurnError>> + Send>>,
}

/// Runs an agent that has processes.
async fn live(
    hub: &Arc<Hub>,
    id: &str,
    commands: &mut mpsc::Receiver<AgentCommand>,
) -> Result<End, AgentError> {
    let connected = tokio::select! {
        connected = connect::connect(hub, id) => connected?,
        () = hub.stopping.cancelled() => return Ok(End::Over),
        () = commands_closed(commands) => return Ok(End::Over),
    };
    let Some((client, mut host)) = connected else { return Ok(End::Over) };
    let ended = serve(hub, id, commands, &client, &mut host).await;
    host.end(hub, id, &client, &ended).await;
    ended
}

async fn serve(
    hub: &Arc<Hub>,
    id: &str,
    commands: &mut mpsc::Receiver<AgentCommand>,
    client: &Client,
    host: &mut Host,
) -> Result<End, AgentError> {
    let mut messages = client.messages();
    let mut lines = Lines::default();
    let mut running: Option<Running> = None;
    let mut is_configured = false;
    let mut idle_at = Instant::now() + hub.settings.idle_timeout;
    // The end of the last turn, or the last message.
    let mut worked_at = Instant::now();
    // A message that has failed is not tried again at once.
    let mut retry_at = Instant::now();
    {
        let state = hub.state();
        if let Some(live) = state.live.get(id) {
            live.client.send_replace(Some(client.clone()));
        }
    }
    hub.set_status(id, AgentStatus::Idle);
    loop {
        let quiet_at = if running.is_none() { lines.quiet_at() } else { None };
        let is_quiet = quiet_at.is_some_and(|at| at <= Instant::now());
        if is_quiet {
            hub.on_quiet(id);
        }
        if running.is_none() && is_configured {
            return Ok(End::Configured);
        }
        if running.is_none() && Instant::now() >= retry_at {
            running = next_turn(hub, id, client, &mut messages, &mut lines).await?;
        }
        tokio::select! {
            message = messages.next() => match message {
                Some(Ok(message)) => {
                    let was_busy = lines.is_busy();
                    let had_turn = lines.has_turn();
                    on_message(hub, id, message, &mut lines);
                    if had_turn || lines.has_turn() {
                        worked_at = Instant::now();
                    }
                    if was_busy {
                        idle_at = Instant::now() + hub.settings.idle_timeout;
                    }
                }
                Some(Err(error)) => return Err(error.into()),
                None => return Err(ConnectionError::Stopped.into()),
            },
            outcome = turn_of(&mut running) => {
                let Some(Running { uuid, .. }) = running.take() else { continue };
                // What the turn has said comes before what came of it.
                drain(hub, id, &mut messages, &mut lines);
                if let Some(delay) = on_outcome(hub, id, &uuid, outcome)? {
                    retry_at = Instant::now() + delay;
                }
                worked_at = Instant::now();
                idle_at = worked_at + hub.settings.idle_timeout;
            }
            command = commands.recv() => match command {
                Some(AgentCommand::Wake) => {
                    worked_at = Instant::now();
                    idle_at = worked_at + hub.settings.idle_timeout;
                }
                Some(AgentCommand::Interrupt) => {
                    if let Err(error) = client.interrupt().await {
                        tracing::warn!(agent = id, "an interrupt was not delivered: {error}");
                    }
                }
                Some(AgentCommand::Answer(request, decision, told)) => {
                    let is_told = client.respond(&request, &decision).await.is_ok();
                    let _ = told.send(is_told);
                }
                Some(AgentCommand::Configure) => is_configured = true,
                Some(AgentCommand::Stop) => {
                    if let Some(Running { uuid, .. }) = running.take() {
                        hub.finish_message(id, &uuid, Err("the agent was stopped".into()));
                    }
                    return Ok(End::Idle);
                }
                None => return Ok(End::Over),
            },
            reason = host.ended() => return Err(AgentError::RelayEnded(reason)),
            () = sleep_until(quiet_at.unwrap_or(idle_at)),
                if running.is_none() && quiet_at.is_some() && !is_quiet => {}
            () = sleep_until(retry_at), if running.is_none() && Instant::now() < retry_at => {}
            () = sleep_until(idle_at), if running.is_none() && !lines.is_busy() => {
                return Ok(End::Idle);
            }
            () = sleep_until(worked_at + hub.settings.background_timeout),
                if running.is_none() && lines.is_busy() && !lines.has_turn() =>
            {
                hub.on_error(id, BACKGROUND_TOO_LONG.to_owned());
                return Ok(End::Idle);
            }
            () = hub.stopping.cancelled() => return Ok(End::Over),
        }
    }
}

/// Hands the next message over, if there is one.
async fn next_turn(
    hub: &Arc<Hub>,
    id: &str,
    client: &Client,
    messages: &mut Messages,
    lines: &mut Lines,
) -> Result<Option<Running>, AgentError> {
    let Some(message) = hub.next_message(id) else { return Ok(None) };
    // The messages are read meanwhile, so that they do not fill up.
    let handed = {
        let recovering = recover::hand_over(hub, id, client, &message);
        tokio::pin!(recovering);
        loop {
            tokio::select! {
                handed = &mut recovering => break handed,
                said = messages.next() => match said {
                    Some(Ok(said)) => on_message(hub, id, said, lines),
                    Some(Err(error)) => return Err(error.into()),
                    None => return Err(ConnectionError::Stopped.into()),
                },
            }
        }
    };
    let (uuid, user_message) = handed;
    if !hub.begin_message(id, &message.uuid, &uuid) {
        return Ok(None);
    }
    hub.when_saved().await;
    let client = client.clone();
    let turn = Box::pin(async move { client.turn(user_message).await?.finish().await });
    Ok(Some(Running { uuid, turn }))
}

/// The end of the turn, or for ever.
async fn turn_of(running: &mut Option<Running>) -> Result<Answer, TurnError> {
    match running {
        Some(running) => running.turn.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Takes what has come and was not read.
fn drain(hub: &Hub, id: &str, messages: &mut Messages, lines: &mut Lines) {
    use futures_util::FutureExt as _;
    while let Some(Some(Ok(message))) = messages.next().now_or_never() {
        on_message(hub, id, message, lines);
    }
}

fn on_message(hub: &Hub, id: &str, message: ServerMessage, lines: &mut Lines) {
    match message {
        ServerMessage::Sdk(line) => lines.on_line(hub, id, &line),
        ServerMessage::PermissionRequest(request) => {
            lines.on_work();
            hub.ask_permission(id, *request);
        }
        ServerMessage::PermissionCancelled(request) => hub.cancel_permission(id, &request),
        ServerMessage::Error { text, .. } => hub.on_error(id, text),
        ServerMessage::Exit(_) => lines.on_exit(),
        ServerMessage::Gap(_) => {
            hub.on_error(id, "some of what the agent said was lost on the way to the hub".into());
        }
        ServerMessage::AgentState(state) => {
            lines.on_state(&state);
            // The agent's own turns, such as the report of a background task. One that
            // runs without a turn begins one, or has ended one and tidies up.
            if state.state == RelayStatus::Running && state.turn.is_some() {
                hub.set_status(id, AgentStatus::Working);
            }
        }
        _ => {}
    }
}

/// Takes what came of a message. Returns the time before the next attempt, if it
/// has failed.
fn on_outcome(
    hub: &Hub,
    id: &str,
    uuid: &str,
    outcome: Result<Answer, TurnError>,
) -> Result<Option<Duration>, AgentError> {
    match outcome {
        Ok(answer) if answer.interrupted => {
            hub.finish_message(id, uuid, Err("the turn was interrupted".into()));
        }
        Ok(answer) if answer.is_error => {
            let errors = answer.errors.join("; ");
            let reason = if errors.is_empty() { answer.text } else { errors };
            hub.on_error(id, reason.clone());
            hub.finish_message(id, uuid, Err(reason));
        }
        Ok(answer) => hub.finish_message(id, uuid, Ok(answer.text)),
        // The relay would refuse it the next time, too.
        Err(
            error @ (TurnError::Refused { .. }
            | TurnError::Send(SendError::InvalidMessage { .. } | SendError::TooBig { .. })),
        ) => {
            hub.on_error(id, error.to_string());
            hub.finish_message(id, uuid, Err(error.to_string()));
        }
        Err(TurnError::Connection(error)) => return Err(error.into()),
        Err(error) => {
            hub.set_status(id, AgentStatus::Idle);
            let attempts = hub.fail_message(id, uuid, &error.to_string());
            return Ok(Some(Backoff::new(RETRY_DELAY, MAX_DELAY).nth(attempts)));
        }
    }
    Ok(None)
}
