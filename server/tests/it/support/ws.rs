//! WebSocket clients: a well-behaved one, and one that sends any bytes at all.
//!
//! Neither is built on the library the server uses, so that the two check each
//! other.

use super::http;
use claude_relay_testing::wait;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Longest time for all frames up to an awaited one.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The paths that clients have opened, by address of the server, in order.
static PATHS: Mutex<BTreeMap<SocketAddr, Vec<String>>> = Mutex::new(BTreeMap::new());

/// The paths that clients have opened at `address`.
pub(crate) fn paths(address: SocketAddr) -> Vec<String> {
    PATHS.lock().expect("no holder panics").get(&address).cloned().unwrap_or_default()
}

/// Begins anew for another server at `address`.
pub(crate) fn forget_paths(address: SocketAddr) {
    PATHS.lock().expect("no holder panics").remove(&address);
}

/// Next event of a connection.
#[derive(Debug)]
pub(crate) enum Seen {
    /// A text frame.
    Frame(String),
    /// The end: the close code, or `None` when the connection just ended.
    Closed(Option<u16>),
}

/// A client that keeps every frame it has read.
pub(crate) struct Client {
    socket: WebSocketStream<TcpStream>,
    frames: Vec<String>,
}

impl Client {
    /// Connects to `/ws` and reads `connected`, which must be the first frame.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address, "/ws").await;
        let first = client.frame().await;
        assert_eq!(first, json!({ "type": "connected" }));
        client
    }

    /// Connects to `path` and reads nothing yet.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        PATHS.lock().expect("no holder panics").entry(address).or_default().push(path.to_owned());
        let opened = wait::within("a WebSocket handshake", async {
            let stream = TcpStream::connect(address).await.expect("the server listens");
            let request = format!("ws://{address}{path}").into_client_request().expect("a URL");
            // The bounds under test are the server's, so there are none here.
            let bounds = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
            tokio_tungstenite::client_async_with_config(request, stream, Some(bounds)).await
        })
        .await;
        let (socket, _) = opened.unwrap_or_else(|error| panic!("{path} is refused: {error}"));
        Self { socket, frames: Vec::new() }
    }

    /// Sends one JSON frame.
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.send_text(frame.to_string()).await;
    }

    /// Sends one JSON frame, if the connection is still there.
    pub(crate) async fn try_send(&mut self, frame: &Value) -> bool {
        self.socket.send(Message::text(frame.to_string())).await.is_ok()
    }

    /// Sends a text frame as it is.
    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends any WebSocket message.
    pub(crate) async fn send_message(&mut self, message: Message) {
        let sent = wait::within("the server to take a message", self.socket.send(message)).await;
        sent.expect("the connection is open");
    }

    /// Sends a user message of `content`, a string or an array of blocks.
    pub(crate) async fn say(&mut self, content: impl Into<Value>) {
        self.send(&json!({
            "type": "user_message",
            "data": {
                "type": "user",
                "message": { "role": "user", "content": content.into() },
                "parent_tool_use_id": null,
                "session_id": "",
            },
        }))
        .await;
    }

    /// Sends an interrupt.
    pub(crate) async fn interrupt(&mut self) {
        self.send(&json!({ "type": "interrupt" })).await;
    }

    /// The next thing to be seen. Pings are answered on the way.
    pub(crate) async fn see(&mut self) -> Seen {
        let message = wait::within("a frame of the server", async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => return other,
                }
            }
        })
        .await;
        match message {
            Some(Ok(Message::Text(text))) => {
                self.frames.push(text.as_str().to_owned());
                Seen::Frame(text.as_str().to_owned())
            }
            Some(Ok(Message::Close(close))) => Seen::Closed(close.map(|close| close.code.into())),
            None | Some(Err(Error::ConnectionClosed | Error::Io(_) | Error::Protocol(_))) => {
                Seen::Closed(None)
            }
            Some(other) => panic!("a text frame or a close, not {other:?}"),
        }
    }

    /// The next frame as JSON.
    pub(crate) async fn frame(&mut self) -> Value {
        match self.see().await {
            Seen::Frame(text) => serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("a frame is JSON, not {text:?}: {error}")),
            Seen::Closed(code) => panic!("a frame, not the end of the connection ({code:?})"),
        }
    }

    /// Frames up to and with the first that `is_last` accepts.
    pub(crate) async fn until(&mut self, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut frames = Vec::new();
        let found = tokio::time::timeout(LONGEST_WAIT, async {
            loop {
                let frame = self.frame().await;
                let done = is_last(&frame);
                frames.push(frame);
                if done {
                    break;
                }
            }
        })
        .await;
        assert!(found.is_ok(), "{} frames in vain, at last {:?}", frames.len(), frames.last());
        frames
    }

    /// Frames up to and with the agent's next `result`.
    pub(crate) async fn turn(&mut self) -> Turn {
        Turn(self.until(|frame| frame["data"]["type"] == "result").await)
    }

    /// Reads to the end: the close code.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Seen::Closed(code) = self.see().await {
                return code;
            }
        }
    }

    /// Closes politely.
    pub(crate) async fn close(mut self) {
        wait::within("the server to answer a close", async {
            self.socket.close(None).await.expect("the connection is open");
            while let Some(Ok(_)) = self.socket.next().await {}
        })
        .await;
    }

    /// Every frame read so far, as it came.
    pub(crate) fn frames(&self) -> &[String] {
        &self.frames
    }

    /// The `data` of every `sdk_message` read so far: its bytes, untouched.
    pub(crate) fn data(&self) -> Vec<&str> {
        #[derive(Deserialize)]
        struct Frame<'a> {
            r#type: &'a str,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
        }
        self.frames
            .iter()
            .map(|frame| serde_json::from_str(frame).expect("a frame is an object with a type"))
            .filter(|frame: &Frame<'_>| frame.r#type == "sdk_message")
            .map(|frame| frame.data.expect("an sdk_message has data").get())
            .collect()
    }
}

