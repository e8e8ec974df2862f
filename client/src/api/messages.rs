//! The messages of the server, as a program reads them.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::api::client::Client;
use crate::driver::queue::Queue;
use crate::driver::subscribers::Item;
use crate::error::Error;
use crate::types::message::ServerMessage;

impl Client {
    /// All messages from now on. The first call also gets what has come since
    /// the start, as far as it was kept (1 MiB; what is lost is a
    /// [`Gap`](ServerMessage::Gap)).
    ///
    /// Several can exist; each gets everything. One that is not read holds up
    /// the others, and in the end the agent, once its buffer is full: drop
    /// what you do not read.
    #[must_use]
    pub fn messages(&self) -> Messages {
        self.subscribe(true)
    }

    pub(crate) fn subscribe(&self, held: bool) -> Messages {
        let queue = self.inner.desk.subscribers.subscribe(held);
        Messages { queue, taken: VecDeque::new(), client: self.clone() }
    }
}

/// The messages of the server, in order, each once. Also a [`Stream`].
///
/// Ends after [`Client::stop`]; any other end is an error, given last.
pub struct Messages {
    queue: Arc<Queue<Item>>,
    /// Taken from the queue in one go, to be given out one by one.
    taken: VecDeque<Item>,
    client: Client,
}

impl Messages {
    /// The next message. Cancelling it loses nothing.
    ///
    /// # Errors
    ///
    /// Why there will be no more; `None` follows.
    pub async fn next(&mut self) -> Option<Result<ServerMessage, Error>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Messages {
    type Item = Result<ServerMessage, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.taken.is_empty() && !ready!(this.queue.poll_take(&mut this.taken, cx)) {
            return Poll::Ready(None);
        }
        Poll::Ready(this.taken.pop_front())
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.client.inner.desk.subscribers.unsubscribe(&self.queue);
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}
