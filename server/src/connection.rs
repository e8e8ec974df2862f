//! One WebSocket: a loop that reads, a loop that writes, and their end.
//!
//! Only this module knows WebSocket frames. `read_frame` of fastwebsockets
//! must not be dropped half-way (it takes the header before it waits for the
//! rest), so reading and writing are two loops that meet over channels.
//!
//! The session decides who may stay. A connection asks, and until it is
//! accepted nothing it sends is read; one that is refused never gets further.

mod read;
mod write;

use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{Role, after_handshake_split};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::session::{Attach, Newcomer, Port, SessionHandle};

pub use read::{MESSAGE_LIMIT, Request};

/// How long either side may take for the last words: to finish a frame that is
/// under way, to answer a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Small frames that wait for the socket: pongs, pings, answers to requests.
pub const CONTROL_LANE: usize = 128;

/// Messages of a client that wait for the session. It always takes them, so
/// few are enough.
const NEWS_LANE: usize = 8;

/// A frame that does not wait behind bulk data.
#[derive(Debug)]
pub enum Control {
    /// A text frame of our own.
    Text(String),
    /// A ping.
    Ping,
    /// The answer to a ping.
    Pong(Bytes),
    /// The last frame.
    Close(Close),
}

/// Why a connection ends, in the words of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The close code; none for an empty close frame.
    pub code: Option<u16>,
    /// A few words, at most 123 bytes.
    pub reason: &'static str,
}

impl Close {
    /// Another client is connected.
    pub const BUSY: Self = Self::new(1013, "another client is connected");
    /// Another client asked to take over.
    pub const REPLACED: Self = Self::new(4001, "replaced by another client");
    /// The server is shutting down.
    pub const GOING_AWAY: Self = Self::new(1001, "server is shutting down");
    /// The client broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self::new(1002, "protocol error");
    /// A text message was not UTF-8.
    pub const NOT_UTF8: Self = Self::new(1007, "not UTF-8");
    /// A message was over the bound.
    pub const TOO_BIG: Self = Self::new(1009, "message too big");
    /// The client does not read what it asked for.
    pub const NOT_READING: Self = Self::new(1008, "answers were not read");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code: Some(code), reason }
    }
}

/// What the session hears from its client.
#[derive(Debug)]
pub enum News {
    /// A message, checked; an error text if it was malformed.
    Request(Result<Request, String>),
    /// Something else came: the client is alive.
    Alive,
}

/// Serves one upgraded connection to its end. `early` is what the client sent
/// behind its handshake.
pub async fn serve(stream: TcpStream, early: Bytes, session: SessionHandle, attach: Attach) {
    // Small frames must not wait for more; a socket that refuses works as well.
    let _ = stream.set_nodelay(true);
    let (from_client, to_client) = stream.into_split();
    let from_client = std::io::Cursor::new(early).chain(from_client);
    // The writing half of the library has nothing to do: frames come ready.
    let (reader, _) = after_handshake_split(from_client, tokio::io::sink(), Role::Server);

    let (control_to, control) = mpsc::channel(CONTROL_LANE);
    let (data_to, data) = mpsc::channel(1);
    let (ready_to, ready) = mpsc::channel(1);
    let (news_to, news) = mpsc::channel(NEWS_LANE);
    let (verdict_to, verdict) = oneshot::channel();
    let id = session.next_connection_id();
    let port = Port { control: control_to.clone(), data: data_to, ready, news };
    let newcomer = Newcomer { id, attach, port, verdict: verdict_to };
    let mut writer = tokio::spawn(write::write_loop(to_client, control, data, ready_to));
    if session.connect(newcomer).await.is_err() {
        writer.abort();
        return;
    }

    let reading = async move {
        let accepted = verdict.await.unwrap_or(false);
        let end = read::read_loop(reader, accepted.then_some(news_to), &control_to).await;
        tracing::debug!(connection = id.0, ?end, "client has gone");
        if let Some(close) = end.answer() {
            let _ = timeout(CLOSE_PATIENCE, control_to.send(Control::Close(close))).await;
        }
    };
    tokio::pin!(reading);
    tokio::select! {
        () = &mut reading => {
            if timeout(CLOSE_PATIENCE, &mut writer).await.is_err() {
                writer.abort();
            }
        }
        // The last frame is out. A client that still sends would see a reset
        // instead of it if nobody read on.
        closed = &mut writer => if closed.unwrap_or(false) {
            let _ = timeout(CLOSE_PATIENCE, reading).await;
        },
    }
}
