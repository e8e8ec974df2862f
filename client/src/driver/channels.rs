//! The bounded channels between the API handles and the driver.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::queue::Queue;
use super::sequence::Position;
use super::subscribers::{Item, last_item};
use super::tracker::TurnTracker;
use crate::error::{ConnectionError, SendError};
use crate::types::agent_request::AgentAnswer;
use crate::types::connection::ConnectionState;
use crate::types::permission::Decision;
use crate::types::raw_json::RawJson;

/// The number of messages that may wait to be sent; callers beyond it wait.
pub(super) const OUTGOING_CAPACITY: usize = 16;

/// The number of subscriptions that the driver may not have taken up yet.
pub(super) const SUBSCRIPTION_CAPACITY: usize = 64;

/// The confirmation that the server has read a message.
#[derive(Debug, Default)]
pub(crate) struct Receipt {
    /// The state behind the message, if a subscription was made with it.
    pub(crate) snapshot: Option<Box<Snapshot>>,
}

/// The state of the driver at the moment of a subscription.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) tracker: TurnTracker,
    /// The number of the first frame that was new on the connection; 0 if the
    /// server does not number its frames.
    pub(crate) first_new: u64,
    /// The number of messages from before the subscription that it gets all the same.
    pub(crate) older: usize,
}

/// A message to the agent among the frames that are sent.
pub(crate) struct SentMessage {
    pub(crate) uuid: Option<String>,
}

/// The end that waits for a [`Receipt`].
pub(crate) type ReceiptSender = oneshot::Sender<Result<Receipt, SendError>>;

/// A message on its way out. It is withdrawn when nobody waits for its outcome
/// any more, as long as it has not been written.
pub(crate) struct Outgoing {
    pub(crate) text: String,
    pub(crate) purpose: Purpose,
}

/// The reason for an outgoing message, and the receiver of its outcome.
pub(crate) enum Purpose {
    /// A message. The queue, if any, subscribes at the moment of writing.
    Message { receipt: ReceiptSender, message: Option<SentMessage>, turn: Option<Arc<Queue<Item>>> },
    /// A control request. Its answer stands for the receipt.
    Control { id: String, answer: oneshot::Sender<Result<RawJson, SendError>> },
    /// The decision on a permission request. A handler's has no receiver.
    Decision { request_id: String, receipt: Option<ReceiptSender> },
}

impl Outgoing {
    /// Returns true when the sender no longer waits.
    pub(super) fn is_withdrawn(&self) -> bool {
        match &self.purpose {
            Purpose::Message { receipt, .. } => receipt.is_closed(),
            Purpose::Control { answer, .. } => answer.is_closed(),
            Purpose::Decision { receipt, .. } => {
                receipt.as_ref().is_some_and(oneshot::Sender::is_closed)
            }
        }
    }

    /// Tells the sender that the message was not written.
    pub(super) fn fail(self, error: SendError) {
        // A sender that is gone needs no answer, here and below.
        match self.purpose {
            Purpose::Message { receipt, .. } => drop(receipt.send(Err(error))),
            Purpose::Control { answer, .. } => drop(answer.send(Err(error))),
            Purpose::Decision { receipt: Some(receipt), .. } => drop(receipt.send(Err(error))),
            Purpose::Decision { receipt: None, .. } => {}
        }
    }
}

/// A subscription that the driver is to take up.
pub(crate) struct Subscription {
    pub(crate) queue: Arc<Queue<Item>>,
    /// Begins with the backlog, if no other subscription has had it.
    pub(crate) backlog: bool,
    /// Gets the state at the moment of the subscription.
    pub(crate) snapshot: Option<oneshot::Sender<Box<Snapshot>>>,
}

/// The handle of a driver task. Dropping it ends the task.
pub(crate) struct DriverHandle {
    pub(super) outgoing: mpsc::Sender<Outgoing>,
    pub(super) subscriptions: mpsc::Sender<Subscription>,
    pub(super) stop: watch::Sender<bool>,
    pub(super) connection: watch::Receiver<ConnectionState>,
    pub(super) position: watch::Receiver<Option<Position>>,
    pub(super) idle: watch::Receiver<bool>,
    pub(super) buffer_bytes: usize,
    pub(super) task: AbortHandle,
}

impl Drop for DriverHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DriverHandle {
    pub(crate) fn connection(&self) -> &watch::Receiver<ConnectionState> {
        &self.connection
    }