/// The frames of one turn.
#[derive(Debug)]
pub(crate) struct Turn(pub(crate) Vec<Value>);

impl Turn {
    /// Messages of the agent: each `data`, in order.
    pub(crate) fn said(&self) -> Vec<&Value> {
        self.0.iter().filter(|f| f["type"] == "sdk_message").map(|f| &f["data"]).collect()
    }

    /// `type`, or `type/subtype` where there is one, of each message.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.said()
            .into_iter()
            .filter_map(|said| {
                let kind = text(&said["type"])?;
                Some(
                    text(&said["subtype"])
                        .map_or_else(|| kind.clone(), |sub| format!("{kind}/{sub}")),
                )
            })
            .collect()
    }

    /// The closing `result`.
    pub(crate) fn result(&self) -> &Value {
        self.said().pop().expect("a turn ends with a result")
    }
}

/// A WebSocket whose every byte the test writes itself.
pub(crate) struct RawClient {
    stream: TcpStream,
}

impl RawClient {
    /// Upgrades `path` with `headers` beside the needed ones: the answer and,
    /// if it is 101, the open socket.
    pub(crate) async fn upgrade(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (http::Response, Self) {
        Self::upgrade_with(address, path, headers, &[]).await
    }

    /// The same with `early` bytes sent behind the request, before its answer.
    pub(crate) async fn upgrade_with(
        address: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
        early: &[u8],
    ) -> (http::Response, Self) {
        wait::within("an answer to an upgrade", async {
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            let mut head = format!("GET {path} HTTP/1.1\r\n");
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
                head += &format!("Host: {address}\r\n");
            }
            for (name, value) in headers {
                head += &format!("{name}: {value}\r\n");
            }
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            let bytes = [head.as_bytes(), early].concat();
            stream.write_all(&bytes).await.expect("the server reads");
            let head = http::read_head(&mut stream).await;
            (http::parse_head(&head), Self { stream })
        })
        .await
    }

    /// Upgrades `/ws` and reads the frame `connected`.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let (answer, mut client) = Self::upgrade(address, "/ws", &[]).await;
        assert_eq!(answer.status, 101, "{answer:?}");
        let (first, payload) = client.read().await.expect("a first frame");
        assert_eq!((first, &payload[..]), (0x81, &br#"{"type":"connected"}"#[..]));
        client
    }

    /// Reads to the end: the code of the close frame, `None` without one.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some((first, payload)) = self.read().await {
            if first == 0x88 {
                code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        code
    }

    /// Writes bytes as they are.
    ///
    /// That the server closes before it has read them all is no failure here:
    /// it may have seen enough.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _ = wait::within("the server to read", self.stream.write_all(bytes)).await;
    }

    /// Writes `bytes` over and over until the other side takes no more of them
    /// and `is_idle`: how many it has taken.
    pub(crate) async fn write_until_refused(
        &mut self,
        bytes: &[u8],
        mut is_idle: impl FnMut() -> bool,
    ) -> usize {
        let mut taken = 0;
        wait::within("the server to read no more", async {
            loop {
                let writing = self.stream.write(&bytes[taken % bytes.len()..]);
                match tokio::time::timeout(Duration::from_millis(500), writing).await {
                    Ok(written) => taken += written.expect("it is open"),
                    Err(_) if is_idle() => return taken,
                    Err(_) => {}
                }
            }
        })
        .await
    }

    /// Writes bytes while it reads frames, until one of them `is_last`: neither
    /// side can come to wait for the other.
    pub(crate) async fn write_while_reading(
        &mut self,
        bytes: &[u8],
        mut is_last: impl FnMut(u8, Vec<u8>) -> bool,
    ) {
        let (from, mut to) = self.stream.split();
        let writing = async {
            wait::within("the server to read", to.write_all(bytes)).await.expect("it is open");
        };
        let mut from = tokio::io::BufReader::new(from);
        let reading = async {
            loop {
                let (first, payload) = read_frame(&mut from).await.expect("it is open");
                if is_last(first, payload) {
                    break;
                }
            }
        };
        tokio::join!(writing, reading);
    }

    /// Says that nothing more will be written.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.expect("half of it closes");
    }

    /// Reads one unmasked frame: its first byte (FIN and opcode) and payload;
    /// `None` at the end of the connection.
    pub(crate) async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        read_frame(&mut self.stream).await
    }
}

async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    wait::within("a WebSocket frame", async {
        let first = stream.read_u8().await.ok()?;
        let length = match stream.read_u8().await.ok()? {
            126 => u64::from(stream.read_u16().await.ok()?),
            127 => stream.read_u64().await.ok()?,
            short => {
                assert!(short < 126, "a server does not mask");
                u64::from(short)
            }
        };
        let mut payload = vec![0; usize::try_from(length).expect("a length that fits")];
        stream.read_exact(&mut payload).await.ok()?;
        Some((first, payload))
    })
    .await
}

/// A frame of a client: `first` is FIN, the reserved bits and the opcode; the
/// payload is masked with a key of zeros, which leaves it readable.
pub(crate) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | u8::try_from(length).expect("under 126")),
        length => match u16::try_from(length) {
            Ok(length) => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
            Err(_) => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        },
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
