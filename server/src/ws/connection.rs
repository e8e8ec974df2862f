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
use crate::session::channels::{Attach, CONTROL_LANE, Control, NEWS_LANE, Newcomer, Port};

/// How long either side may take for the last words: to finish a frame that is
/// under way, to answer a close frame.
pub(super) const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

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
