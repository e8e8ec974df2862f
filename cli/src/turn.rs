//! Running one turn: messages, Ctrl-C, the clock, approvals.

use std::time::{Duration, Instant};

use claude_relay_client::{Answer, Client, ServerMessage, Turn, UserMessage};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::approvals::Approvals;
use crate::args::TurnArgs;
use crate::connect::describe;
use crate::exit::Exit;
use crate::render::Renderer;
use crate::terminal::{TICK, Terminal};

/// How long the agent may take to end a turn that was interrupted.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(10);

/// How a turn ended.
pub(crate) struct Ended {
    /// What it came to, whole or in part.
    pub(crate) answer: Answer,
    /// How it counts.
    pub(crate) exit: Exit,
    /// In one word, for programs.
    pub(crate) status: &'static str,
    /// Ctrl-C was pressed twice: the program ends, whatever it is.
    pub(crate) leave: bool,
}

impl Ended {
    fn early(answer: Answer, exit: Exit) -> Self {
        Self { answer, exit, status: "failed", leave: false }
    }
}

/// Why a turn is being ended from here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    CtrlC,
    Timeout,
    /// It is of another conversation than the one to go on with.
    Stray,
}

/// Runs one turn to its end and shows it. In another conversation than
/// `resumed` it is stopped: what was asked makes no sense there.
pub(crate) async fn run(
    client: &Client,
    message: UserMessage,
    args: &TurnArgs,
    resumed: Option<&str>,
    renderer: &mut Renderer<'_>,
    terminal: &Terminal,
) -> Ended {
    let started = Instant::now();
    let deadline = (!args.timeout.is_zero()).then(|| started + args.timeout);
    let mut turn = tokio::select! {
        turn = client.turn(message) => match turn {
            Ok(turn) => turn,
            Err(error) => return Ended::early(Answer::default(), error.into()),
        },
        () = at(deadline) => {
            return Ended { status: "timeout", ..Ended::early(Answer::default(), timed_out(args)) };
        }
        _ = tokio::signal::ctrl_c() => {
            let early = Ended::early(Answer::default(), Exit::INTERRUPTED);
            return Ended { status: "interrupted", leave: true, ..early };
        }
    };
    let mut approvals = Approvals::default();
    let mut connection = client.connection();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut quiet_since = started;
    let mut ending: Option<(Ending, Instant)> = None;
    // What the server has said of the turn, which may have ended it.
    let mut remark = None;
    loop {
        tokio::select! {
            biased;
            pressed = tokio::signal::ctrl_c() => {
                if pressed.is_err() || ending.is_some_and(|(why, _)| why == Ending::CtrlC) {
                    let ended = ended(&turn, ending, Exit::INTERRUPTED);
                    return Ended { leave: true, ..ended };
                }
                ending = Some((Ending::CtrlC, interrupt(client)));
                terminal.note("interrupting; Ctrl-C again leaves at once");
            }
            () = at(deadline.filter(|_| ending.is_none())) => {
                ending = Some((Ending::Timeout, interrupt(client)));
            }
            () = at(ending.map(|(_, until)| until)) => {
                return ended(&turn, ending, Exit::failed("the agent does not end the turn"));
            }
            message = turn.next() => match message {
                None => {
                    terminal.clear();
                    return finished(&turn, ending, remark, args);
                }
                Some(Err(error)) => return ended(&turn, ending, error.into()),
                Some(Ok(message)) => {
                    quiet_since = Instant::now();
                    if ending.is_none() && is_stray(&turn, resumed) {
                        ending = Some((Ending::Stray, interrupt(client)));
                    }
                    if let Err(error) = renderer.show(&message) {
                        // Nobody reads the answer: the agent need not go on.
                        let _ = client.interrupt().await;
                        let exit = Exit::failed(format!("cannot write the answer: {error}"));
                        let exit = match error.kind() {
                            std::io::ErrorKind::BrokenPipe => exit.silent(),
                            _ => exit,
                        };
                        return ended(&turn, ending, exit);
                    }
                    match message {
                        ServerMessage::PermissionRequest(request) if args.interactive_approvals => {
                            approvals.add(*request, terminal);
                        }
                        ServerMessage::PermissionRequest(_) => {
                            terminal.complain("denied; --interactive-approvals would ask you");
                        }
                        ServerMessage::Error { text, .. } => remark = Some(text),
                        ServerMessage::PermissionCancelled(id) => approvals.withdraw(&id, terminal),
                        _ => {}
                    }
                }
            },
            (request, decision) = approvals.decided(terminal) => {
                if let Err(error) = client.respond(&request, &decision).await {
                    terminal.complain(&error.to_string());
                }
            }
            changed = connection.changed() => {
                let text = describe(&connection.borrow_and_update());
                match (changed, text) {
                    (Ok(()), Some(text)) => terminal.complain(&text),
                    (Ok(()), None) => {}
                    // The end of the client is the end of the turn, above.
                    (Err(_), _) => connection = client.connection(),
                }
            }
            _ = ticks.tick() => {
                if !approvals.is_asking() && quiet_since.elapsed() > TICK * 3 {
                    terminal.spin(started.elapsed());
                }
            }
        }
    }
}

