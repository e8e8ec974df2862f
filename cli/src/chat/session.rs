//! The loop of a chat. One subscription shows everything that the agent says,
//! in its own turns and in those that it begins by itself.

use std::time::{Duration, Instant};

use claude_relay_client::{
    Client, ConnectionError, ConnectionState, Error, Messages, SdkMessage, ServerMessage,
    UserMessage, View,
};
use claude_relay_protocol::text::counted;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::commands::{Command, Done, HELP, Remote};
use super::input::{Entry, Input};
use crate::args::{ChatArgs, ServerArgs};
use crate::connect::{Breaks, Trouble, explain_end};
use crate::dialog::{Request, shows_itself};
use crate::exit::{Exit, with_causes};
use crate::person::{self, Person};
use crate::render::Renderer;
use crate::signals::{Signal, Signals};
use crate::terminal::{TICK, Terminal};
use crate::turn::{Ended, Ending, Event, Running, report};

/// How long an unfinished line of the agent stands before the prompt comes
/// below it.
const UNFINISHED_LINE: Duration = Duration::from_millis(500);

pub(super) struct Session<'a> {
    pub(super) client: Client,
    pub(super) args: &'a ChatArgs,
    /// The server's address as it is told.
    pub(super) url: &'a str,
    pub(super) terminal: &'a Terminal,
    renderer: Renderer<'a>,
    person: Person,
    messages: Messages,
    /// The turn of the last line.
    running: Option<Running>,
    /// The command of the last line.
    pub(super) command: Option<JoinHandle<Result<Done, Error>>>,
    /// The agent works without having been asked.
    own_turn: bool,
    quiet_since: Instant,
    pub(super) session_id: Option<String>,
    pub(super) model: Option<String>,
    pub(super) permission_mode: Option<String>,
    /// What the conversation has cost so far, in US dollars.
    pub(super) cost: Option<f64>,
    /// The end of the program, once the turn has ended.
    leaving: Option<Exit>,
    /// The last key at the prompt was Ctrl-C, and the next one leaves.
    leaves_next: bool,
    trouble: Trouble,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        client: &Client,
        args: &'a ChatArgs,
        server: &'a ServerArgs,
        terminal: &'a Terminal,
        person: Person,
    ) -> Self {
        Self {
            client: client.clone(),
            args,
            url: server.told_url(),
            terminal,
            renderer: Renderer::drawing(terminal, server.verbose > 0),
            person,
            messages: client.messages(),
            running: None,
            command: None,
            own_turn: false,
            quiet_since: Instant::now(),
            session_id: None,
            model: None,
            permission_mode: None,
            cost: None,
            leaving: None,
            leaves_next: false,
            trouble: Trouble::default(),
        }
    }

    /// Runs until the input or the connection ends, or somebody leaves.
    pub(super) async fn run(&mut self, input: &mut Input, signals: &mut Signals) -> Exit {
        let mut connection = self.client.connection();
        let mut breaks = Breaks::default();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        if !input.is_piped() {
            self.greet().await;
        }
        if !self.args.turn.goes_on() {
            self.remote(Remote::BeginAnew);
        }
        loop {
            if !self.is_busy() {
                if let Some(exit) = self.leaving.take() {
                    self.hide(input);
                    return exit;
                }
                if let Some(entry) = input.next() {
                    self.hide(input);
                    if let Some(exit) = self.begin(entry) {
                        return exit;
                    }
                    continue;
                }
            }
            self.show(input);
            let has_room = input.has_room() || self.person.is_asked();
            tokio::select! {
                biased;
                signal = signals.next_or_continued() => match signal {
                    None => {
                        self.person.resume();
                        if let Some(console) = self.person.console() {
                            input.redraw(console);
                        }
                    }
                    Some(signal) => if let Some(exit) = self.signal(signal, input) {
                        return exit;
                    },
                },
                message = self.messages.next() => match message {
                    Some(Ok(message)) => if let Some(exit) = self.message(message, input) {
                        return exit;
                    },
                    Some(Err(error)) => return self.connection_ended(error, input),
                    None => return self.connection_ended(ConnectionError::Stopped, input),
                },
                event = next_event(&mut self.running) => if let Event::Ended(ended) = event {
                    self.hide(input);
                    self.turn_ended(*ended).await;
                },
                done = finished(&mut self.command) => {
                    self.hide(input);
                    self.command_done(done);
                }
                from = self.person.next(has_room) => match from {
                    person::Input::Key(key) => {
                        self.leaves_next = false;
                        if self.person.is_asked() {
                            let behind = self.person.press(key, &self.client, self.terminal);
                            input.type_ahead(behind);
                        } else if !input.is_piped() {
                            input.press(key, self.person.console());
                        }
                    }
                    person::Input::ReplyFailed(error) => {
                        self.hide(input);
                        self.terminal.complain(&with_causes(&error));
                    }
                },
                key = input.piped_key(), if input.has_room() => input.press(key, None),
                changed = connection.changed() => {
                    let text = breaks.describe(&connection.borrow_and_update());
                    match (changed, text) {
                        (Ok(()), Some(text)) => {
                            self.hide(input);
                            self.terminal.complain(&text);
                        }
                        (Ok(()), None) => {}
                        // The end of the client is the end of the messages, above.
                        (Err(_), _) => connection = self.client.connection(),
                    }
                }
                _ = ticks.tick() => self.tick(input),
            }
        }
    }

    /// Returns true while a line is being dealt with.
    fn is_busy(&self) -> bool {
        self.running.is_some() || self.command.is_some()
    }

    /// Takes question and prompt off the screen.
    fn hide(&mut self, input: &mut Input) {
        self.terminal.clear();
        self.person.hide();
        if let Some(console) = self.person.console() {
            input.hide(console);
        }
    }

    /// Shows the question, or else the prompt if a line is wanted.
    fn show(&mut self, input: &mut Input) {
        if self.person.is_asked() {
            self.person.show();
            return;
        }
        let settled =
            self.terminal.is_at_line_start() || self.quiet_since.elapsed() > UNFINISHED_LINE;
        if !self.is_busy()
            && !input.is_piped()
            && settled
            && let Some(console) = self.person.console()
        {
            let _ = self.renderer.end_line();
            input.show(console);
        }
    }

    fn tick(&mut self, input: &mut Input) {
        self.renderer.tell_late_errors();
        if let Some(text) = self.trouble.describe(&self.client) {
            self.hide(input);
            self.terminal.complain(&text);
        }
        if let Some(running) = &self.running
            && !self.person.is_asked()
            && self.quiet_since.elapsed() > TICK * 3
        {
            self.terminal.spin(running.started.elapsed());
        }
    }

    /// Does what a line says. `Some` ends the program.
    fn begin(&mut self, entry: Entry) -> Option<Exit> {
        let line = match entry {
            Entry::Line(line) => line,
            Entry::TypedAhead(line) => {
                if let Some(console) = self.person.console() {
                    Input::show_line(&line, console);
                }
                line
            }
            Entry::End => return Some(Exit::OK),
        };
        match Command::read(&line) {
            Command::Leave => return Some(Exit::OK),
            Command::Help => self.terminal.fact(HELP),
            Command::ShowSession => {
                self.terminal.fact(self.session_id.as_deref().unwrap_or("no conversation yet"));
            }
            Command::ShowCost => self.terminal.fact(&match self.cost {
                Some(cost) => format!("${cost:.4} so far"),
                None => "not known before a turn".to_owned(),
            }),
            Command::Remote(remote) => self.remote(remote),
            Command::Message(text) => self.turn(&text),
        }
        None
    }

    fn remote(&mut self, remote: Remote) {
        self.command = Some(tokio::spawn(remote.run(self.client.clone())));
    }

    pub(super) fn turn(&mut self, text: &str) {
        self.renderer.begin_turn();
        self.quiet_since = Instant::now();
        let message = UserMessage::text(text);
        self.running = Some(Running::start(&self.client, message, &self.args.turn, None));
    }

    async fn turn_ended(&mut self, ended: Ended) {
        // Turn and messages come from one connection: what is here by now is
        // all of the turn.
        loop {
            let message = tokio::select! {
                biased;
                Some(Ok(message)) = self.messages.next() => message,
                () = std::future::ready(()) => break,
            };
            // A screen that is gone is seen with the next message.
            let _ = self.render(&message);
        }
        self.running = None;
        if !self.renderer.printed && ended.exit.message().is_none() {
            // An answer that is only in the result, such as that of a command.
            let _ = self.renderer.answer(&ended.answer.text);
        }
        let _ = self.renderer.end_line();
        report(&ended, &self.args.turn, self.terminal);
        if let Some(id) = &ended.answer.session_id {
            self.session_id = Some(id.clone());
        }
        if let Some(model) = &ended.answer.model {
            self.model = Some(model.clone());
        }
        self.cost = ended.answer.total_cost_usd.or(self.cost);
        let exit = if self.renderer.end_turn(ended.exit.message()) {
            ended.exit.silent()
        } else {
            ended.exit
        };
        match &mut self.leaving {
            Some(leaving) => *leaving = exit,
            None => self.failed(exit),
        }
    }

    /// A failed turn is no reason to leave; the end of the client is.
    pub(super) fn failed(&mut self, exit: Exit) {
        if matches!(*self.client.connection().borrow(), ConnectionState::Ended(_)) {
            self.leaving = Some(exit);
        } else if let Some(message) = exit.message() {
            self.terminal.complain(message);
        }
    }

    fn connection_ended(&mut self, error: ConnectionError, input: &mut Input) -> Exit {
        self.hide(input);
        let _ = self.renderer.end_line();
        let exit = self.leaving.take().unwrap_or_else(|| explain_end(error));
        if self.renderer.end_turn(exit.message()) { exit.silent() } else { exit }
    }

    /// Shows a message. `Some` ends the program.
    fn message(&mut self, message: ServerMessage, input: &mut Input) -> Option<Exit> {
        self.quiet_since = Instant::now();
        self.hide(input);
        if let Err(error) = self.render(&message) {
            return Some(Exit::unwritten(&error));
        }
        match message {
            ServerMessage::PermissionRequest(request) if self.asks(input) => {
                let request = Request::Permission(*request);
                input.type_ahead(self.person.ask(request, &self.client, self.terminal));
            }
            ServerMessage::AgentRequest(request) => {
                let request = Request::Agent(*request);
                input.type_ahead(self.person.ask(request, &self.client, self.terminal));
            }
            ServerMessage::PermissionRequest(_) => {
                self.terminal.complain("denied; --interactive-approvals would ask you");
            }
            ServerMessage::PermissionCancelled(id) | ServerMessage::AgentRequestCancelled(id) => {
                input.type_ahead(self.person.withdraw(&id, self.terminal));
            }
            _ => {}
        }
        None
    }

    fn asks(&self, input: &Input) -> bool {
        self.args.turn.interactive_approvals || !input.is_piped()
    }

    fn render(&mut self, message: &ServerMessage) -> std::io::Result<()> {
        match message {
            ServerMessage::Sdk(message) => {
                self.person.look_at(message);
                self.look_at(message);
            }
            ServerMessage::PermissionRequest(request) if shows_itself(request) => return Ok(()),
            ServerMessage::Exit(_) => self.own_turn = false,
            ServerMessage::AgentState(state) => self.note_state(state),
            _ => {}
        }
        self.renderer.show(message)
    }

    /// Follows the turns that the agent begins by itself.
    fn look_at(&mut self, message: &SdkMessage) {
        if self.running.is_some() {
            return;
        }
        for view in message.views() {
            match view {
                View::SessionStarted(started) => {
                    if !self.own_turn {
                        self.terminal.note("· the agent goes on by itself");
                    }
                    self.own_turn = true;
                    self.session_id = Some(started.session_id.into_owned());
                }
                View::TurnFinished(_) => {
                    self.own_turn = false;
                    let _ = self.renderer.end_line();
                }
                _ => {}
            }
        }
    }

    /// `Some` ends the program at once.
    fn signal(&mut self, signal: Signal, input: &mut Input) -> Option<Exit> {
        let was_asked = self.person.stop(&self.client);
        if signal != Signal::Interrupt {
            self.hide(input);
            if self.leaving.is_some() || !self.is_busy() {
                return Some(signal.exit());
            }
            self.leaving = Some(signal.exit());
        }
        if let Some(command) = self.command.take() {
            command.abort();
        }
        if let Some(running) = &mut self.running {
            if signal == Signal::Interrupt && running.ending().is_some() {
                return Some(signal.exit());
            }
            running.stop(Ending::Signal(signal));
            self.terminal.note("interrupting; Ctrl-C again leaves at once");
            if !input.is_piped() {
                match input.drop_waiting() {
                    0 => {}
                    count => self
                        .terminal
                        .note(&format!("dropped, typed ahead: {}", counted(count, "line"))),
                }
            }
            return None;
        }
        if self.leaving.is_some() {
            return None;
        }
        if input.is_piped() {
            return Some(signal.exit());
        }
        if was_asked || self.own_turn {
            self.own_turn = false;
            self.hide(input);
            self.terminal.note("interrupting the agent");
            let client = self.client.clone();
            tokio::spawn(async move {
                // The connection tells of its own failures.
                let _ = client.interrupt().await;
            });
        } else if input.drop_line(self.person.console()) {
            // With nothing to stop, Ctrl-C drops the line.
        } else if self.leaves_next {
            self.hide(input);
            return Some(signal.exit());
        } else {
            self.leaves_next = true;
            self.hide(input);
            self.terminal.note("Ctrl-C again leaves");
        }
        None
    }
}

async fn next_event(running: &mut Option<Running>) -> Event {
    match running {
        Some(running) => running.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for the command that runs; for ever if none does.
async fn finished(command: &mut Option<JoinHandle<Result<Done, Error>>>) -> Result<Done, Error> {
    match command {
        Some(command) => command.await.unwrap_or(Ok(Done::Nothing)),
        None => std::future::pending().await,
    }
}
