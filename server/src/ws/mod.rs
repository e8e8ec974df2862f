//! The WebSocket connections of the session.

mod message;

use bytes::Bytes;
use claude_relay_listen::ws::{self, MESSAGE_LIMIT, Parser};
use tokio::net::TcpStream;

use crate::session::SessionHandle;
use crate::session::channels::{Attach, ConnectRequest, WATCHER_MESSAGE_LIMIT};

/// Serves one upgraded connection to the session until it ends. `early` holds
/// the bytes that the client sent right after its handshake.
pub async fn serve_session(
    stream: TcpStream,
    early: Bytes,
    session: SessionHandle,
    attach: Attach,
) {
    let id = session.next_connection_id();
    let limit = if attach.watches { WATCHER_MESSAGE_LIMIT } else { MESSAGE_LIMIT };
    let keeps_raw = session.keeps_raw() && !attach.watches;
    let large = session.large_messages();
    let parser = Parser { parse: message::parse, limit, large, keeps_raw };
    ws::serve(stream, early, parser, |channels, accepted| async move {
        session.connect(ConnectRequest { id, attach, channels, accepted }).await.is_ok()
    })
    .await;
}