    pub(crate) fn position(&self) -> Option<Position> {
        self.position.borrow().clone()
    }

    /// Makes an empty queue for a subscription.
    pub(crate) fn queue(&self) -> Arc<Queue<Item>> {
        Arc::new(Queue::new(self.buffer_bytes))
    }

    /// Hands a subscription over. Gives it back when the driver has too many
    /// to take up; ends its queue when there is no driver any more.
    pub(crate) fn try_subscribe(&self, subscription: Subscription) -> Option<Subscription> {
        match self.subscriptions.try_send(subscription) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(subscription)) => Some(subscription),
            Err(mpsc::error::TrySendError::Closed(subscription)) => {
                subscription.queue.end(last_item(&self.end_reason()));
                None
            }
        }
    }

    /// Sends one frame and waits until the server has read it. `message` says
    /// that it carries a message to the agent.
    pub(crate) async fn send(
        &self,
        text: String,
        message: Option<SentMessage>,
    ) -> Result<(), SendError> {
        self.send_for(text, message, None).await.map(drop)
    }

    /// Sends a message to the agent. `turn` gets all messages from its writing
    /// on.
    pub(crate) async fn send_turn(
        &self,
        text: String,
        message: SentMessage,
        turn: Arc<Queue<Item>>,
    ) -> Result<Receipt, SendError> {
        self.send_for(text, Some(message), Some(turn)).await
    }

    async fn send_for(
        &self,
        text: String,
        message: Option<SentMessage>,
        turn: Option<Arc<Queue<Item>>>,
    ) -> Result<Receipt, SendError> {
        let (receipt, received) = oneshot::channel();
        let purpose = Purpose::Message { receipt, message, turn };
        self.enqueue(Outgoing { text, purpose }).await?;
        self.outcome(received).await
    }

    /// Waits until the agent is idle, background tasks included.
    pub(crate) async fn wait_until_idle(&self) -> Result<(), ConnectionError> {
        let mut idle = self.idle.clone();
        let waited = idle.wait_for(|idle| *idle).await.map(drop);
        waited.map_err(|_| self.end_reason())
    }

    /// Sends the program's decision on a permission request.
    pub(crate) async fn decide(
        &self,
        request_id: &str,
        decision: &Decision,
    ) -> Result<(), SendError> {
        let text = decision.frame(request_id).map_err(SendError::invalid)?;
        self.send_decision(request_id, text).await
    }

    async fn send_decision(&self, request_id: &str, text: String) -> Result<(), SendError> {
        let (receipt, received) = oneshot::channel();
        let request_id = request_id.to_owned();
        let purpose = Purpose::Decision { request_id, receipt: Some(receipt) };
        self.enqueue(Outgoing { text, purpose }).await?;
        self.outcome(received).await.map(drop)
    }

    /// Sends the program's answer to a request of the agent.
    pub(crate) async fn answer(
        &self,
        request_id: &str,
        answer: &AgentAnswer,
    ) -> Result<(), SendError> {
        let text = answer.frame(request_id).map_err(SendError::invalid)?;
        self.send_decision(request_id, text).await
    }

    /// Sends a control request and waits for its answer.
    pub(crate) async fn control(&self, id: String, text: String) -> Result<RawJson, SendError> {
        let (answer, answered) = oneshot::channel();
        self.enqueue(Outgoing { text, purpose: Purpose::Control { id, answer } }).await?;
        self.outcome(answered).await
    }

    /// Stops the driver and waits until it has closed the connection.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let mut connection = self.connection.clone();
        // An error means that the task is gone, which is the end as well.
        let _ = connection.wait_for(|state| matches!(state, ConnectionState::Ended(_))).await;
    }

    async fn enqueue(&self, outgoing: Outgoing) -> Result<(), SendError> {
        let sent = self.outgoing.send(outgoing).await;
        sent.map_err(|_| self.not_delivered())
    }

    async fn outcome<T>(
        &self,
        received: oneshot::Receiver<Result<T, SendError>>,
    ) -> Result<T, SendError> {
        received.await.unwrap_or_else(|_| Err(self.not_delivered()))
    }

    fn not_delivered(&self) -> SendError {
        SendError::NotDelivered { source: self.end_reason() }
    }

    fn end_reason(&self) -> ConnectionError {
        match &*self.connection.borrow() {
            ConnectionState::Ended(error) => error.clone(),
            _ => ConnectionError::Stopped,
        }
    }
}
