//! One connection's reading side: what each message is, and who gets it.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::driver::delivery::Delivery;
use crate::driver::handshake::closed;
use crate::driver::pending::{Desk, Direction};
use crate::driver::replayed::ReplayedPermissions;
use crate::driver::sequence::{SequenceTracker, Verdict};
use crate::driver::writer::{Control, Link};
use crate::error::Error;
use crate::net::socket::{Incoming, Reader};
use crate::types::message::{Frame, ServerMessage};
use crate::types::permission::PermissionRequest;

/// Reads until the connection ends, and says why it did.
pub(crate) async fn read_loop(
    reader: &mut Reader,
    link: &Link,
    control: &mpsc::Sender<Control>,
    sequence: &mut SequenceTracker,
    replayed: &mut ReplayedPermissions,
    delivery: &mut Delivery,
    desk: &Arc<Desk>,
) -> Error {
    // What the last connection left behind.
    delivery.settle(desk, link).await;
    loop {
        let taken = reader.take();
        // Messages go on together, as many as one system call brought, but
        // before anything else happens, so that nothing overtakes them.
        if !matches!(taken, Ok(Some(Incoming::Text(_)))) {
            settle(sequence, delivery, desk, link).await;
        }
        let incoming = match taken {
            Ok(Some(incoming)) => incoming,
            Ok(None) => match reader.fill().await {
                Ok(()) => continue,
                Err(error) => return error,
            },
            Err(error) => return error,
        };
        link.hear();
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Ping(payload) => {
                // With so many waiting, one more answer adds nothing.
                let _ = control.try_send(Control::Pong(payload));
                continue;
            }
            Incoming::Pong(payload) => {
                link.confirm(&payload);
                continue;
            }
            Incoming::Close { code, reason } => return closed(code, reason),
        };
        desk.tap(Direction::Received, &text);
        let bytes = text.len();
        let (seq, message) = match Frame::read(text) {
            Ok(Frame::Message(seq, message)) => (seq, message),
            Ok(Frame::Gap { from, to }) => {
                if let Some(gap) = sequence.gap(from, to) {
                    delivery.add_gap(gap);
                    ask_open(replayed, sequence, delivery, desk);
                }
                continue;
            }
            Ok(Frame::ControlResponse { request_id, response }) => {
                settle(sequence, delivery, desk, link).await;
                desk.control_answered(&request_id, response);
                continue;
            }
            Ok(Frame::Connected(_)) => continue,
            Err(error) => return Error::Protocol(error.to_string()),
        };
        let verdict = seq.map_or(Verdict::Next, |seq| sequence.frame(seq));
        let seen = verdict == Verdict::Seen;
        if let Verdict::After(gap) = verdict {
            delivery.add_gap(gap);
        }
        match message {
            ServerMessage::PermissionRequest(request) if replayed.takes(seq) => {
                replayed.hold(request, bytes);
            }
            // A pending request is sent again to a client that comes back:
            // what counts is whether it is known.
            ServerMessage::PermissionRequest(request) => ask(request, bytes, delivery, desk),
            ServerMessage::PermissionCancelled(id) if replayed.settle(&id) => {}
            _ if seen => continue,
            message => {
                if let ServerMessage::PermissionCancelled(id) = &message {
                    desk.permission_closed(id);
                }
                delivery.add(message, bytes);
            }
        }
        ask_open(replayed, sequence, delivery, desk);
    }
}

/// Hands on what has come, and says so.
async fn settle(sequence: &SequenceTracker, delivery: &mut Delivery, desk: &Desk, link: &Link) {
    delivery.settle(desk, link).await;
    desk.set_seq(sequence.last());
}

/// Puts a permission request to the program, unless it has got it already.
fn ask(request: Box<PermissionRequest>, bytes: usize, delivery: &mut Delivery, desk: &Arc<Desk>) {
    if desk.permission_asked(&request) {
        delivery.add(ServerMessage::PermissionRequest(request), bytes);
    }
}

/// Asks what a replay has left open, once it is through.
fn ask_open(
    replayed: &mut ReplayedPermissions,
    sequence: &SequenceTracker,
    delivery: &mut Delivery,
    desk: &Arc<Desk>,
) {
    while let Some((request, bytes)) = replayed.open(sequence.last()) {
        ask(request, bytes, delivery, desk);
    }
}
