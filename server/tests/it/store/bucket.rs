//! A store in a bucket, on a server that speaks S3.

use super::Machine;
use crate::support::http;
use crate::support::relay::Launch;
use claude_relay_testing::tcp_service::TcpService;
use claude_relay_testing::tools::{self, Cli};
use claude_relay_testing::wait;
use serde_json::json;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

const SECRET: &str = "the-secret-of-the-bucket";

struct Server {
    address: String,
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Server {
    async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testing/s3_server.py");
        let mut child = Command::new(tools::moto_python())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let address = line(&mut lines, "http://").await;
        Self { address, lines, child }
    }

    /// Cuts the object with this text.
    async fn cut(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        stdin.write_all(format!("{text}\n").as_bytes()).await.expect("it reads");
        line(&mut self.lines, "cut ").await;
    }

    fn launch(&self, launch: Launch) -> Launch {
        launch
            .argument("--store=s3://bucket/a/prefix")
            .variable("RELAY_STORE_ENDPOINT", &self.address)
            .variable("AWS_ACCESS_KEY_ID", "the-key")
            .variable("AWS_SECRET_ACCESS_KEY", SECRET)
    }
}

/// The next line that begins so.
async fn line(lines: &mut Lines<BufReader<ChildStdout>>, begin: &str) -> String {
    wait::within(begin, async {
        loop {
            let line = lines.next_line().await.expect("it is text").expect("it goes on");
            if line.starts_with(begin) {
                return line;
            }
        }
    })
    .await
}

/// A way to the bucket that breaks off once, before the last byte of a part.
async fn breaking(to: &str) -> (TcpService, Arc<AtomicBool>) {
    let to = to.strip_prefix("http://").expect("an address").to_owned();
    let has_broken = Arc::new(AtomicBool::new(false));
    let broken = Arc::clone(&has_broken);
    let service = TcpService::start(move |client| {
        let (to, broken) = (to.clone(), Arc::clone(&broken));
        async move { pass(client, &to, &broken).await }
    });
    (service.await, has_broken)
}

async fn pass(mut client: TcpStream, to: &str, broken: &AtomicBool) {
    let mut server = TcpStream::connect(to).await.expect("the server of S3");
    let (mut request, mut answer) = (Vec::with_capacity(64 << 10), Vec::with_capacity(64 << 10));
    let mut breaks = false;
    loop {
        tokio::select! {
            read = client.read_buf(&mut request) => {
                let Ok(1..) = read else { return };
                let is_read = request.starts_with(b"GET ") && memmem(&request, b"/part-");
                breaks |= is_read && !broken.swap(is_read, Ordering::Relaxed);
                let _ = server.write_all(&request).await;
                request.clear();
            }
            read = server.read_buf(&mut answer) => {
                let Ok(1..) = read else { return };
                if breaks {
                    // The head comes before the body.
                    if answer.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let _ = client.write_all(&answer[..answer.len() - 1]).await;
                    return;
                }
                let _ = client.write_all(&answer).await;
                answer.clear();
            }
        }
    }
}

fn memmem(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_part_that_was_cut_in_a_bucket_is_told() {
    let mut server = Server::start().await;
    let mut first = Machine::launched(Cli::Newest, json!({}), |launch| server.launch(launch)).await;
    first.turn("One?", "One.").await;
    let id = first.turn("Two?", "Two.").await["session_id"].as_str().unwrap().to_owned();
    first.lose();
    server.cut("\"One.\"").await;

    let resume = json!({ "resume": id });
    let mut second = Machine::launched(Cli::Newest, resume, |launch| server.launch(launch)).await;
    second.turn("Three?", "Three.").await;
    second.until_told("is damaged in the store").await;
    second.until_told("has lost a part of the conversation").await;
    second.end().await;
}

#[tokio::test]
async fn an_answer_of_a_bucket_that_breaks_off_is_asked_for_again() {
    let server = Server::start().await;
    let mut first = Machine::launched(Cli::Newest, json!({}), |launch| server.launch(launch)).await;
    first.turn("One?", "One.").await;
    let id = first.turn("Two?", "Two.").await["session_id"].as_str().unwrap().to_owned();
    first.lose();

    let (way, has_broken) = breaking(&server.address).await;
    let through = format!("http://127.0.0.1:{}", way.port);
    let launch = |launch: Launch| server.launch(launch).variable("RELAY_STORE_ENDPOINT", &through);
    let mut second = Machine::launched(Cli::Newest, json!({ "resume": id }), launch).await;
    second.turn("Three?", "Three.").await;
    assert!(has_broken.load(Ordering::Relaxed));
    let sent = second.api.turn(1).await.body["messages"].to_string();
    for text in ["One?", "One.", "Two?", "Two.", "Three?"] {
        assert!(sent.contains(text), "{text}: {sent}");
    }
    let frames = second.client.frames().join("\n");
    assert!(!frames.contains("is damaged in the store"), "{frames}");
    second.end().await;
}

#[tokio::test]
async fn a_conversation_goes_on_from_a_bucket() {
    let server = Server::start().await;
    let launch = |launch| server.launch(launch);
    let mut first = Machine::launched(Cli::Newest, json!({}), launch).await;
    first.turn("One?", "One.").await;
    let id = first.turn("Two?", "Two.").await["session_id"].as_str().unwrap().to_owned();
    let health = http::get(first.relay.address(), "/health").await;
    assert_eq!(health.json()["agent_state"]["store"], json!({ "state": "ok" }));
    assert!(!health.body.contains(SECRET) && !first.relay.stderr().contains(SECRET));
    first.lose();

    let mut second = Machine::launched(Cli::Newest, json!({ "resume": id }), launch).await;
    second.turn("Three?", "Three.").await;
    let sent = second.api.turn(1).await.body["messages"].to_string();
    for text in ["One?", "One.", "Two?", "Two.", "Three?"] {
        assert!(sent.contains(text), "{text}: {sent}");
    }
    second.end().await;
}

#[tokio::test]
async fn a_conversation_goes_on_without_its_bucket() {
    let server = Server::start().await;
    let launch = |launch: Launch| {
        launch
            .argument("--store=s3://missing")
            .variable("RELAY_STORE_ENDPOINT", &server.address)
            .variable("RELAY_STORE_ACCESS_KEY_ID", "the-key")
            .variable("RELAY_STORE_SECRET_ACCESS_KEY", SECRET)
    };
    let mut machine = Machine::launched(Cli::Newest, json!({}), launch).await;
    machine.turn("One?", "One.").await;
    let health = http::get(machine.relay.address(), "/health").await;
    assert_eq!(health.json()["agent_state"]["store"]["state"], "behind");
    assert!(!health.body.contains(SECRET) && !machine.relay.stderr().contains(SECRET));
    machine.end().await;
}
