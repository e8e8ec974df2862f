//! Change of owner: the server has another token, mostly because it is a copy of
//! a running one. Copies share what was drawn before they were made, so nothing
//! of it stays in use.

use std::time::Instant;

use claude_relay_listen::ws::{Close, PriorityMessage};
use claude_relay_protocol::ServerMessage;

use super::Session;

/// Tells a connection of the former owner, and ends it.
fn told() -> [PriorityMessage; 2] {
    let error = ServerMessage::error("The server has another owner: its token has changed");
    [PriorityMessage::Text(error.to_json()), PriorityMessage::Close(Close::REPLACED)]
}

impl Session {
    pub(super) fn change_owner(&mut self, now: Instant) {
        tracing::info!("the server has another owner: its connections end");
        for request in std::mem::take(&mut self.waiting) {
            // One that waits for the slot and goes causes no decision.
            let _ = self.slot.release(request.id, now);
            for message in told() {
                // A full channel: its connection has not read what came before.
                let _ = request.channels.priority.try_send(message);
            }
            let _ = request.accepted.send(false);
        }
        if let Some(client) = &self.client {
            for message in told() {
                client.send(message);
            }
        }
        self.on_client_event(None, now);
        self.watchers.disconnect(told);
        self.stream = None;
        self.spares.kill_all();
        self.start_spares(now);
        self.change_conversation_id(now);
    }
}
