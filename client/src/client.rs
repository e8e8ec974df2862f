//! A connected client.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::builder::ClientBuilder;
use crate::configuration::Configuration;
use crate::connection::Connection;
use crate::desk::{Desk, Outgoing};
use crate::error::Error;
use crate::home::Home;
use crate::http::Http;
use crate::hub::Item;
use crate::message::{RawJson, ServerMessage};
use crate::order::Position;
use crate::permission::{Decision, PermissionRequest};
use crate::queue::Queue;
use crate::routes::{self, Configured, Health};
use crate::turn::{Answer, Turn};
use crate::user_message::UserMessage;

/// A connection to a relay that restores itself. Cheap to clone; all clones
/// are the same connection.
///
/// It lives until [`stop`](Self::stop), or until the last clone, [`Messages`]
/// and [`Turn`] of it are dropped. Nothing of it outlives that.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) desk: Arc<Desk>,
    /// Keeps the queue of outgoing messages open.
    pub(crate) _outgoing: mpsc::Sender<Outgoing>,
    pub(crate) http: Http,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) connection: watch::Receiver<Connection>,
    pub(crate) task: AbortHandle,
    /// Makes the ids of control requests: a random part, and a number.
    pub(crate) control_prefix: u32,
    pub(crate) next_control: AtomicU64,
    /// What the server runs in, if it ends with this client.
    pub(crate) home: Option<Arc<Home>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.inner.http.dialer.address.to_string())
            .field("connection", &*self.inner.connection.borrow())
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Begins with a [`ClientBuilder`].
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Sends a message to the agent: a text, [`Block`](crate::Block)s, or any
    /// JSON.
    ///
    /// Returns when the server has read it. While the connection is being
    /// restored it waits, and is sent once when that is done. Dropping the
    /// future before that withdraws the message.
    ///
    /// # Errors
    ///
    /// [`Error::NotDelivered`] if it was not sent, for certain;
    /// [`Error::DeliveryUnknown`] if the connection broke between the sending
    /// and the server's confirmation; [`Error::InvalidMessage`] and
    /// [`Error::TooBig`] for what no server takes.
    pub async fn send(&self, message: impl Into<UserMessage>) -> Result<(), Error> {
        let frame = message.into().frame()?;
        self.inner.desk.send(frame).await
    }

    /// Sends any frame, as JSON: for what this version has no method for. The
    /// answer, if there is one, is among the messages.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send). It is not checked before it is sent.
    pub async fn send_frame(&self, frame: &RawJson) -> Result<(), Error> {
        self.inner.desk.send(frame.get().to_owned()).await
    }

    /// Stops the running turn. What was sent before is not overtaken. Returns
    /// when the server has read it; the turn's result says the rest.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn interrupt(&self) -> Result<(), Error> {
        self.inner.desk.send(r#"{"type":"interrupt"}"#.to_owned()).await
    }

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

    fn subscribe(&self, held: bool) -> Messages {
        let queue = self.inner.desk.hub.subscribe(held);
        Messages { queue, taken: VecDeque::new(), client: self.clone() }
    }

    /// Sends a message and gives what comes until its result.
    ///
    /// An agent merges what it is sent while it is busy. Where it names the
    /// messages that a result answers, that is how the turn's end is found;
    /// older ones do not, and then the next result ends it.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn turn(&self, message: impl Into<UserMessage>) -> Result<Turn, Error> {
        let message = message.into();
        let frame = message.frame()?;
        let messages = self.subscribe(false);
        let turn = Turn::new(messages, message.id, self.inner.desk.next());
        self.inner.desk.send(frame).await?;
        Ok(turn)
    }

    /// Sends a message and waits for the result of its turn.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send) and [`Turn::next`]. A turn that failed is
    /// an answer: see [`Answer::is_error`].
    pub async fn ask(&self, message: impl Into<UserMessage>) -> Result<Answer, Error> {
        self.turn(message).await?.finish().await
    }

    /// Answers a permission request.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn respond(
        &self,
        request: &PermissionRequest,
        decision: &Decision,
    ) -> Result<(), Error> {
        self.inner.desk.respond(&request.id, decision).await
    }

    /// A control request's whole answer.
    pub(crate) async fn control_raw(&self, request: &RawJson) -> Result<RawJson, Error> {
        let inner = &*self.inner;
        let number = inner.next_control.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:08x}-{number}", inner.control_prefix);
        let frame = format!(
            r#"{{"type":"control_request","requestId":"{id}","request":{}}}"#,
            request.get()
        );
        if let Err(error) = claude_relay_protocol::ClientMessage::parse(&frame) {
            return Err(Error::InvalidMessage(error.to_string()));
        }
        let answer = inner.desk.control_asked(&id);
        if let Err(error) = inner.desk.send(frame).await {
            inner.desk.control_withdrawn(&id);
            return Err(error);
        }
        answer.await.unwrap_or(Err(Error::Stopped))
    }

    /// Asks for a [`ServerMessage::Capabilities`], which comes among the
    /// messages.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn request_capabilities(&self) -> Result<(), Error> {
        self.inner.desk.send(r#"{"type":"capabilities"}"#.to_owned()).await
    }

    /// Replaces the server's configuration as a whole. The answer says when it
    /// takes effect.
    ///
    /// # Errors
    ///
    /// [`Error::ConfigurationRefused`] names the field; the rest is about the
    /// connection. It is not retried.
    pub async fn configure(&self, configuration: &Configuration) -> Result<Configured, Error> {
        routes::configure(&self.inner.http, configuration).await
    }

    /// The server's configuration, without its secrets.
    ///
    /// # Errors
    ///
    /// About the connection and the token.
    pub async fn configuration(&self) -> Result<RawJson, Error> {
        routes::configuration(&self.inner.http).await
    }

    /// How the server is.
    ///
    /// # Errors
    ///
    /// About the connection and the token.
    pub async fn health(&self) -> Result<Health, Error> {
        routes::health(&self.inner.http).await
    }

    /// The state of the connection, and every change of it.
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.inner.connection.clone()
    }

    /// How far this client has received the server's stream, to go on there
    /// in another process: [`ClientBuilder::resume_at`]. `None` if the server
    /// does not number its frames.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.inner.desk.position()
    }

    /// Says goodbye and waits until the connection is closed, a second at
    /// most. The agent goes on; the server keeps what it says. Messages that
    /// were not delivered fail. Can be called again, and by several.
    ///
    /// If the server runs in a sandbox, this ends the sandbox and waits until
    /// that is done.
    pub async fn stop(&self) {
        self.say_goodbye().await;
        if let Some(home) = &self.inner.home {
            // `kill` tells of a failure; here there is nobody to tell. The
            // sandbox's time ends it then.
            let _ = home.end().await;
        }
    }

    /// Closes the connection for good.
    pub(crate) async fn say_goodbye(&self) {
        self.inner.stop.send_replace(true);
        let mut connection = self.inner.connection.clone();
        // An error means that the task is gone, which is the end as well.
        let _ = connection.wait_for(|state| matches!(state, Connection::Ended(_))).await;
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
        self.client.inner.desk.hub.unsubscribe(&self.queue);
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}
