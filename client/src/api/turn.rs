//! One turn: a message, and what comes until its result.

use std::collections::VecDeque;

use claude_relay_protocol::server_message::TAKEN_OVER;
use claude_relay_protocol::turns::{Finish, QUIET, TurnEvent};
use tokio::time::{Instant, timeout_at};

use crate::api::answer::{Answer, AnswerBuilder};
use crate::api::client::Client;
use crate::api::doubtful::Doubtful;
use crate::api::messages::Messages;
use crate::driver::{Receipt, SentMessage, Snapshot, TurnTracker, seq_of};
use crate::error::{ConnectionError, SendError, TurnError};
use crate::types::message::{Exit, ServerMessage};
use crate::types::user_message::UserMessage;

impl Client {
    /// Sends a message and gives the turn that answers it.
    ///
    /// The message carries an id, by which the agent names the turn. The agent's
    /// own turns and those of other messages are left out: see
    /// [`turns`](Self::turns). An agent merges messages that it gets while it is
    /// busy, so two turns of a program can have one result. Agents that name
    /// nothing are followed by order.
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
    pub async fn turn(&self, message: impl Into<UserMessage>) -> Result<Turn, SendError> {
        let message = message.into();
        let frame = message.frame()?;
        // Messages from before the writing are not of its turn.
        let queue = self.inner.driver.queue();
        let messages = Messages::of_turn(self, &queue);
        let sent = SentMessage { uuid: Some(message.id.clone()) };
        let receipt = self.inner.driver.send_turn(frame, sent, queue).await?;
        Ok(Turn::new(messages, message.id, receipt))
    }

    /// Sends a message and waits for the result of its turn, and then until the
    /// agent is idle: a background task that the turn has started is done then,
    /// and reported. [`wait_for_background_tasks`] turns the second wait off.
    ///
    /// [`wait_for_background_tasks`]: crate::ClientBuilder::wait_for_background_tasks
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
    pub async fn ask(&self, message: impl Into<UserMessage>) -> Result<Answer, TurnError> {
        let answer = self.turn(message).await?.finish().await?;
        if self.inner.waits_for_tasks {
            // The answer is whole, even if the connection ends now.
            let _ = self.wait_until_idle().await;
        }
        Ok(answer)
    }
}

/// A running turn: see [`Client::turn`]. Gives the messages of the turn, the
/// result last; permission requests and messages about the connection are among
/// them.
///
/// Of an agent that names nothing before the end of a turn, lines are held back
/// until it is known that no turn of its own has come first: see
/// [`release`](Self::release). Claude Code tells of such turns before they begin.
///
/// Like [`Messages`], it holds up the others while it is not read. Dropping it
/// does not stop the agent: [`Client::interrupt`] does.
#[derive(Debug)]
pub struct Turn {
    messages: Messages,
    /// The id of the message.
    id: String,
    /// The first frame that can be of this turn: frames with lower numbers are
    /// from before the connection.
    first: u64,
    /// The number of messages from before the turn that are still to come.
    older: usize,
    tracker: TurnTracker,
    state: State,
    answer: AnswerBuilder,
    /// The answer of the last turn that was another one.
    other: Option<Answer>,
    /// Lines of a turn that may be another one.
    doubtful: Doubtful,
    holds_back: bool,
    /// The end of the silence that is waited for. A wait that is cancelled goes on.
    quiet_at: Option<Instant>,
    /// Messages to give next.
    ready: VecDeque<ServerMessage>,
}

#[derive(Debug)]
enum State {
    Running,
    Failed(TurnError),
    Finished,
}

impl Turn {
    fn new(messages: Messages, id: String, receipt: Receipt) -> Self {
        let (tracker, first, older) = match receipt.snapshot {
            Some(snapshot) => {
                let Snapshot { tracker, first_new, older } = *snapshot;
                (tracker, first_new, older)
            }
            None => (TurnTracker::default(), 0, 0),
        };
        Self {
            messages,
            id,
            first,
            older,
            tracker,
            state: State::Running,
            answer: AnswerBuilder::new(),
            other: None,
            doubtful: Doubtful::default(),
            holds_back: true,
            quiet_at: None,
            ready: VecDeque::new(),
        }
    }

