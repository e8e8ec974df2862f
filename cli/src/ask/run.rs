//! The one turn of `ask`: its messages, signals and questions.

use std::time::Instant;

use claude_relay_client::{Client, ServerMessage, UserMessage};
use tokio::time::{MissedTickBehavior, interval};

use super::notifications::Notifications;
use super::report::Denial;
use crate::args::TurnArgs;
use crate::connect::{Breaks, Trouble};
use crate::dialog::{Request, shows_itself};
use crate::exit::{Exit, with_causes};
use crate::person::{Input, Person};
use crate::render::Renderer;
use crate::signals::Signals;
use crate::terminal::{TICK, Terminal};
use crate::turn::{Ended, Ending, Event, Running};

/// The most denials that are told where the agent does not name them itself.
const MAX_DENIALS: usize = 200;

/// What was seen of a turn beside its answer.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) denials: Vec<Denial>,
    pub(super) notifications: Notifications,
}

/// Runs one turn to its end and shows it.
pub(super) async fn run(
    client: &Client,
    message: UserMessage,
    args: &TurnArgs,
    renderer: &mut Renderer<'_>,
    terminal: &Terminal,
    signals: &mut Signals,
) -> (Ended, Seen) {
    let mut seen = Seen::default();
    renderer.begin_turn();
    let ended = follow(client, message, args, renderer, terminal, signals, &mut seen).await;
    seen.denials = Denial::of_turn(&ended.answer, seen.denials);
    (ended, seen)
}

async fn follow(
    client: &Client,
    message: UserMessage,
    args: &TurnArgs,
    renderer: &mut Renderer<'_>,
    terminal: &Terminal,
    signals: &mut Signals,
    seen: &mut Seen,
) -> Ended {
    let resumed = args.resume.as_deref();
    let mut running = Running::start(client, message, args, resumed);
    let mut person = Person::new();
    let mut connection = client.connection();
    let mut breaks = Breaks::default();
    let mut trouble = Trouble::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut quiet_since = running.started;
    loop {
        tokio::select! {
            biased;
            signal = signals.next_or_continued() => match signal {
                None => person.resume(),
                Some(signal) => {
                    person.stop(client);
                    if let Some(Ending::Signal(_)) = running.ending() {
                        return running.abandoned(signal.exit());
                    }
                    running.stop(Ending::Signal(signal));
                    terminal.note("interrupting; Ctrl-C again leaves at once");
                }
            },
            event = running.next() => match event {
                Event::Ended(ended) => {
                    person.hide();
                    terminal.clear();
                    return *ended;
                }
                Event::Message(message) => {
                    quiet_since = Instant::now();
                    seen.notifications.add(&message);
                    person.hide();
                    if let Err(exit) = show(&message, renderer) {
                        // Nobody reads the answer: the agent need not go on.
                        running.stop(Ending::Unread);
                        let _ = client.interrupt().await;
                        return running.abandoned(exit);
                    }
                    match message {
                        ServerMessage::Sdk(message) => person.look_at(&message),
                        ServerMessage::PermissionRequest(request) if args.interactive_approvals => {
                            // There is no use here for keys typed before.
                            person.ask(Request::Permission(*request), client, terminal);
                        }
                        ServerMessage::AgentRequest(request) => {
                            person.ask(Request::Agent(*request), client, terminal);
                        }
                        ServerMessage::PermissionRequest(request) => {
                            if seen.denials.len() < MAX_DENIALS {
                                seen.denials.push(Denial::new(&request.tool, &request.input));
                            }
                            terminal.complain("denied; --interactive-approvals would ask you");
                        }
                        ServerMessage::PermissionCancelled(id)
                        | ServerMessage::AgentRequestCancelled(id) => {
                            person.withdraw(&id, terminal);
                        }
                        _ => {}
                    }
                    person.show();
                }
            },
            input = person.next(true) => match input {
                Input::Key(key) => {
                    person.press(key, client, terminal);
                }
                Input::ReplyFailed(error) => terminal.complain(&with_causes(&error)),
            },
            changed = connection.changed() => {
                let text = breaks.describe(&connection.borrow_and_update());
                match (changed, text) {
                    (Ok(()), Some(text)) => {
                        person.hide();
                        terminal.complain(&text);
                        person.show();
                    }
                    (Ok(()), None) => {}
                    // The end of the client is the end of the turn, above.
                    (Err(_), _) => connection = client.connection(),
                }
            }
            _ = ticks.tick() => {
                renderer.tell_late_errors();
                if let Some(text) = trouble.describe(client) {
                    person.hide();
                    terminal.complain(&text);
                    person.show();
                }
                if !person.is_asked() && quiet_since.elapsed() > TICK * 3 {
                    terminal.spin(running.started.elapsed());
                }
            }
        }
    }
}

fn show(message: &ServerMessage, renderer: &mut Renderer<'_>) -> Result<(), Exit> {
    if let ServerMessage::PermissionRequest(request) = message
        && shows_itself(request)
    {
        return Ok(());
    }
    renderer.show(message).map_err(|error| Exit::unwritten(&error))
}
