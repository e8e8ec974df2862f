//! `?watch=true`.

use super::Fixture;
use claude_relay_testing::wait;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;

/// An open stream of events.
struct Events(Lines<BufReader<TcpStream>>);

impl Events {
    async fn open(address: SocketAddr, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("a stream of events");
        let head = format!("GET /files{path}?watch=true HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a stream of events");
        let mut events = Self(BufReader::new(stream).lines());
        assert_eq!(events.line().await.as_deref(), Some("HTTP/1.1 200 OK"));
        let mut is_stream = false;
        // The first comment: the watch is set.
        while let Some(line) = events.line().await.filter(|line| line != ":") {
            is_stream |= line.eq_ignore_ascii_case("content-type: text/event-stream");
        }
        assert!(is_stream);
        events
    }

    async fn line(&mut self) -> Option<String> {
        wait::within("a line", self.0.next_line()).await.expect("a stream of events")
    }

    async fn event(&mut self) -> Option<Value> {
        while let Some(line) = self.line().await {
            if let Some(event) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(event).expect("a stream of events"));
            }
        }
        None
    }

    async fn expect(&mut self, event: &str, path: &str) {
        assert_eq!(self.event().await, Some(json!({ "event": event, "path": path })));
    }
}

#[tokio::test]
async fn changes_are_told_with_paths_of_the_workspace() {
    let fixture = Fixture::start();
    fixture.put_there("src/deep/old", "1");
    let mut all = Events::open(fixture.relay.address(), "").await;
    let mut below = Events::open(fixture.relay.address(), "/src").await;
    let mut one = Events::open(fixture.relay.address(), "/src/deep/old").await;
    fixture.put_there("beside", "");
    all.expect("created", "beside").await;
    assert_eq!(fixture.put("src/deep/old", "2").await.status, 204);
    for events in [&mut all, &mut below, &mut one] {
        events.expect("modified", "src/deep/old").await;
    }
    assert_eq!(fixture.put("src/new/file", "").await.status, 201);
    for events in [&mut all, &mut below] {
        events.expect("created", "src/new").await;
        events.expect("created", "src/new/file").await;
    }
    assert_eq!(fixture.delete("src/deep/old").await.status, 204);
    for events in [&mut all, &mut below, &mut one] {
        events.expect("removed", "src/deep/old").await;
    }
    std::fs::remove_dir_all(fixture.place("src")).unwrap();
    while let Some(event) = below.event().await {
        assert_eq!(event["event"], "removed");
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_tells_of_its_gap() {
    let fixture = Fixture::start();
    let mut events = Events::open(fixture.relay.address(), "").await;
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    // More than the kernel's queue and the socket's buffers hold.
    let name = "a".repeat(240);
    for n in 0..limit * 2 {
        let path = fixture.place(&format!("{name}{n}"));
        std::fs::write(&path, "").unwrap();
        std::fs::remove_file(path).unwrap();
    }
    loop {
        let event = events.event().await.unwrap();
        if event["event"] == "gap" {
            assert_eq!(event["path"], "");
            break;
        }
    }
    fixture.put_there("after", "");
    while events.event().await.unwrap() != json!({ "event": "created", "path": "after" }) {}
}

#[tokio::test]
async fn eight_watches_are_the_limit() {
    let fixture = Fixture::start();
    assert_eq!(fixture.get("?watch=maybe").await.status, 400);
    assert_eq!(fixture.get("missing?watch=true").await.status, 404);
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(Events::open(fixture.relay.address(), "").await);
    }
    assert_eq!(fixture.get("?watch=true").await.status, 503);
    assert_eq!(fixture.get("").await.status, 200, "files are read all the same");
    drop(open);
    wait::within("a place", async {
        loop {
            let mut stream = TcpStream::connect(fixture.relay.address()).await.unwrap();
            let head = format!(
                "GET /files?watch=true HTTP/1.1\r\nHost: {}\r\n\r\n",
                fixture.relay.address()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // A refusal can be cut off by its reset.
            let line = BufReader::new(stream).lines().next_line().await;
            if matches!(line, Ok(Some(line)) if line == "HTTP/1.1 200 OK") {
                break;
            }
        }
    })
    .await;
}