    /// The id of the message that this turn answers: the `uuid` in it.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let turn = client.turn("What is here?").await?;
    /// println!("{}", turn.message_id());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn message_id(&self) -> &str {
        &self.id
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
    /// agent ended, messages are missing, the server refused the message or
    /// handed it back.
    pub async fn next(&mut self) -> Option<Result<ServerMessage, TurnError>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(Ok(message));
            }
            match &self.state {
                State::Finished => return None,
                State::Failed(error) => {
                    let error = error.clone();
                    self.state = State::Finished;
                    return Some(Err(error));
                }
                State::Running => {}
            }
            let next = if self.tracker.wants_quiet() {
                let until = *self.quiet_at.get_or_insert_with(|| Instant::now() + QUIET);
                timeout_at(until, self.messages.next()).await
            } else {
                Ok(self.messages.next().await)
            };
            self.quiet_at = None;
            let error = match next {
                Ok(Some(Ok(message))) => {
                    if self.take(&message) {
                        self.give(message);
                    }
                    continue;
                }
                Err(_) => {
                    for event in self.tracker.on_quiet() {
                        self.on_event(event);
                    }
                    continue;
                }
                Ok(Some(Err(error))) => error,
                Ok(None) => ConnectionError::Stopped,
            };
            self.give_held();
            self.state = State::Failed(error.into());
        }
    }

    /// The answer so far; whole after the turn's end.
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
        self.answer.answer()
    }

    /// Returns the conversation of the turn, once it has begun.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut turn = client.turn("What is here?").await?;
    /// while let Some(message) = turn.next().await {
    ///     message?;
    /// }
    /// println!("{:?}", turn.conversation());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn conversation(&self) -> Option<&str> {
        let runs = self.tracker.current().is_some_and(|turn| turn.answers(&self.id));
        let has_begun = runs || matches!(self.state, State::Finished);
        self.answer().session_id.as_deref().filter(|_| has_begun)
    }

    /// Gives the lines that are held back, and from now on each as it comes, though
    /// they may be of a turn that the agent has begun itself: for somebody who is to
    /// answer a question and wants to see what led to it.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::ServerMessage;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut turn = client.turn("What is here?").await?;
    /// while let Some(message) = turn.next().await {
    ///     if let ServerMessage::PermissionRequest(request) = message? {
    ///         turn.release();
    ///         println!("{} wants to run", request.tool);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn release(&mut self) {
        self.holds_back = false;
        self.give_held();
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
    pub async fn finish(mut self) -> Result<Answer, TurnError> {
        while let Some(message) = self.next().await {
            message?;
        }
        Ok(self.answer.take())
    }

    /// Gives a message of the turn, once it is certain that it is one: an agent that
    /// names messages at the end of a turn alone, or never, may be in a turn of its
    /// own until then. At the end of everything the order has to do.
    fn give(&mut self, message: ServerMessage) {
        let is_line = matches!(message, ServerMessage::Sdk(_));
        let is_over = !matches!(self.state, State::Running);
        let waits = is_line && !is_over && self.holds_back && self.doubtful.has_room();
        if waits && self.tracker.is_doubtful(&self.id) {
            self.doubtful.push(message);
        } else {
            if is_line || is_over {
                self.give_held();
            }
            self.ready.push_back(message);
        }
    }

    fn give_held(&mut self) {
        self.ready.extend(self.doubtful.take());
    }

    /// Takes a message. Returns true if it is one of the turn.
    fn take(&mut self, message: &ServerMessage) -> bool {
        if let Some(older) = self.older.checked_sub(1) {
            self.older = older;
            return false;
        }
        let was_ours = self.is_ours();
        let events = self.tracker.on_message(message);
        // Said before this turn, and repeated for a client that comes back.
        if seq_of(message).is_some_and(|seq| seq < self.first) {
            return false;
        }
        let mut ours = was_ours && self.is_ours();
        if let ServerMessage::Sdk(line) = message {
            if events.iter().any(|event| matches!(event, TurnEvent::Began(_))) {
                self.answer.take();
                ours = self.is_ours();
            }
            for event in &events {
                if let TurnEvent::Ended { turn, .. } = event {
                    ours = turn.answers(&self.id);
                }
            }
            self.answer.add(line);
            if !self.is_ours() {
                drop(self.doubtful.take());
            }
        }
        for event in events {
            self.on_event(event);
        }
        match message {
            ServerMessage::Sdk(_) => return ours,
            ServerMessage::Exit(exit) => self.on_exit(exit),
            // The end of the connection follows, and is the reason.
            ServerMessage::Error { text, seq: None } if text == TAKEN_OVER => {}
            ServerMessage::Error { text, seq: None } => {
                drop(self.doubtful.take());
                self.state = State::Failed(TurnError::Refused { message: text.clone() });
            }
            ServerMessage::Undelivered { uuids, reason, .. } if uuids.contains(&self.id) => {
                drop(self.doubtful.take());
                self.state = State::Failed(TurnError::Undelivered { reason: reason.clone() });
            }
            ServerMessage::Restarted { .. } => {
                self.state = State::Failed(TurnError::ServerRestarted)
            }
            ServerMessage::Gap(_) => {
                self.state = State::Failed(TurnError::MessagesLost);
            }
            _ => {}
        }
        true
    }

    /// Returns true unless the turn that runs is known to be another one.
    fn is_ours(&self) -> bool {
        self.tracker.current().is_none_or(|turn| turn.answers(&self.id))
    }

    fn on_event(&mut self, event: TurnEvent) {
        match event {
            TurnEvent::Ended { turn, result } if turn.answers(&self.id) => {
                if !result {
                    self.answer.interrupted();
                }
                self.state = State::Finished;
            }
            TurnEvent::Ended { .. } => {
                self.other = Some(self.answer.take());
                drop(self.doubtful.take());
            }
            TurnEvent::Finished { uuid, how } if uuid == self.id => {
                match (how, self.other.take()) {
                    (Finish::Answered, Some(other)) => self.answer.restore(other),
                    (Finish::Known, _) => {
                        let reason = "the agent has had it before".to_owned();
                        self.state = State::Failed(TurnError::Undelivered { reason });
                        return;
                    }
                    _ => self.answer.interrupted(),
                }
                self.state = State::Finished;
            }
            TurnEvent::Began(_) | TurnEvent::Finished { .. } => {}
        }
    }

    /// The agent has ended. A message that it had not read waits for the next
    /// one.
    fn on_exit(&mut self, exit: &Exit) {
        self.answer.take();
        self.state = if exit.waiting.contains(&self.id) {
            drop(self.doubtful.take());
            State::Running
        } else {
            State::Failed(TurnError::AgentExited {
                code: exit.code,
                signal: exit.signal.clone(),
                stderr: exit.stderr.clone(),
            })
        };
    }
}
