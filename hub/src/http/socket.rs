//! A WebSocket client: a cursor into the feed, its filter, its commands, its
//! heartbeat.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use claude_relay_listen::answer::Refusal;
use claude_relay_listen::upgrade::Handshake;
use claude_relay_listen::ws::{self, ClientChannels, ClientEvent, Close, Parser, PriorityMessage};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hyper::StatusCode;
use rustix::net::sockopt::set_socket_send_buffer_size;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use super::heartbeat::{Beat, Heartbeat, SEND_BUFFER_BYTES};
use crate::feed::{Cursor, Filter, text_frame};
use crate::hub::Hub;
use crate::wire::{ClientFrame, Command, Event, MAX_FRAME_BYTES};

/// Maximum number of commands of a client that are carried out at once; the
/// next one is not read before.
const MAX_COMMANDS: usize = 16;

/// Size of the answers that wait for a client to read them, from which on its next
/// command waits, too.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Maximum number of workspaces in a filter.
const MAX_FILTER: usize = 1024;

/// The token is missing or wrong.
const UNAUTHORIZED: Close = Close { code: Some(4001), reason: "Unauthorized" };

/// Options of a connection, from its URL.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Asks for numbers, and for what came after this one.
    after: Option<u64>,
    /// The stream that the number is of.
    stream: Option<String>,
}

impl Options {
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "after" => {
                    let error = "after: expected a whole number";
                    let after = value.parse();
                    let after = after.map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, error))?;
                    options.after = Some(after);
                }
                "stream" => options.stream = Some(value.to_owned()),
                // The access policy checks the token; others are ignored.
                _ => {}
            }
        }
        Ok(options)
    }
}

/// Serves a WebSocket until it ends.
pub(super) async fn serve(
    handshake: Handshake,
    hub: Arc<Hub>,
    options: Options,
    is_authorized: bool,
) {
    let Some((stream, early, _places)) = handshake.complete().await else { return };
    // A larger buffer is no error, it hides a slow client longer.
    let _ = set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
    let large = Arc::new(Semaphore::new(1));
    let parser = Parser { parse, limit: MAX_FRAME_BYTES, large, keeps_raw: false };
    ws::serve(stream, early, parser, |channels, accepted| async move {
        // An error means that the connection has ended already.
        let _ = accepted.send(is_authorized);
        match is_authorized {
            true => {
                tokio::spawn(Connection::new(hub, channels, options).run());
            }
            false => {
                let close = PriorityMessage::Close(UNAUTHORIZED);
                let _ = channels.priority.send(close).await;
            }
        }
        true
    })
    .await;
}

fn parse(message: BytesMut) -> Result<ClientFrame, String> {
    serde_json::from_slice(&message).map_err(|error| format!("Invalid message: {error}"))
}

/// The end of a command: the id of its frame, and the answer.
type Done = (Option<Value>, Result<Value, String>);

struct Connection {
    hub: Arc<Hub>,
    channels: ClientChannels<ClientFrame>,
    cursor: Cursor,
    filter: Filter,
    /// An empty batch; `None` while one is being written.
    spent: Option<Vec<Bytes>>,
    /// The next frames, before those of the feed: what a client gets first, and
    /// the answers to its commands.
    first: Vec<Bytes>,
    /// The size of those.
    first_bytes: usize,
    /// A command that waits until the client has read its answers.
    waiting: Option<Result<ClientFrame, String>>,
    commands: FuturesUnordered<BoxFuture<'static, Done>>,
    heartbeat: Heartbeat,
}

impl Connection {
    fn new(hub: Arc<Hub>, channels: ClientChannels<ClientFrame>, options: Options) -> Self {
        let feed = &hub.feed;
        let next = feed.next();
        let mut first = Vec::new();
        let mut cursor = Cursor(next);
        let mut has_all = false;
        if let Some(after) = options.after {
            let connected = json!({ "type": "connected", "stream": feed.stream(), "next": next });
            first.push(text_frame(&connected.to_string()));
            let is_same = options.stream.as_deref().is_none_or(|stream| stream == feed.stream());
            // A number of another stream says nothing about this one.
            if is_same && after < next {
                cursor = Cursor(after + 1);
                has_all = true;
            } else {
                let gap = json!({ "type": "gap", "from": 1, "to": Value::Null });
                first.push(text_frame(&gap.to_string()));
                cursor = Cursor(1);
            }
        }
        if !has_all {
            // Others ask again only once; who comes later would never see them.
            for pending in hub.permissions() {
                if let Ok(json) = serde_json::to_string(&Event::PermissionRequest(pending)) {
                    first.push(text_frame(&json));
                }
            }
        }
        let filter = Filter { is_numbered: options.after.is_some(), ..Filter::default() };
        Self {
            heartbeat: Heartbeat::new(
                hub.settings.ping_interval,
                hub.settings.pong_timeout,
                Instant::now(),
            ),
            hub,
            channels,
            cursor,
            filter,
            spent: Some(Vec::new()),
            first,
            first_bytes: 0,
            waiting: None,
            commands: FuturesUnordered::new(),
        }
    }

