//! One turn: a message, and what comes until its result.

use std::time::{Duration, Instant};

use crate::api::client::Client;
use crate::api::messages::Messages;
use crate::error::Error;
use crate::types::message::{Exit, SdkMessage, ServerMessage};
use crate::types::user_message::UserMessage;
use crate::types::view::{Usage, View};

impl Client {
    /// Sends a message and gives what comes until its result.
    ///
    /// An agent merges what it is sent while it is busy. Where it names the
    /// messages that a result answers, that is how the turn's end is found;
    /// older ones do not, and then the next result ends it.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut turn = client.turn("What is in this directory?").await?;
    /// while let Some(message) = turn.next().await {
    ///     println!("{:?}", message?);
    /// }
    /// println!("{}", turn.answer().text);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn turn(&self, message: impl Into<UserMessage>) -> Result<Turn, Error> {
        let message = message.into();
        let frame = message.frame()?;
        // What comes before the message is written is not of its turn.
        let queue = self.inner.driver.queue();
        let messages = Messages::of_turn(self, &queue);
        let receipt = self.inner.driver.send_message(frame, Some(queue)).await?;
        Ok(Turn::new(messages, message.id, receipt.first_new))
    }

    /// Sends a message and waits for the result of its turn.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = client.ask("What is in this directory?").await?;
    /// println!("{}", answer.text);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send) and [`Turn::next`]. A turn that failed is
    /// an answer: see [`Answer::is_error`].
    pub async fn ask(&self, message: impl Into<UserMessage>) -> Result<Answer, Error> {
        self.turn(message).await?.finish().await
    }
}

/// A running turn: see [`Client::turn`]. Gives every message from the sending
/// on, the result last.
///
/// Like [`Messages`], it holds up the others while it is not read. Dropping it
/// does not stop the agent: [`Client::interrupt`] does.
#[derive(Debug)]
pub struct Turn {
    messages: Messages,
    /// The id of our message, which newer agents name in the result.
    id: Option<String>,
    /// The first frame that can be of this turn: what has a lower number was
    /// said before and is only being repeated.
    first: u64,
    state: State,
    answer: Answer,
    /// Tokens told before the end of the turn, and in how many calls.
    used: Usage,
    calls: u64,
    /// Messages that the turn which runs has taken up, where the agent says so
    /// before its end and not in it.
    taken_up: Vec<String>,
    started: Instant,
}

#[derive(Debug)]
enum State {
    Running,
    Failed(Error),
    Finished,
}

/// What a turn came to.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The conversation; give it to `resume` to go on with it another time.
    pub session_id: Option<String>,
    /// The model, as the agent names it.
    pub model: Option<String>,
    /// The agent's last text; what went wrong, if the turn failed.
    pub text: String,
    /// The answer in the form that `outputFormat` asked for, as JSON.
    pub structured_output: Option<String>,
    /// Whether the turn failed.
    pub is_error: bool,
    /// Whether somebody interrupted it.
    pub interrupted: bool,
    /// What went wrong inside the agent, in its words.
    pub errors: Vec<String>,
    /// The tokens of this turn.
    pub usage: Usage,
    /// What the agent's process has cost so far, in US dollars.
    pub total_cost_usd: Option<f64>,
    /// How many calls of the model it took.
    pub num_turns: Option<u64>,
    /// From the sending to the result, as seen from here.
    pub latency: Duration,
    /// The result as it came.
    pub result: Option<SdkMessage>,
}

impl Turn {
    fn new(messages: Messages, id: Option<String>, first: u64) -> Self {
        Self {
            messages,
            id,
            first,
            state: State::Running,
            answer: Answer::default(),
            used: Usage::default(),
            calls: 0,
            taken_up: Vec::new(),
            started: Instant::now(),
        }
    }

    /// The next message of the turn; `None` after its result.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::ServerMessage;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut turn = client.turn("What is here?").await?;
    /// while let Some(message) = turn.next().await {
    ///     if let ServerMessage::Sdk(message) = message? {
    ///         println!("{}", message.frame());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The reason why no result can come any more: the connection ended, the
    /// agent ended, messages are missing, the server refused the message.
    pub async fn next(&mut self) -> Option<Result<ServerMessage, Error>> {
        match &self.state {
            State::Finished => return None,
            State::Failed(error) => {
                let error = error.clone();
                self.state = State::Finished;
                return Some(Err(error));
            }
            State::Running => {}
        }
        let message = loop {
            match self.messages.next().await {
                Some(Ok(message)) if self.is_past(&message) => {}
                Some(Ok(message)) => break message,
                Some(Err(error)) => {
                    self.state = State::Finished;
                    return Some(Err(error));
                }
                None => {
                    self.state = State::Finished;
                    return Some(Err(Error::Stopped));
                }
            }
        };
        self.look_at(&message);
        Some(Ok(message))
    }

