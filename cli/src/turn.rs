//! One turn from its message to its end: the deadline, interrupts, how it
//! counts.

use std::time::{Duration, Instant};

use claude_relay_client::{
    Answer, Client, ConnectionError, SendError, ServerMessage, Turn, TurnError, UserMessage, View,
};
use claude_relay_protocol::text::counted;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use crate::args::TurnArgs;
use crate::connect::explain_end;
use crate::exit::Exit;
use crate::server_errors::contains;
use crate::signals::Signal;
use crate::terminal::Terminal;

/// The most time that the agent may take to end a turn that was interrupted.
const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Advice for an agent without a key, or with a wrong one: what it says itself is
/// for its own screen.
const KEY_ADVICE: &str = "Give the server's agent a key: set ANTHROPIC_API_KEY or \
    CLAUDE_CODE_OAUTH_TOKEN for claude-relay-server, or run \
    `claude-relay config set --file -` with {\"anthropicApiKey\":\"…\"} on stdin";

const MODEL_ADVICE: &str = "-m NAME takes another; /model in `claude-relay chat` lists them";

const INTERRUPTED: &str = "the turn was interrupted";

/// The end of a turn.
pub(crate) struct Ended {
    /// The answer, whole or in part.
    pub(crate) answer: Answer,
    /// The end that it means for the program.
    pub(crate) exit: Exit,
    /// In one word, for programs.
    pub(crate) status: &'static str,
    /// The answer's text is no answer: it says why there is none.
    pub(crate) text_is_cause: bool,
}

impl Ended {
    /// The end of a turn for which there was no connection.
    pub(crate) fn without_connection(exit: Exit) -> Self {
        Self { answer: Answer::default(), exit, status: "failed", text_is_cause: false }
    }
}

/// The reason why a turn is being ended from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Signal(Signal),
    Timeout,
    /// It is of another conversation than the one to go on with.
    OtherConversation,
    /// The answer cannot be written.
    Unread,
}

/// An event of a running turn.
pub(crate) enum Event {
    Message(ServerMessage),
    Ended(Box<Ended>),
}

/// A turn under way.
pub(crate) struct Running {
    client: Client,
    state: State,
    pub(crate) started: Instant,
    limit: Duration,
    /// The conversation that it has to belong to.
    resumed: Option<String>,
    /// The reason why it is being ended, and the time limit for that.
    ending: Option<(Ending, Instant)>,
    /// The last error that the server has told, which may have ended the turn.
    remark: Option<String>,
}

enum State {
    /// The server has not confirmed the message yet.
    Sending(JoinHandle<Result<Turn, SendError>>),
    Turn(Box<Turn>),
}

impl Running {
    /// Sends the message, without waiting until the server has it.
    pub(crate) fn start(
        client: &Client,
        message: UserMessage,
        args: &TurnArgs,
        resumed: Option<&str>,
    ) -> Self {
        let to = client.clone();
        // A person follows it who answers questions.
        let shows_all = args.interactive_approvals;
        let sending = async move {
            let mut turn = to.turn(message).await?;
            if shows_all {
                turn.release();
            }
            Ok(turn)
        };
        Self {
            client: client.clone(),
            state: State::Sending(tokio::spawn(sending)),
            started: Instant::now(),
            limit: args.timeout,
            resumed: resumed.map(str::to_owned),
            ending: None,
            remark: None,
        }
    }