    async fn run(mut self) {
        let hub = Arc::clone(&self.hub);
        let mut next = hub.feed.watch();
        loop {
            self.deliver();
            if self.first_bytes <= MAX_ANSWER_BYTES
                && let Some(frame) = self.waiting.take()
            {
                self.on_frame(frame);
                continue;
            }
            let is_reading = self.commands.len() < MAX_COMMANDS && self.waiting.is_none();
            tokio::select! {
                event = self.channels.events.recv(), if is_reading => {
                    let Some(event) = event else { return };
                    self.heartbeat.on_heard();
                    if let ClientEvent::Request(frame, _) = event {
                        self.waiting = Some(frame);
                    }
                }
                Some((id, done)) = self.commands.next(),
                    if self.first_bytes <= MAX_ANSWER_BYTES =>
                {
                    self.answer(id, done);
                }
                batch = self.channels.spent.recv() => match batch {
                    Some(batch) => {
                        self.spent = Some(batch);
                    }
                    None => return,
                },
                changed = next.changed(), if self.spent.is_some() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = sleep_until(self.heartbeat.deadline()) => {
                    if !self.on_deadline() {
                        return;
                    }
                }
                () = self.hub.stopping.cancelled() => {
                    let close = PriorityMessage::Close(Close::GOING_AWAY);
                    let _ = self.channels.priority.try_send(close);
                    return;
                }
            }
        }
    }

    /// Sends a ping, or looks for a sign of the client. Returns false if it is gone.
    fn on_deadline(&mut self) -> bool {
        // Behind commands that are carried out its answer would not be seen. Where
        // they wait until it has read their answers, it has to read.
        let has_to_read = self.waiting.is_some() || self.first_bytes > MAX_ANSWER_BYTES;
        let is_read = self.commands.len() < MAX_COMMANDS && self.channels.events.is_empty();
        let taken = self.channels.data.written();
        match self.heartbeat.on_deadline(Instant::now(), taken, is_read || has_to_read) {
            Beat::Wait => true,
            Beat::Ping => self.channels.priority.try_send(PriorityMessage::Ping).is_ok(),
            Beat::Dead => {
                tracing::info!("a client does not answer pings; dropped");
                false
            }
        }
    }

    /// Sends what is new, for as long as the socket takes it.
    fn deliver(&mut self) {
        while let Some(mut batch) = self.spent.take() {
            batch.append(&mut self.first);
            self.first_bytes = 0;
            // Events that the filter leaves out make no batch.
            while batch.is_empty() && self.cursor.0 < self.hub.feed.next() {
                self.hub.feed.take(&mut self.cursor, &self.filter, &mut batch);
            }
            if batch.is_empty() {
                self.spent = Some(batch);
                return;
            }
            self.spent = self.channels.send_batch(batch);
        }
    }

    fn on_frame(&mut self, frame: Result<ClientFrame, String>) {
        let ClientFrame { id, command } = match frame {
            Ok(frame) => frame,
            Err(error) => {
                self.answer(None, Err(error));
                return;
            }
        };
        match command {
            Command::Subscribe { workspace_id } => {
                if let Err(error) = self.hub.workspace(&workspace_id) {
                    self.answer(id, Err(error.to_string()));
                } else if self.filter.workspaces.len() < MAX_FILTER {
                    self.filter.workspaces.insert(workspace_id);
                    self.answer(id, Ok(json!({})));
                } else {
                    self.answer(id, Err(format!("at most {MAX_FILTER} workspaces")));
                }
            }
            Command::Unsubscribe { workspace_id } => {
                self.filter.workspaces.remove(&workspace_id);
                self.answer(id, Ok(json!({})));
            }
            command => {
                let hub = Arc::clone(&self.hub);
                self.commands.push(Box::pin(async move {
                    (id, hub.execute(command).await.map_err(|error| error.to_string()))
                }));
            }
        }
    }

    /// Answers a command, before the next events.
    fn answer(&mut self, id: Option<Value>, done: Result<Value, String>) {
        let answer = match (id, done) {
            (Some(id), Ok(result)) => {
                json!({ "type": "command_result", "id": id, "result": result })
            }
            // What the client did not ask for it does not get.
            (None, Ok(_)) => return,
            (Some(id), Err(error)) => json!({ "type": "error", "id": id, "error": error }),
            (None, Err(error)) => json!({ "type": "error", "error": error }),
        };
        let frame = text_frame(&answer.to_string());
        self.first_bytes += frame.len();
        self.first.push(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_parsed() {
        assert_eq!(Options::parse("token=x").unwrap(), Options::default());
        let options = Options::parse("after=5&token=x&stream=s").unwrap();
        assert_eq!((options.after, options.stream.as_deref()), (Some(5), Some("s")));
        for bad in ["after=", "after=x", "after=-1"] {
            assert!(Options::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn frames_are_read_with_their_fields() {
        let read = |text: &str| parse(BytesMut::from(text));
        let frame = read(
            r#"{"type":"permission_response","requestId":"r","approved":true,"updatedInput":{"a":1}}"#,
        );
        let Command::PermissionResponse { request_id, answer } = frame.unwrap().command else {
            panic!("another command");
        };
        assert_eq!(request_id, "r");
        assert!(answer.approved && answer.updated_input.unwrap()["a"] == 1);
        let frame = read(r#"{"type":"create_agent","id":7,"workspaceId":"w","role":"builder"}"#);
        let frame = frame.unwrap();
        assert_eq!(frame.id, Some(7.into()));
        assert!(
            matches!(frame.command, Command::CreateAgent(new) if new.role.as_deref() == Some("builder"))
        );
        assert!(matches!(read(r#"{"type":"list_agents"}"#).unwrap().command, Command::ListAgents));
        for bad in ["", "[]", "{}", r#"{"type":"nothing"}"#, r#"{"type":"subscribe"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
