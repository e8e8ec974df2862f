//! The one client: its connection, its frames in order.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::dice::Dice;
use crate::{DEADLINE, Failure};

/// Number of the last frames that a failure shows, and bytes of each.
const RECENT_FRAMES: usize = 8;
const RECENT_CHARS: usize = 240;

/// Counts of events.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) turns: u64,
    pub(crate) lines: u64,
    pub(crate) cuts: u64,
    pub(crate) stalls: u64,
    pub(crate) crashes: u64,
    pub(crate) interrupts: u64,
    pub(crate) gaps: u64,
}

/// The one client, across all its connections.
pub(crate) struct Client {
    address: SocketAddr,
    socket: WebSocketStream<TcpStream>,
    stream: String,
    /// The number of the last frame.
    last: u64,
    /// Beginnings of the last few frames, for the report of a failure.
    pub(crate) recent: VecDeque<String>,
    pub(crate) tally: Tally,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let (socket, stream) = attach(address, 0, None).await?;
        let (recent, tally) = (VecDeque::new(), Tally::default());
        Ok(Self { address, socket, stream, last: 0, recent, tally })
    }

    /// Loses the connection, one way or another, and comes back for the rest.
    pub(crate) async fn cut(&mut self, dice: &mut Dice) -> Result<(), Failure> {
        self.tally.cuts += 1;
        match dice.below(3) {
            0 => self.socket.get_ref().set_zero_linger()?,
            1 => {
                let _ = timeout(DEADLINE, self.socket.close(None)).await?;
            }
            _ => {}
        }
        let (socket, stream) = attach(self.address, self.last, Some(&self.stream)).await?;
        if stream != self.stream {
            return Err("the server has begun another stream".into());
        }
        self.socket = socket;
        Ok(())
    }

    pub(crate) async fn send(&mut self, frame: &Value) -> Result<(), Failure> {
        Ok(timeout(DEADLINE, self.socket.send(Message::text(frame.to_string()))).await??)
    }

    pub(crate) async fn say(&mut self, script: &Value) -> Result<(), Failure> {
        self.send(&json!({
            "type": "user_message",
            "data": { "type": "user", "message": { "role": "user", "content": script.to_string() } },
        }))
        .await
    }

    /// The next frame; its number must be the next one.
    pub(crate) async fn frame(&mut self) -> Result<Value, Failure> {
        // Pings keep coming when nothing else does any more.
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let message = timeout_at(deadline, self.socket.next())
                .await
                .map_err(|_| format!("nothing came for {DEADLINE:?} after {}", self.last))?;
            let text = match message.ok_or("the connection has ended")?? {
                Message::Text(text) => text,
                Message::Ping(_) | Message::Pong(_) => continue,
                other => return Err(format!("not a frame: {other:?}").into()),
            };
            let frame: Value = serde_json::from_str(&text)?;
            self.recent.push_back(text.chars().take(RECENT_CHARS).collect());
            if self.recent.len() > RECENT_FRAMES {
                self.recent.pop_front();
            }
            if frame["type"] == "gap" {
                let (from, to) = (frame["from"].as_u64(), frame["to"].as_u64());
                if from != Some(self.last + 1) || to < from {
                    return Err(format!("{frame} after {}", self.last).into());
                }
                self.tally.gaps += 1;
                self.last = to.unwrap_or_default();
                return Ok(frame);
            }
            if frame["seq"] != self.last + 1 {
                return Err(format!("{} after {}: {frame:.200}", frame["seq"], self.last).into());
            }
            self.last += 1;
            return Ok(frame);
        }
    }
}

/// Connects for sequenced delivery as soon as the place is free.
async fn attach(
    address: SocketAddr,
    after: u64,
    stream: Option<&str>,
) -> Result<(WebSocketStream<TcpStream>, String), Failure> {
    let stream = stream.map_or_else(String::new, |stream| format!("&stream={stream}"));
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline {
        let request = format!("ws://{address}/ws?after={after}{stream}").into_client_request()?;
        let tcp = TcpStream::connect(address).await?;
        let (mut socket, _) = tokio_tungstenite::client_async(request, tcp).await?;
        let first = timeout(DEADLINE, socket.next()).await?.ok_or("no first frame")??;
        let first: Value = serde_json::from_str(first.to_text()?)?;
        if let Some(stream) = first["stream"].as_str() {
            return Ok((socket, stream.to_owned()));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Err("the place is never free".into())
}
