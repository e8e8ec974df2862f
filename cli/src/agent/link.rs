//! A connection to the run: a task that writes, so that reading never waits for
//! it.

use std::pin::Pin;
use std::time::Duration;

use claude_relay_client::{
    ConnectionError, MessageForm, RequestError, RunIncoming, RunReader, RunServer, RunWriter,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Capacity for messages that wait for the socket.
const CAPACITY: usize = 64;

/// A connection that is being opened.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Link, RequestError>> + Send>>;

/// Small messages that overtake the others.
#[derive(Debug)]
pub(super) enum Small {
    Pong(Vec<u8>),
    Ping,
    Ack(String),
    Close,
}

/// A connection.
pub(super) struct Link {
    reader: RunReader,
    small: mpsc::Sender<Small>,
    large: mpsc::Sender<String>,
    writing: JoinHandle<()>,
}

impl Link {
    /// Connects to the run. Long messages have the form `form`.
    pub(super) async fn open(
        server: RunServer,
        id: String,
        after: u64,
        form: MessageForm,
    ) -> Result<Self, RequestError> {
        let (reader, mut writer) = server.connect(&id, after).await?;
        writer.set_form(form);
        let (small, small_from) = mpsc::channel(CAPACITY);
        let (large, large_from) = mpsc::channel(CAPACITY);
        let writing = tokio::spawn(async move {
            // The reader sees the end of the connection as well.
            let _ = write(writer, small_from, large_from).await;
        });
        Ok(Self { reader, small, large, writing })
    }

    /// Sends a small message. A full channel means that the socket is
    /// stuck, and then one side gives the connection up.
    pub(super) fn send_small(&self, message: Small) {
        let _ = self.small.try_send(message);
    }

    /// Whether another message can be sent.
    pub(super) fn has_room(&self) -> bool {
        self.large.capacity() > 0
    }

    /// The halves, to wait for both.
    pub(super) fn halves(&mut self) -> (&mut RunReader, &mpsc::Sender<String>) {
        (&mut self.reader, &self.large)
    }

    /// Sends a message, for which there must be room.
    pub(super) fn send(&self, message: String) {
        let _ = self.large.try_send(message);
    }

    /// Closes the connection, and waits for that to be written.
    pub(super) async fn close(self, limit: Duration) {
        self.send_small(Small::Close);
        let Self { writing, small, large, reader: _reader } = self;
        let _ = tokio::time::timeout(limit, writing).await;
        drop((small, large));
    }
}

async fn write(
    mut writer: RunWriter,
    mut small: mpsc::Receiver<Small>,
    mut large: mpsc::Receiver<String>,
) -> Result<(), ConnectionError> {
    loop {
        tokio::select! {
            biased;
            message = small.recv() => match message {
                Some(Small::Pong(payload)) => writer.pong(&payload).await?,
                Some(Small::Ping) => writer.ping().await?,
                Some(Small::Ack(text)) => writer.text(text).await?,
                Some(Small::Close) => {
                    writer.close().await?;
                    return writer.flush().await;
                }
                None => return Ok(()),
            },
            message = large.recv() => match message {
                Some(text) => writer.text(text).await?,
                None => return Ok(()),
            },
        }
        if small.is_empty() && large.is_empty() {
            writer.flush().await?;
        }
    }
}

/// Reads, or waits for ever without a connection.
pub(super) async fn read(
    reader: &mut Option<&mut RunReader>,
) -> Result<RunIncoming, ConnectionError> {
    match reader {
        Some(reader) => reader.read().await,
        None => std::future::pending().await,
    }
}

/// Waits for a connection that is being opened.
pub(super) async fn open(opening: &mut Option<&mut Opening>) -> Result<Link, RequestError> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

/// Waits until a message can be sent.
pub(super) async fn has_room(sending: Option<&mpsc::Sender<String>>) {
    match sending {
        // An error is reported by the reader.
        Some(sending) if sending.reserve().await.is_ok() => {}
        _ => std::future::pending().await,
    }
}

/// Waits for a time, or for ever.
pub(super) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