/// Whether the turn is of another conversation than `resumed`.
fn is_stray(turn: &Turn, resumed: Option<&str>) -> bool {
    let session = turn.answer().session_id.as_deref();
    resumed.is_some_and(|resumed| session.is_some_and(|session| session != resumed))
}

/// Asks the agent to stop, without waiting; says until when it may take.
fn interrupt(client: &Client) -> Instant {
    let client = client.clone();
    tokio::spawn(async move {
        // If it cannot be said, the wait below ends it.
        let _ = client.interrupt().await;
    });
    Instant::now() + INTERRUPT_PATIENCE
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn timed_out(args: &TurnArgs) -> Exit {
    Exit::timeout(format!("the turn took longer than {:?}", args.timeout))
}

fn stray() -> Exit {
    Exit::failed(
        "--resume: the agent does not know this conversation; the turn it began in another is stopped",
    )
}

/// The turn has a result.
fn finished(
    turn: &Turn,
    ending: Option<(Ending, Instant)>,
    remark: Option<String>,
    args: &TurnArgs,
) -> Ended {
    let answer = turn.answer().clone();
    let (exit, status) = match ending {
        Some((Ending::CtrlC, _)) => (Exit::INTERRUPTED, "interrupted"),
        Some((Ending::Timeout, _)) => (timed_out(args), "timeout"),
        Some((Ending::Stray, _)) => (stray(), "failed"),
        // Somebody else interrupted it.
        None if answer.interrupted => {
            let why = remark.map_or_else(String::new, |remark| format!(": {remark}"));
            (Exit::failed(format!("the turn was interrupted{why}")), "interrupted")
        }
        None if answer.is_error => {
            let mut why = answer.errors.join("; ");
            if why.is_empty() {
                why.clone_from(&answer.text);
            }
            (Exit::failed(format!("the turn failed: {why}")), "failed")
        }
        None => (Exit::OK, "completed"),
    };
    Ended { answer, exit, status, leave: false }
}

/// The turn ends without one.
fn ended(turn: &Turn, ending: Option<(Ending, Instant)>, exit: Exit) -> Ended {
    let status = match ending {
        Some((Ending::CtrlC, _)) => "interrupted",
        Some((Ending::Timeout, _)) => "timeout",
        Some((Ending::Stray, _)) | None => "failed",
    };
    let exit = match ending {
        Some((Ending::CtrlC, _)) => Exit::INTERRUPTED,
        Some((Ending::Stray, _)) => stray(),
        _ => exit,
    };
    Ended { answer: turn.answer().clone(), exit, status, leave: false }
}

/// What `--summary` and `--print-session-id` print.
pub(crate) fn report(ended: &Ended, args: &TurnArgs, terminal: &Terminal) {
    let answer = &ended.answer;
    if args.summary {
        let cost =
            answer.total_cost_usd.map_or(String::new(), |cost| format!(", ${cost:.4} so far"));
        terminal.fact(&format!(
            "{:.1} s, {} tokens in, {} out, {} calls{cost}",
            answer.latency.as_secs_f64(),
            answer.usage.input_tokens
                + answer.usage.cache_read_input_tokens
                + answer.usage.cache_creation_input_tokens,
            answer.usage.output_tokens,
            answer.num_turns.unwrap_or(0),
        ));
    }
    if args.print_session_id
        && let Some(id) = &answer.session_id
    {
        terminal.fact(&format!("SESSION_ID={id}"));
    }
}
