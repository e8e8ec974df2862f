//! One WebSocket: a loop that reads, a loop that writes, and their end.
//!
//! Only this module knows WebSocket frames. `read_frame` of fastwebsockets
//! must not be dropped half-way (it takes the header before it waits for the
//! rest), so reading and writing are two loops that meet over channels.
//!
//! The session decides who may stay. A connection asks, and until it is
//! accepted nothing it sends is read; one that is refused never gets further.

use std::time::Duration;

use bytes::Bytes;
use fastwebsockets::{Role, after_handshake_split};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{read, write};
use crate::session::SessionHandle;
use crate::session::channels::{
    Attach, CLIENT_EVENT_CAPACITY, ClientChannels, ConnectRequest, PRIORITY_CAPACITY,
    PriorityMessage,
};

/// How long either side may take for the last words: to finish a frame that is
/// under way, to answer a close frame.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves one upgraded connection to its end. `early` is what the client sent
/// behind its handshake.
pub async fn serve(stream: TcpStream, early: Bytes, session: SessionHandle, attach: Attach) {
    // Small frames must not wait for more; a socket that refuses works as well.
    let _ = stream.set_nodelay(true);
    let (from_client, to_client) = stream.into_split();
    let from_client = std::io::Cursor::new(early).chain(from_client);
    // The writing half of the library has nothing to do: frames come ready.
    let (reader, _) = after_handshake_split(from_client, tokio::io::sink(), Role::Server);

    let (priority_to, priority) = mpsc::channel(PRIORITY_CAPACITY);
    let (data_to, data) = mpsc::channel(1);
    let (spent_to, spent) = mpsc::channel(1);
    let (events_to, events) = mpsc::channel(CLIENT_EVENT_CAPACITY);
    let (accepted_to, accepted) = oneshot::channel();
    let id = session.next_connection_id();
    let channels = ClientChannels { priority: priority_to.clone(), data: data_to, spent, events };
    let request = ConnectRequest { id, attach, channels, accepted: accepted_to };
    let mut writer = tokio::spawn(write::write_loop(to_client, priority, data, spent_to));
    if session.connect(request).await.is_err() {
        writer.abort();
        return;
    }

    let reading = async move {
        let accepted = accepted.await.unwrap_or(false);
        let end = read::read_loop(reader, accepted.then_some(events_to), &priority_to).await;
        tracing::debug!(connection = id.0, ?end, "client has gone");
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
        // The last frame is out. A client that still sends would see a reset
        // instead of it if nobody read on.
        closed = &mut writer => if closed.unwrap_or(false) {
            let _ = timeout(CLOSE_TIMEOUT, reading).await;
        },
    }
}
