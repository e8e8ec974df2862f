//! Malformed HTTP, and clients that are slow.

mod bodies;
mod heads;
mod timeouts;

pub(super) use timeouts::reset;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{AttackHarness, exchange, read_all, status};
use crate::support::http;
use claude_relay_testing::wait;

/// The server's timeout for a head or a body, and an upper bound for it.
const SLOW: Duration = Duration::from_secs(10);
const SLOWEST: Duration = Duration::from_secs(15);

/// So that what follows an answer is the end.
const CLOSE: &str = "Connection: close\r\n";

/// Sends one request on a connection of its own and returns the answer.
async fn answer(harness: &AttackHarness, request: &str) -> String {
    exchange(harness.address(), request.as_bytes()).await
}

/// Checks for a single refusal with this status and a reason in JSON.
#[track_caller]
fn assert_refused(said: &str, expected: u16, request: &str) {
    let request = request.get(..300).unwrap_or(request);
    assert_eq!(status(said), expected, "{request:?}: {said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{request:?}: {said}");
    let (head, body) = said.split_once("\r\n\r\n").expect("an empty line ends a head");
    let head = head.to_ascii_lowercase();
    for field in ["connection: close", "content-type: application/json", "nosniff"] {
        assert!(head.contains(field), "{request:?}: {said}");
    }
    let body: serde_json::Value = serde_json::from_str(body).expect("the contract says JSON");
    let text = body["error"].as_str().expect("a reason");
    assert_eq!(body, json!({ "error": text }), "{said}");
}

async fn model(address: SocketAddr) -> serde_json::Value {
    http::get(address, "/config").await.json()["config"]["model"].take()
}
