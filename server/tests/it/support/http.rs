//! The least HTTP/1.1 client there can be: what it sends and reads is exact,
//! header by header, which no library lets a test have.

use claude_relay_testing::wait;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Response {
    /// The value of a header, whatever its case; `None` when it is absent.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("a JSON body, not {:?}: {error}", self.body))
    }
}

/// `GET path`.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[], "").await
}

/// `POST path` of a JSON body.
pub(crate) async fn post(address: SocketAddr, path: &str, body: &str) -> Response {
    request(address, "POST", path, &[("Content-Type", "application/json")], body).await
}

/// A request with exactly these headers and the ones HTTP cannot do without:
/// `Host` (unless given), `Content-Length` (when there is a body), and
/// `Connection: close`.
pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += &format!("Host: {address}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "Connection: close\r\n\r\n";
    exchange(address, format!("{head}{body}").as_bytes(), method == "HEAD").await
}

/// Sends bytes as they are and reads one answer.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8], bodiless: bool) -> Response {
    wait::within("an HTTP answer", async {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        // A server may answer and close before it has read everything (413).
        let _ = stream.write_all(bytes).await;
        let head = read_head(&mut stream).await;
        let mut response = parse_head(&head);
        if !bodiless {
            response.body = read_body(&mut stream, &response).await;
        }
        response
    })
    .await
}

/// A connection for several requests.
pub(crate) struct KeptConnection(TcpStream, SocketAddr);

impl KeptConnection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("the server listens"), address)
    }

    /// `GET path`, and the connection stays open.
    pub(crate) async fn get(&mut self, path: &str) -> Response {
        let Self(stream, address) = self;
        wait::within("an HTTP answer", async {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("the server reads");
            let mut response = parse_head(&read_head(stream).await);
            response.body = read_body(stream, &response).await;
            response
        })
        .await
    }
}

/// The bytes of an answer up to and with the empty line, and none beyond it:
/// after an upgrade, what follows belongs to the WebSocket.
pub(super) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) => {
                panic!("an HTTP head, not {:?}: {error}", String::from_utf8_lossy(&head))
            }
        }
    }
    String::from_utf8(head).expect("an ASCII head")
}

pub(super) fn parse_head(head: &str) -> Response {
    let mut lines = head.trim_end().split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .unwrap_or_else(|| panic!("an HTTP/1.1 status line in {head:?}"));
    let headers = lines
        .map(|line| line.split_once(':').unwrap_or_else(|| panic!("a header, not {line:?}")))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Response { status, headers, body: String::new() }
}

async fn read_body(stream: &mut TcpStream, head: &Response) -> String {
    let mut body = Vec::new();
    match head.header("content-length") {
        Some(length) => {
            let length = length.parse().expect("a length is a number");
            stream.take(length).read_to_end(&mut body).await.expect("the announced body");
        }
        None => {
            stream.read_to_end(&mut body).await.expect("a body up to the end");
        }
    }
    String::from_utf8(body).expect("a UTF-8 body")
}
