//! The first message of a client that configures as it connects: the
//! configuration counts only if the client has the slot.

use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;
use claude_relay_protocol::json::fields;
use serde_json::{Map, Value};

use super::Session;
use super::channels::Request;
use super::configure::{Applies, Change, Configured, MAX_CONFIG_BYTES};
use super::slot::ConnectionId;
use claude_relay_listen::ws::{Close, PriorityMessage};

impl Session {
    /// Returns true if the client's next message has to be its configuration.
    pub(super) fn expects_configuration(&self) -> bool {
        self.client.as_ref().is_some_and(|client| client.configures_by.is_some())
    }

    /// Handles the first message of a client that configures.
    pub(super) fn on_first_message(
        &mut self,
        from: ConnectionId,
        request: Result<Request, String>,
        now: Instant,
    ) {
        let configured = match request {
            Ok(Request::Configure { config, change }) => self.configure_client(&config, change),
            Ok(_) => Err("Invalid message format: the first message must be configure".into()),
            Err(error) => Err(error),
        };
        match configured {
            Ok(frame) => {
                if let Some(client) = &mut self.client {
                    client.configures_by = None;
                }
                self.answer(from, frame, now);
                self.begin_delivery(now);
            }
            Err(error) => self.refuse_configuration(&error, now),
        }
    }

    /// Refuses a client whose configuration has not come in time.
    pub(super) fn refuse_late_configuration(&mut self, now: Instant) {
        let client = self.client.as_ref();
        if client.and_then(|client| client.configures_by).is_some_and(|by| now >= by) {
            self.refuse_configuration("the configuration has not come in time", now);
        }
    }

    fn refuse_configuration(&mut self, error: &str, now: Instant) {
        if let Some(client) = &self.client {
            client.send(PriorityMessage::Text(ServerMessage::error(error).to_json()));
            client.send(PriorityMessage::Close(Close::CONFIG_REFUSED));
        }
        self.on_client_event(None, now);
    }

    /// Returns the `configured` frame, or the reason for refusing.
    fn configure_client(&mut self, config: &Bytes, change: Change) -> Result<String, String> {
        if config.len() > MAX_CONFIG_BYTES {
            return Err("the configuration is over 1 MiB".into());
        }
        let text = std::str::from_utf8(config).unwrap_or_default();
        let claims = fields(text, ["authToken"])
            .is_ok_and(|[token]| token.is_some_and(|token| token.get() != "null"));
        if claims {
            return Err(
                "authToken: a server is claimed with POST /config, before connecting".into()
            );
        }
        let Configured { shown, ignored, .. } =
            self.configure(config, change).map_err(|error| error.to_string())?;
        // The agent is started anew for this client, after a running turn.
        let running = self.agent.running.as_ref();
        let waits =
            running.is_some_and(|run| run.in_turn() && !run.config.is_equivalent(&self.config));
        let applies = if waits { Applies::NextStart } else { Applies::Now };
        let mut frame = Map::new();
        frame.insert("type".into(), "configured".into());
        frame.insert("applies".into(), applies.as_str().into());
        shown.add_to(&mut frame);
        if !ignored.is_empty() {
            frame.insert("ignored".into(), ignored.into());
        }
        Ok(Value::from(frame).to_string())
    }
}