    /// Whether it was said before this turn, and is only repeated for a client
    /// that has come back.
    fn is_past(&self, message: &ServerMessage) -> bool {
        let seq = match message {
            ServerMessage::Sdk(message) => message.seq(),
            ServerMessage::Exit(exit) => exit.seq,
            ServerMessage::Error { seq, .. } => *seq,
            ServerMessage::Gap(gap) => gap.to,
            _ => None,
        };
        seq.is_some_and(|seq| seq < self.first)
    }

    /// What the turn has come to so far; whole after its end.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut turn = client.turn("What is here?").await?;
    /// while let Some(message) = turn.next().await {
    ///     message?;
    /// }
    /// println!("{}", turn.answer().usage.output_tokens);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Waits for the result.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = client.turn("What is here?").await?.finish().await?;
    /// assert!(!answer.is_error);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`next`](Self::next). A turn that failed is an answer and no
    /// error: see [`Answer::is_error`].
    pub async fn finish(mut self) -> Result<Answer, Error> {
        while let Some(message) = self.next().await {
            message?;
        }
        Ok(self.answer)
    }

    fn look_at(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Sdk(message) => self.look_at_line(message),
            ServerMessage::Exit(Exit { code, signal, stderr, .. }) => {
                self.state = State::Failed(Error::AgentExited {
                    code: *code,
                    signal: signal.clone(),
                    stderr: stderr.clone(),
                });
            }
            ServerMessage::Error { text, seq: None } => {
                self.state = State::Failed(Error::MessageRefused(text.clone()));
            }
            ServerMessage::Restarted { .. } => {
                self.state = State::Failed(Error::ServerRestarted);
            }
            ServerMessage::Gap(_) => {
                self.state = State::Failed(Error::lost(
                    "messages of this turn are missing, perhaps its result",
                ));
            }
            _ => {}
        }
    }

    fn look_at_line(&mut self, message: &SdkMessage) {
        for view in message.views() {
            match view {
                View::SessionStarted(session) => {
                    self.answer.session_id = Some(session.session_id.into_owned());
                    if let Some(model) = session.model {
                        self.answer.model = Some(model.into_owned());
                    }
                }
                View::Text { text, parent: None } => self.answer.text = text.into_owned(),
                // An agent can take a message into the running turn, whose
                // result then does not name it.
                View::MessageProgress { message_id, state }
                    if self.answer.result.is_some()
                        && Some(&*message_id) == self.id.as_deref()
                        && matches!(&*state, "completed" | "cancelled") =>
                {
                    self.state = State::Finished;
                }
                View::MessageProgress { message_id, state } if state == "started" => {
                    self.taken_up.push(message_id.into_owned());
                }
                View::TokensUsed(used) => {
                    self.used.input_tokens += used.input_tokens;
                    self.used.output_tokens += used.output_tokens;
                    self.used.cache_read_input_tokens += used.cache_read_input_tokens;
                    self.used.cache_creation_input_tokens += used.cache_creation_input_tokens;
                    self.calls += 1;
                }
                View::TurnFinished(finished) => {
                    let used = std::mem::take(&mut self.used);
                    let calls = std::mem::take(&mut self.calls);
                    let taken_up = std::mem::take(&mut self.taken_up);
                    let answer = &mut self.answer;
                    answer.is_error = finished.is_error;
                    answer.interrupted = finished.is_interrupted();
                    answer.errors = finished.errors.iter().map(|error| error.to_string()).collect();
                    answer.usage = if calls > 0 { used } else { finished.usage };
                    answer.total_cost_usd = finished.total_cost_usd;
                    answer.num_turns = finished.num_turns.or((calls > 0).then_some(calls));
                    answer.structured_output =
                        finished.structured_output.map(|value| value.get().to_owned());
                    answer.latency = self.started.elapsed();
                    if let Some(id) = &finished.session_id {
                        answer.session_id = Some(id.to_string());
                    }
                    if let Some(result) = &finished.result {
                        answer.text = result.to_string();
                    }
                    answer.result = Some(message.clone());
                    let ours = match (&finished.user_message_ids, &self.id) {
                        (Some(ids), Some(ours)) => ids.iter().any(|id| *id == **ours),
                        (None, Some(ours)) if calls > 0 && !taken_up.is_empty() => {
                            taken_up.contains(ours)
                        }
                        _ => true,
                    };
                    if ours {
                        self.state = State::Finished;
                    }
                }
                _ => {}
            }
        }
    }
}
