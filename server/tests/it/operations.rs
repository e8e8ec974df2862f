//! The server under the care of other programs: probes, figures, the lifeline,
//! and what is said about a start that lacks something.

use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::process::{self, descendants};
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

const TOKEN: &str = "correct-horse-battery";

/// An agent that ends by SIGKILL alone.
const STUBBORN: &str = r#"#!/bin/bash
[ "$1" = --version ] && exit 1
trap '' TERM
echo '{"type":"started"}'
exec sleep 60
"#;

/// The samples by name and labels. Panics at whatever is no Prometheus text.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut families = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').expect("a name and a kind");
            assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
            assert!(families.insert(name, kind).is_none(), "twice: {name}");
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let bare = name.split('{').next().expect("a name");
            let is_known = families.iter().any(|(family, kind)| match *kind {
                "histogram" => {
                    let rest = bare.strip_prefix(family);
                    rest.is_some_and(|rest| ["_bucket", "_sum", "_count"].contains(&rest))
                }
                _ => bare == *family,
            });
            assert!(is_known && bare.starts_with("claude_relay_"), "{line}");
            samples.insert(name.to_owned(), value.parse().expect("a number"));
        }
    }
    samples
}

#[tokio::test]
async fn the_figures_follow_what_happens() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let look = async || {
        let answer = http::get(relay.address(), "/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let kind = answer.header("content-type").expect("a type");
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        samples(&answer.body)
    };
    let before = look().await;
    assert_eq!(before["claude_relay_turns_total"], 0.0);
    assert_eq!(before["claude_relay_agent_state{state=\"stopped\"}"], 1.0);
    assert_eq!(before["claude_relay_client_connected"], 0.0);

    let mut client = Client::connect(relay.address()).await;
    client.say("Hello").await;
    client.turn().await;
    let mut second = Client::open(relay.address(), "/ws").await;
    tokio::select! {
        code = second.closed() => assert_eq!(code, Some(1013)),
        // The holder answers pings only while it is read.
        frame = client.frame() => panic!("nothing was expected, not {frame}"),
    }
    let foreign = [("Origin", "http://elsewhere.example")];
    http::request(relay.address(), "GET", "/config", &foreign, "").await;

    let after = look().await;
    for (name, value) in [
        ("turns_total", 1.0),
        ("turn_duration_seconds_count", 1.0),
        ("turn_duration_seconds_bucket{le=\"+Inf\"}", 1.0),
        ("messages_total", 1.0),
        ("clients_total", 1.0),
        ("clients_refused_total", 1.0),
        ("client_connected", 1.0),
        ("agent_starts_total", 1.0),
        ("agent_restarts_total", 0.0),
        ("requests_refused_total{cause=\"foreign_origin\"}", 1.0),
    ] {
        assert_eq!(after[&format!("claude_relay_{name}")], value, "{name}");
    }
    assert!(after["claude_relay_frames_total"] >= 2.0);
    assert!(after["claude_relay_replay_bytes"] <= after["claude_relay_replay_limit_bytes"]);
    let states = after.iter().filter(|(name, _)| name.starts_with("claude_relay_agent_state"));
    assert_eq!(states.map(|(_, value)| value).sum::<f64>(), 1.0);
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn figures_need_the_token_and_readiness_does_not() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument(format!("--auth-token={TOKEN}")).start();
    assert_eq!(http::get(relay.address(), "/metrics").await.status, 401);
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("Authorization", &*authorization)];
    let answer = http::request(relay.address(), "GET", "/metrics", &headers, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        samples(&answer.body)["claude_relay_requests_refused_total{cause=\"no_token\"}"],
        1.0
    );
    assert_eq!(http::get(relay.address(), "/ready").await.status, 200);
    relay.stop();
}

#[tokio::test]
async fn readiness_ends_with_the_begin_of_a_shutdown() {
    let env = TestEnv::new();
    let stubborn = env.file("stubborn-agent");
    executable(&stubborn, STUBBORN);
    let relay = Launch::new(&env)
        .argument("--claude-path")
        .argument(stubborn)
        .argument("--stop-grace=1s")
        .start();
    let mut client = Client::connect(relay.address()).await;
    client.until(|frame| frame["data"]["type"] == "started").await;
    let mut kept = http::KeptConnection::open(relay.address()).await;
    assert_eq!(kept.get("/ready").await.status, 200);
    relay.signal(Signal::TERM);
    let told = client.until(|frame| frame["type"] == "error").await;
    assert_eq!(told.last().expect("a frame")["error"], "Server is shutting down");
    for answer in [kept.get("/ready").await, http::get(relay.address(), "/ready").await] {
        assert_eq!(
            (answer.status, answer.json()),
            (503, json!({ "error": "the server is shutting down" }))
        );
    }
    let mut late = Client::open(relay.address(), "/ws").await;
    assert_eq!(late.closed().await, Some(1001));
    drop((client, kept));
    assert_eq!(relay.end().code(), Some(0));
}

