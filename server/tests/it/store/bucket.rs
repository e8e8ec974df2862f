//! A store in a bucket, on a server that speaks S3.

use super::Machine;
use crate::support::http;
use crate::support::relay::Launch;
use claude_relay_testing::tools::{self, Cli};
use claude_relay_testing::wait;
use serde_json::json;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const SECRET: &str = "the-secret-of-the-bucket";

struct Server {
    address: String,
    _child: Child,
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
        let address = wait::within("the server of S3", async {
            loop {
                let line =
                    lines.next_line().await.expect("it is text").expect("it tells its address");
                if line.starts_with("http://") {
                    return line;
                }
            }
        });
        Self { address: address.await, _child: child }
    }

    fn launch(&self, launch: Launch) -> Launch {
        launch
            .argument("--store=s3://bucket/a/prefix")
            .variable("RELAY_STORE_ENDPOINT", &self.address)
            .variable("AWS_ACCESS_KEY_ID", "the-key")
            .variable("AWS_SECRET_ACCESS_KEY", SECRET)
    }
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
