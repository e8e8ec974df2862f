//! A hub of a test's own, its REST interface, and a client that knows only the
//! documents.

pub(crate) mod paced;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use claude_relay_testing::process::Mark;
use claude_relay_testing::relay_process;
use claude_relay_testing::wait::{self, soon};
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use paced::{Pace, Paced};

pub(crate) const TOKEN: &str = "token-of-the-tests";

/// A directory that outlives the hubs of a test, one after the other.
pub(crate) struct HubDirectory {
    pub(crate) folder: TempDir,
    pub(crate) mark: Mark,
    hub_arguments: Vec<String>,
    relay_arguments: Vec<String>,
    environment: Vec<(String, String)>,
    has_token: bool,
    /// The file that the log goes to, at the level `debug`.
    log_file: Option<PathBuf>,
}

impl HubDirectory {
    /// For hubs with the demo agent.
    pub(crate) fn demo() -> Self {
        Self::with(&[], &["--demo", "--stop-grace", "1s"], &[])
    }

    /// For hubs with the demo agent, which asks for no permission: its own
    /// replies hold the word that makes it ask.
    pub(crate) fn trusting() -> Self {
        let relay = ["--demo", "--stop-grace", "1s", "--mode", "unrestricted"];
        Self::with(&[], &relay, &[("IS_SANDBOX", "1")])
    }

    pub(crate) fn with(hub: &[&str], relay: &[&str], environment: &[(&str, &str)]) -> Self {
        let own = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
        let folder = tempfile::Builder::new().prefix("hub-test-").tempdir().unwrap();
        Self {
            has_token: true,
            log_file: None,
            folder,
            mark: Mark::new(),
            hub_arguments: own(hub),
            relay_arguments: own(relay),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// Without the token of the tests.
    pub(crate) fn without_token(mut self) -> Self {
        self.has_token = false;
        self
    }

    /// Keeps a log of everything.
    pub(crate) fn keep_log(&mut self) -> PathBuf {
        let path = self.folder.path().join("log");
        self.log_file = Some(path.clone());
        path
    }

    /// Adds flags of the hub.
    pub(crate) fn add_flags(&mut self, flags: &[&str]) {
        self.hub_arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    pub(crate) fn log(&self, agent: &str) -> PathBuf {
        self.directory().join("logs").join(format!("{agent}.jsonl"))
    }

    pub(crate) async fn start(&self) -> Hub {
        let relay = tokio::task::spawn_blocking(|| relay_process::program().clone());
        let relay = relay.await.unwrap();
        self.start_with(&relay).await
    }

    /// A hub with a workspace and an agent of this role in it, by their ids.
    pub(crate) async fn start_with_agent(&self, role: &str) -> (Hub, String, String) {
        let hub = self.start().await;
        let workspace = hub.workspace("w").await;
        let agent = hub.agent(&workspace, role).await;
        (hub, workspace, agent)
    }

    pub(crate) async fn start_with(&self, relay: &Path) -> Hub {
        let (name, value) = self.mark.variable();
        let level = if self.log_file.is_some() { "debug" } else { "warn" };
        let mut child =
            Command::new(env!("CARGO_BIN_EXE_claude-relay-hub"))
                .args(["--port", "0", "--log"])
                .arg(level)
                .arg("--directory")
                .arg(self.directory())
                .arg("--relay-path")
                .arg(relay)
                .args(&self.hub_arguments)
                .arg("--")
                .args(["--log", level])
                .args(&self.relay_arguments)
                .env_clear()
                .env("PATH", env!("PATH"))
                .env("HOME", self.folder.path())
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .envs(self.has_token.then_some(("RELAY_HUB_TOKEN", TOKEN)))
                .env(name, value)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(self.log_file.as_ref().map_or_else(Stdio::inherit, |path| {
                    std::fs::File::create(path).unwrap().into()
                }))
                .kill_on_drop(true)
                .spawn()
                .expect("the hub starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon(lines.next_line()).await.unwrap().expect("it listens");
        let address = line.strip_prefix("listening on http://").unwrap().to_owned();
        Hub { address, child }
    }

    /// Waits until nothing lives that a hub of this place has started.
    pub(crate) fn assert_no_orphans(&self) {
        let left = self.mark.left_after(Duration::from_secs(30));
        assert!(left.is_empty(), "{left:?}");
    }
}

/// A running hub.
pub(crate) struct Hub {
    pub(crate) address: String,
    child: Child,
}

impl Hub {
    pub(crate) async fn kill(mut self) {
        soon(self.child.kill()).await.unwrap();
    }

    pub(crate) async fn stop(mut self) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        claude_relay_testing::process::signal(pid, rustix::process::Signal::TERM);
        assert!(soon(self.child.wait()).await.unwrap().success());
    }

    /// A request with the token. Returns the status and the JSON.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
        let bearer = format!("Bearer {TOKEN}");
        let (status, _, body) =
            self.request(method, path, &[("authorization", &bearer)], body).await;
        (status, body)
    }

    /// A request that has to succeed.
    pub(crate) async fn ok(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method, path, body).await;
        assert_eq!(status, StatusCode::OK, "{method} {path}: {answer}");
        answer
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> (StatusCode, hyper::HeaderMap, Value) {
        self.request_from("127.0.0.1", method, path, headers, body).await
    }

    /// A request from one of the addresses of this machine.
    pub(crate) async fn request_from(
        &self,
        from: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> (StatusCode, hyper::HeaderMap, Value) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from.parse::<std::net::IpAddr>().unwrap(), 0).into()).unwrap();
        let stream = soon(socket.connect(self.address.parse().unwrap())).await.unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, headers, bytes) =
            self.bytes_over(stream, method, path, headers, body.into_bytes()).await;
        (status, headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, hyper::HeaderMap, Vec<u8>) {
        let stream = soon(TcpStream::connect(&self.address)).await.unwrap();
        self.bytes_over(stream, method, path, headers, body).await
    }