/// A server with `--lifeline`, started by `command`, whose stdin stays open.
#[expect(clippy::disallowed_methods, reason = "the server is the child here")]
fn with_lifeline(env: &TestEnv, command: &[&str]) -> (Child, SocketAddr) {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .args(["--demo", "--lifeline", "--port=0", "--workspace"])
        .arg(env.workspace())
        .env_clear()
        .envs(env.environment())
        .current_dir(env.home())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let address = line.trim_end().strip_prefix("listening on http://").expect("the address");
    (child, address.parse().expect("an address"))
}

#[tokio::test]
async fn a_server_with_a_lifeline_ends_when_its_stdin_is_closed() {
    let env = TestEnv::new();
    let (mut child, address) = with_lifeline(&env, &[env!("CARGO_BIN_EXE_claude-relay-server")]);
    let mut client = Client::connect(address).await;
    drop(child.stdin.take());
    assert_eq!(client.closed().await, Some(1001));
    let ended = || child.try_wait().expect("the server is our child");
    assert_eq!(wait::until("the server has ended", ended).await.code(), Some(0));
}

#[tokio::test]
async fn a_server_with_a_lifeline_ends_with_its_parent() {
    let env = TestEnv::new();
    let script = "exec 3<&0; \"$0\" \"$@\" <&3 & wait";
    let program = env!("CARGO_BIN_EXE_claude-relay-server");
    let (mut shell, address) = with_lifeline(&env, &["/bin/sh", "-c", script, program]);
    let mut client = Client::connect(address).await;
    let parent = i32::try_from(shell.id()).expect("a process id fits");
    let server = descendants(parent).iter().map(|process| process.pid).min().expect("the server");
    process::signal(parent, Signal::KILL);
    shell.wait().expect("the shell is our child");
    assert_eq!(client.closed().await, Some(1001));
    wait::until("the server has ended", || process::Process::read(server).is_none().then_some(()))
        .await;
    drop(shell.stdin.take());
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the server is the child here")]
async fn a_drawn_token_is_printed_once_and_needed() {
    let env = TestEnv::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_claude-relay-server"))
        .args(["--demo", "--auth-token=auto", "--port=0", "--log=debug", "--workspace"])
        .arg(env.workspace())
        .env_clear()
        .envs(env.environment())
        .current_dir(env.home())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    let page = lines.next().expect("a line").expect("text");
    let address: SocketAddr =
        first.strip_prefix("listening on http://").expect("it").parse().expect("an address");
    let (_, token) = page.split_once("/#token=").expect("the page's address with the token");
    assert_eq!(token.len(), 32, "{page}");
    assert_eq!(http::get(address, "/config").await.status, 401);
    assert_eq!(http::get(address, &format!("/config?token={token}")).await.status, 200);
    process::signal(i32::try_from(child.id()).expect("it fits"), Signal::TERM);
    let output = child.wait_with_output().expect("the server is our child");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let rest: String = lines.map_while(Result::ok).collect();
    assert!(!told.contains(token) && !rest.contains(token), "{told} {rest}");
}

#[tokio::test]
async fn an_agent_that_cannot_be_executed_is_told_so() {
    let env = TestEnv::new();
    let plain = env.file("claude-without-the-right");
    std::fs::write(&plain, "#!/bin/sh\n").expect("a file");
    for (path, expected) in [
        (plain.clone(), "cannot be executed: give it the right (`chmod +x`); --claude-path"),
        (env.home(), "is no file; --claude-path"),
        (env.file("nowhere"), "was not found. Install Claude Code with `npm install"),
    ] {
        let relay = Launch::new(&env).argument("--claude-path").argument(&path).start();
        let told = wait::until("a warning", || {
            let told = relay.stderr();
            told.contains("until a client connects").then_some(told)
        })
        .await;
        assert!(told.contains(expected) && told.contains(path.to_str().expect("text")), "{told}");
        let mut client = Client::connect(relay.address()).await;
        client.say("Hello").await;
        let frames = client.until(|frame| frame["type"] == "error").await;
        let error = frames.last().expect("a frame")["error"].as_str().expect("text").to_owned();
        assert!(error.contains(expected), "{error}");
        client.close().await;
        relay.stop();
    }
}

#[tokio::test]
async fn an_address_in_brackets_is_listened_on() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--host=[::1]").start();
    assert!(relay.address().is_ipv6());
    assert_eq!(http::get(relay.address(), "/ready").await.status, 200);
    relay.stop();
}
