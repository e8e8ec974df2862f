//! The messages of the server, as a program reads them.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::oneshot;

use crate::api::client::Client;
use crate::driver::queue::Queue;
use crate::driver::{Item, Snapshot, Subscription};
use crate::error::ConnectionError;
use crate::types::message::ServerMessage;

impl Client {
    /// All messages from now on. The first call also gets what has come since
    /// the start, as far as it was kept (1 MiB; what is lost is a
    /// [`Gap`](ServerMessage::Gap)).
    ///
    /// Several can exist; each gets everything. One that is not read holds up
    /// the others, and in the end the agent, once its buffer is full: drop
    /// what you do not read.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut messages = client.messages();
    /// client.send("What is here?").await?;
    /// while let Some(message) = messages.next().await {
    ///     println!("{:?}", message?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn messages(&self) -> Messages {
        let queue = self.inner.driver.queue();
        let subscription =
            Subscription { queue: Arc::clone(&queue), backlog: true, snapshot: None };
        let waiting = self.inner.driver.try_subscribe(subscription);
        Messages { queue, taken: VecDeque::new(), waiting, client: self.clone() }
    }
}

/// The messages of the server, in order, each once. Also a [`Stream`].
///
/// Ends after [`Client::stop`]; any other end is an error, given last.
pub struct Messages {
    queue: Arc<Queue<Item>>,
    /// Taken from the queue in one go, to be given out one by one.
    taken: VecDeque<Item>,
    /// The subscription, while the driver has too many to take up.
    waiting: Option<Subscription>,
    client: Client,
}

impl Messages {
    /// The messages that the driver puts into `queue` by itself.
    pub(super) fn of_turn(client: &Client, queue: &Arc<Queue<Item>>) -> Self {
        let queue = Arc::clone(queue);
        Self { queue, taken: VecDeque::new(), waiting: None, client: client.clone() }
    }

    /// The messages from now on, with the state at the first of them.
    pub(super) fn with_snapshot(client: &Client, snapshot: oneshot::Sender<Box<Snapshot>>) -> Self {
        let queue = client.inner.driver.queue();
        let snapshot = Some(snapshot);
        let subscription = Subscription { queue: Arc::clone(&queue), backlog: false, snapshot };
        let waiting = client.inner.driver.try_subscribe(subscription);
        Self { queue, taken: VecDeque::new(), waiting, client: client.clone() }
    }

    /// The next message. Cancelling it loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut messages = client.messages();
    /// let first = messages.next().await.transpose()?;
    /// println!("{first:?}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The reason of the end; `None` follows.
    pub async fn next(&mut self) -> Option<Result<ServerMessage, ConnectionError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Messages {
    type Item = Result<ServerMessage, ConnectionError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(subscription) = this.waiting.take() {
            this.waiting = this.client.inner.driver.try_subscribe(subscription);
            if this.waiting.is_some() {
                // The driver takes one up at its next turn of the runtime.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if this.taken.is_empty() && !ready!(this.queue.poll_take(&mut this.taken, cx)) {
            return Poll::Ready(None);
        }
        Poll::Ready(this.taken.pop_front())
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        // Frees what is waiting and lets the driver go on.
        self.queue.abandon();
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}