    async fn bytes_over(
        &self,
        stream: TcpStream,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, hyper::HeaderMap, Vec<u8>) {
        let (mut send, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", &self.address);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(bytes::Bytes::from(body))).unwrap();
        let answer = soon(send.send_request(request)).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = soon(body.collect()).await.unwrap().to_bytes().to_vec();
        (head.status, head.headers, body)
    }

    pub(crate) async fn workspace(&self, name: &str) -> String {
        let made = self.ok("POST", "/api/workspaces", json!({ "name": name })).await;
        made["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn agent(&self, workspace: &str, role: &str) -> String {
        let new = json!({ "workspaceId": workspace, "role": role });
        let made = self.ok("POST", "/api/agents", new).await;
        made["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn say(&self, agent: &str, text: &str) {
        let path = format!("/api/agents/{agent}/messages");
        self.ok("POST", &path, json!({ "text": text })).await;
    }

    /// A client as the WebSocket's document describes it.
    pub(crate) async fn connect(&self) -> Socket {
        self.connect_with(&format!("token={TOKEN}")).await
    }

    /// A client that asks for numbers.
    pub(crate) async fn connect_after(&self, after: u64) -> Socket {
        self.connect_with(&format!("token={TOKEN}&after={after}")).await
    }

    pub(crate) async fn connect_with(&self, query: &str) -> Socket {
        let stream = soon(TcpStream::connect(&self.address)).await.unwrap();
        let url = format!("ws://{}/?{query}", self.address);
        let (socket, _) = soon(client_async(url, stream)).await.unwrap();
        Socket { socket }
    }

    /// A client that reads at this pace.
    pub(crate) async fn connect_paced(&self, pace: &Pace) -> Socket<Paced> {
        let stream = soon(TcpStream::connect(&self.address)).await.unwrap();
        let url = format!("ws://{}/?token={TOKEN}", self.address);
        let (socket, _) = soon(client_async(url, Paced::new(stream, pace))).await.unwrap();
        Socket { socket }
    }

    /// Waits until the agent has this status.
    pub(crate) async fn until_status(&self, agent: &str, status: &str) {
        let path = format!("/api/agents/{agent}");
        wait::until_async(&format!("an agent that is {status}"), async || {
            self.ok("GET", &path, Value::Null).await["status"] == *status
        })
        .await;
    }

    /// Waits until the agent has done all its messages.
    pub(crate) async fn until_done(&self, agent: &str) -> Value {
        let path = format!("/api/agents/{agent}");
        for _ in 0..1200 {
            let seen = self.ok("GET", &path, Value::Null).await;
            if seen["queued"] == 0 {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{agent} does not get done");
    }
}

/// A WebSocket client.
pub(crate) struct Socket<S = TcpStream> {
    socket: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    pub(crate) async fn send(&mut self, frame: Value) {
        soon(self.socket.send(Message::text(frame.to_string()))).await.unwrap();
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        soon(self.socket.send(Message::text(text.to_owned()))).await.unwrap();
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Value {
        // Pings are no events: where none comes, the test ends.
        soon(async {
            loop {
                match self.socket.next().await.expect("an event").unwrap() {
                    Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        })
        .await
    }

    /// The next event of this type; the others are returned, too.
    pub(crate) async fn until(&mut self, kind: &str) -> (Vec<Value>, Value) {
        let mut before = Vec::new();
        loop {
            let event = self.next().await;
            if event["type"] == kind {
                return (before, event);
            }
            before.push(event);
        }
    }

    pub(crate) async fn until_type(&mut self, kind: &str) -> Value {
        self.until(kind).await.1
    }

    /// The code of the close frame that comes next.
    pub(crate) async fn close_code(&mut self) -> (u16, String) {
        loop {
            match soon(self.socket.next()).await {
                Some(Ok(Message::Close(Some(close)))) => {
                    return (close.code.into(), close.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