    /// Returns the reason why it is being ended, if it is.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending.map(|(why, _)| why)
    }

    /// Asks the agent to stop, without waiting for it. A message that is still on
    /// its way is not overtaken: the interrupt would be for nothing.
    pub(crate) fn stop(&mut self, why: Ending) {
        if let State::Turn(_) = self.state {
            interrupt(&self.client);
        }
        self.ending = Some((why, Instant::now() + INTERRUPT_TIMEOUT));
    }

    /// The next message of the turn, or its end. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let deadline =
                (!self.limit.is_zero() && self.ending.is_none()).then(|| self.started + self.limit);
            let unanswered = self.ending.map(|(_, until)| until);
            tokio::select! {
                biased;
                () = at(deadline) => self.stop(Ending::Timeout),
                () = at(unanswered) => {
                    let exit = match self.ending() {
                        Some(Ending::Timeout) => timed_out(self.limit),
                        _ => Exit::left_running(
                            "the agent does not end the turn, which may still run at the server",
                        ),
                    };
                    return Event::Ended(Box::new(self.ended(exit)));
                }
                message = self.state.next(self.ending.map(|_| &self.client)) => return match message {
                    None => Event::Ended(Box::new(self.finished())),
                    Some(Err(error)) => {
                        let exit = self.early_exit().unwrap_or_else(|| self.failed(error));
                        Event::Ended(Box::new(self.ended(exit)))
                    }
                    Some(Ok(message)) => {
                        if self.ending.is_none() && self.is_of_another_conversation() {
                            self.stop(Ending::OtherConversation);
                        }
                        if let ServerMessage::Error { text, .. } = &message {
                            self.remark = Some(text.clone());
                        }
                        Event::Message(message)
                    }
                },
            }
        }
    }

    /// The end of a turn that is given up.
    pub(crate) fn abandoned(&self, exit: Exit) -> Ended {
        self.ended(exit)
    }

    fn is_of_another_conversation(&self) -> bool {
        let session = match &self.state {
            State::Sending(_) => None,
            State::Turn(turn) => turn.conversation(),
        };
        let resumed = self.resumed.as_deref();
        resumed.is_some_and(|resumed| session.is_some_and(|session| session != resumed))
    }

    /// The exit code of a turn that was ended from here.
    fn early_exit(&self) -> Option<Exit> {
        self.ending().map(|why| match why {
            Ending::Signal(signal) => signal.exit(),
            Ending::Timeout => timed_out(self.limit),
            Ending::OtherConversation => other_conversation(),
            Ending::Unread => Exit::failed("the answer could not be written"),
        })
    }

    /// The turn has failed without a result. Where the server has told the same, it
    /// has also said what comes next.
    fn failed(&self, error: TurnError) -> Exit {
        let remark = self.remark.clone();
        let told = match &error {
            TurnError::AgentExited { .. } => remark,
            TurnError::Undelivered { reason } => remark.filter(|told| contains(told, reason)),
            TurnError::ServerRestarted | TurnError::MessagesLost => Some(self.lost(&error)),
            _ => None,
        };
        let exit = match error {
            TurnError::Connection(error) => explain_end(error),
            error => error.into(),
        };
        match told {
            Some(told) => exit.saying(told),
            None => exit,
        }
    }

    /// Says where the rest of a turn is found whose end has been missed.
    fn lost(&self, error: &TurnError) -> String {
        let id = self.answer().and_then(|answer| answer.session_id.as_deref()).unwrap_or("ID");
        format!(
            "{error}; `claude-relay conversations {id}` shows how far it came, `-r {id}` goes on with it"
        )
    }

    /// The turn has a result.
    fn finished(&mut self) -> Ended {
        let answer = self.answer().cloned().unwrap_or_default();
        let mut text_is_cause = false;
        let (exit, status) = match self.early_exit() {
            Some(exit) => (exit, self.status()),
            // Somebody else interrupted it.
            None if answer.interrupted => {
                let told = match self.remark.take() {
                    None => INTERRUPTED.to_owned(),
                    Some(why) if contains(&why, INTERRUPTED) => why,
                    Some(why) => format!("{INTERRUPTED}: {why}"),
                };
                (Exit::failed(told), "interrupted")
            }
            None if answer.is_error => {
                let mut why = answer.errors.join("; ");
                if why.is_empty() {
                    why.clone_from(&answer.text);
                    text_is_cause = !why.is_empty();
                }
                if why.is_empty() {
                    why = kind_of_end(&answer).unwrap_or_else(|| "no reason is told".to_owned());
                }
                (Exit::failed(format!("the turn failed: {}", with_advice(&why))), "failed")
            }
            None => (Exit::OK, "completed"),
        };
        Ended { answer, exit, status, text_is_cause }
    }

    /// The turn ends without one.
    fn ended(&self, exit: Exit) -> Ended {
        let answer = self.answer().cloned().unwrap_or_default();
        Ended { answer, exit, status: self.status(), text_is_cause: false }
    }

    fn answer(&self) -> Option<&Answer> {
        match &self.state {
            State::Sending(_) => None,
            State::Turn(turn) => Some(turn.answer()),
        }
    }

    fn status(&self) -> &'static str {
        match self.ending() {
            Some(Ending::Signal(_)) => "interrupted",
            Some(Ending::Timeout) => "timeout",
            Some(Ending::OtherConversation | Ending::Unread) | None => "failed",
        }
    }
}

