//! A WebSocket connection: a read loop, a write loop, and their end.
//!
//! Only this module knows WebSocket frames. `read_frame` of fastwebsockets is
//! not cancel-safe (it consumes the header before it waits for the payload), so
//! reading and writing are two loops that communicate over channels.
//!
//! An actor accepts or refuses a connection. Nothing that the client sends
//! is processed before that, or after a refusal.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{Role, after_handshake_split};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::arriving::Arriving;
use super::channels::{CLIENT_EVENT_CAPACITY, ClientChannels, PRIORITY_CAPACITY, PriorityMessage};
use super::read::{self, Parser};
use super::socket::{Outlet, Socket};
use super::write;

/// Maximum time for closing: for finishing the frame in progress, and for the
/// answer to a close frame.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves one upgraded connection until it ends. `parser` reads its messages,
/// `early` holds
/// the bytes that the client sent right after its handshake, `connect` hands its channels to an actor, which sends whether it accepts
/// them; false means that there is no actor.
pub async fn serve<R, F>(
    stream: TcpStream,
    early: Bytes,
    parser: Parser<R>,
    connect: impl FnOnce(ClientChannels<R>, oneshot::Sender<bool>) -> F,
) where
    R: Send + 'static,
    F: Future<Output = bool>,
{
    // Nagle's algorithm would delay small frames. An error here is harmless.
    let _ = stream.set_nodelay(true);
    let (from_client, to_client) = stream.into_split();
    let (priority_to, priority) = mpsc::channel(PRIORITY_CAPACITY);
    let (data_to, data) = mpsc::channel(1);
    let (spent_to, spent) = mpsc::channel(1);
    let (events_to, events) = mpsc::channel(CLIENT_EVENT_CAPACITY);
    let from_client = std::io::Cursor::new(early).chain(from_client);
    let from_client = Arriving::new(from_client, events_to.downgrade());
    // The library does not write: the frames arrive encoded.
    let (reader, _) = after_handshake_split(from_client, tokio::io::sink(), Role::Server);

    let (accepted_to, accepted) = oneshot::channel();
    let socket = Arc::new(Socket::new(to_client));
    let data_to = Outlet::new(data_to, Arc::downgrade(&socket));
    let channels = ClientChannels { priority: priority_to.clone(), data: data_to, spent, events };
    let mut writer = tokio::spawn(write::write_loop(socket, priority, data, spent_to));
    if !connect(channels, accepted_to).await {
        writer.abort();
        return;
    }

    let reading = async move {
        let accepted = accepted.await.unwrap_or(false);
        let events = accepted.then_some(events_to);
        let end = read::read_loop(reader, events, &priority_to, parser).await;
        tracing::debug!(?end, "connection ended");
        if let Some(close) = end.answer() {
            let _ = timeout(CLOSE_TIMEOUT, priority_to.send(PriorityMessage::Close(close))).await;
        }
    };
    tokio::pin!(reading);
    tokio::select! {
        () = &mut reading => {
            if timeout(CLOSE_TIMEOUT, &mut writer).await.is_err() {
                writer.abort();
            }
        }
        // The last frame has been sent. Reading continues, because closing the
        // socket with unread input would reset the connection before the client
        // has read it.
        closed = &mut writer => if closed.unwrap_or(false) {
            let _ = timeout(CLOSE_TIMEOUT, reading).await;
        },
    }
}
