//! All turns of the agent, its own among them.

use claude_relay_protocol::turns::{Origin, TurnEvent};
use tokio::sync::oneshot;

use crate::api::answer::{Answer, AnswerBuilder};
use crate::api::client::Client;
use crate::api::messages::Messages;
use crate::driver::{Snapshot, TurnTracker};
use crate::error::ConnectionError;
use crate::types::agent_state::TurnOrigin;
use crate::types::message::ServerMessage;

impl Client {
    /// Waits until the agent is idle: no turn runs or is about to, and no
    /// background task runs. A report of a task that has ended is a turn, too.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.send("Run the tests in the background.").await?;
    /// client.wait_until_idle().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The reason of the connection's end.
    pub async fn wait_until_idle(&self) -> Result<(), ConnectionError> {
        self.inner.driver.wait_until_idle().await
    }

    /// Gives every turn that ends from now on, those that the agent begins by
    /// itself among them: reports of background tasks, schedules.
    ///
    /// Like [`messages`](Self::messages), it holds up the others while it is
    /// not read.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::TurnOrigin;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut turns = client.turns();
    /// while let Some(turn) = turns.next().await {
    ///     let turn = turn?;
    ///     if turn.origin == TurnOrigin::Agent {
    ///         println!("the agent reports: {}", turn.answer.text);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn turns(&self) -> Turns {
        let (sender, snapshot) = oneshot::channel();
        let messages = Messages::with_snapshot(self, sender);
        Turns { messages, snapshot: Some(snapshot), followed: Followed::default() }
    }
}

/// A turn that has ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EndedTurn {
    /// Its author.
    pub origin: TurnOrigin,
    /// The ids of the messages that it answers, as far as they have one.
    pub message_ids: Vec<String>,
    /// The result.
    pub answer: Answer,
}

/// The turns of the agent: see [`Client::turns`].
#[derive(Debug)]
pub struct Turns {
    messages: Messages,
    /// Comes when the subscription is taken up.
    snapshot: Option<oneshot::Receiver<Box<Snapshot>>>,
    followed: Followed,
}

#[derive(Debug)]
struct Followed {
    tracker: TurnTracker,
    older: usize,
    answer: AnswerBuilder,
}

impl Default for Followed {
    fn default() -> Self {
        Self { tracker: TurnTracker::default(), older: 0, answer: AnswerBuilder::new() }
    }
}

impl Turns {
    /// The next turn that has ended. Cancelling it loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut turns = client.turns();
    /// if let Some(turn) = turns.next().await {
    ///     println!("{}", turn?.answer.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The reason why there will be no more; `None` follows.
    pub async fn next(&mut self) -> Option<Result<EndedTurn, ConnectionError>> {
        loop {
            let message = match self.messages.next().await? {
                Ok(message) => message,
                Err(error) => return Some(Err(error)),
            };
            // It was sent before the first message could be.
            if let Some(mut snapshot) = self.snapshot.take()
                && let Ok(snapshot) = snapshot.try_recv()
            {
                self.followed.tracker = snapshot.tracker;
                self.followed.older = snapshot.older;
            }
            if let Some(turn) = self.followed.take(&message) {
                return Some(Ok(turn));
            }
        }
    }
}

impl Followed {
    fn take(&mut self, message: &ServerMessage) -> Option<EndedTurn> {
        if let Some(older) = self.older.checked_sub(1) {
            self.older = older;
            return None;
        }
        let events = self.tracker.on_message(message);
        if events.iter().any(|event| matches!(event, TurnEvent::Began(_))) {
            self.answer.take();
        }
        if let ServerMessage::Sdk(line) = message {
            self.answer.add(line);
        }
        let (turn, result) = events.into_iter().find_map(|event| match event {
            TurnEvent::Ended { turn, result } => Some((turn, result)),
            _ => None,
        })?;
        if !result {
            self.answer.interrupted();
        }
        let origin = match turn.origin {
            Origin::Client => TurnOrigin::Client,
            Origin::Agent => TurnOrigin::Agent,
        };
        Some(EndedTurn { origin, message_ids: turn.uuids, answer: self.answer.take() })
    }
}