impl State {
    /// The next message of the turn, which is interrupted through `stopped` as soon
    /// as it exists. Cancelling it loses nothing.
    async fn next(&mut self, stopped: Option<&Client>) -> Option<Result<ServerMessage, TurnError>> {
        if let Self::Sending(sending) = self {
            match sending.await {
                Ok(Ok(turn)) => {
                    *self = Self::Turn(Box::new(turn));
                    stopped.into_iter().for_each(interrupt);
                }
                Ok(Err(error)) => return Some(Err(error.into())),
                Err(_) => return Some(Err(ConnectionError::Stopped.into())),
            }
        }
        match self {
            Self::Turn(turn) => turn.next().await,
            Self::Sending(_) => None,
        }
    }
}

fn interrupt(client: &Client) {
    let client = client.clone();
    tokio::spawn(async move {
        // If it cannot be said, the time limit ends it.
        let _ = client.interrupt().await;
    });
}

impl Drop for Running {
    fn drop(&mut self) {
        // A message that is still here is not sent any more.
        if let State::Sending(sending) = &self.state {
            sending.abort();
        }
    }
}

/// The end of a turn in the agent's own word, such as `error_max_turns`.
fn kind_of_end(answer: &Answer) -> Option<String> {
    answer.result.as_ref()?.views().into_iter().find_map(|view| match view {
        View::TurnFinished(finished) => Some(finished.subtype.into_owned()),
        _ => None,
    })
}

/// The reason of a failed turn. Where Claude Code wants another key, it names a way
/// that is not there; the ways that are take its place.
fn with_advice(why: &str) -> String {
    match why.split_once(" · ") {
        Some((reason, way)) if way.contains("/login") || way.contains("API key") => {
            format!("{reason}\n{KEY_ADVICE}")
        }
        _ if why.contains("selected model") => format!("{why}\n{MODEL_ADVICE}"),
        _ => why.to_owned(),
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn timed_out(limit: Duration) -> Exit {
    Exit::timeout(format!("the turn took longer than {limit:?}"))
}

fn other_conversation() -> Exit {
    Exit::failed(
        "--resume: the agent does not know this conversation; the turn it began in another is stopped. \
         `claude-relay conversations` lists those it knows",
    )
}

/// Prints what `--summary` and `--print-session-id` ask for.
pub(crate) fn report(ended: &Ended, args: &TurnArgs, terminal: &Terminal) {
    let answer = &ended.answer;
    if args.summary {
        let cost =
            answer.total_cost_usd.map_or(String::new(), |cost| format!(", ${cost:.4} so far"));
        terminal.fact(&format!(
            "{:.1} s, {} in, {} out, {}{cost}",
            answer.latency.as_secs_f64(),
            counted(
                answer.usage.input_tokens
                    + answer.usage.cache_read_input_tokens
                    + answer.usage.cache_creation_input_tokens,
                "token"
            ),
            answer.usage.output_tokens,
            counted(answer.num_turns.unwrap_or(0), "call"),
        ));
    }
    if args.print_session_id
        && let Some(id) = &answer.session_id
    {
        terminal.fact(&format!("SESSION_ID={id}"));
    }
}
