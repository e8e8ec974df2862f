//! `claude-relay-agent` with its agent in a sandbox of E2B, against the fake.

use claude_relay_testing::e2b::{API_KEY, FakeE2b, Fault, Recorded};
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::wait::{self, soon};
use rustix::process::Signal;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::program::{agent_and_stand_in, signal};

const CANARY: &str = "sk-ant-canary-0123456789";

struct Fixture {
    fake: FakeE2b,
    _relay: RelayProcess,
    folder: tempfile::TempDir,
}

impl Fixture {
    /// With an agent of a few lines of shell.
    async fn start(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let agent = agent_and_stand_in(folder.path(), script);
        let path = agent.to_str().unwrap();
        let arguments = ["--no-auth", "--mode", "unrestricted", "--claude-path", path];
        let relay = RelayProcess::start(&arguments, &[]).await;
        let fake = FakeE2b::start().await;
        fake.forward(3000, SocketAddr::from((Ipv4Addr::LOCALHOST, relay.port)));
        Self { fake, _relay: relay, folder }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.folder.path().join("claude-relay-agent"));
        command
            .env_clear()
            .env("PATH", env!("PATH"))
            .env("E2B_API_KEY", API_KEY)
            .env("E2B_API_URL", self.fake.url())
            .env("E2B_SANDBOX_URL", self.fake.url())
            .env("CLAUDE_RELAY_E2B_TEMPLATE", "relay")
            .env("ANTHROPIC_API_KEY", CANARY)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .current_dir(self.folder.path())
            .kill_on_drop(true);
        command
    }

    /// The request by which the sandbox was made.
    fn created(&self) -> Value {
        let requests = self.fake.requests();
        let made = requests
            .iter()
            .find(|request| request.method == "POST" && request.path.ends_with("/sandboxes"));
        serde_json::from_slice(&made.expect("a sandbox").body).unwrap()
    }
}

#[tokio::test]
async fn the_credential_stays_outside_of_the_sandbox_and_the_sandbox_ends_with_the_agent() {
    let fixture = Fixture::start("env >&2; cat; exit 7").await;
    let output = soon(fixture.command().output()).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(7), "{told}");
    let key = told.lines().find(|line| line.starts_with("ANTHROPIC_API_KEY="));
    assert!(key.is_some_and(|key| key.contains("placeholder")), "{told}");
    assert!(!told.contains(CANARY), "{told}");
    let created = fixture.created();
    let rules = created["network"]["rules"]["api.anthropic.com"].to_string();
    assert!(rules.contains(CANARY), "{created}");
    fixture.fake.finish();
}

#[tokio::test]
async fn an_address_of_ones_own_gets_its_key_inside() {
    let fixture = Fixture::start("env >&2").await;
    let mut command = fixture.command();
    command.env("ANTHROPIC_BASE_URL", "https://gateway.example");
    let output = soon(command.output()).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(&format!("ANTHROPIC_API_KEY={CANARY}")), "{told}");
    assert_eq!(fixture.created()["network"]["rules"], Value::Null);
    fixture.fake.finish();
}

#[tokio::test]
async fn a_signal_while_the_sandbox_is_made_leaves_none() {
    for (number, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for (route, method, path) in [
            ("POST /sandboxes", "POST", "/sandboxes"),
            ("POST /files", "POST", "/files"),
            ("POST 3000/config", "POST", "/config"),
        ] {
            let fixture = Fixture::start("exec cat").await;
            match path {
                // The answer is late: the sandbox is made in any case.
                "/sandboxes" => fixture.fake.delay(route, Duration::from_millis(300)),
                _ => fixture.fake.fail(route, Fault::Hang),
            }
            let child = fixture.command().stdin(Stdio::piped()).spawn().unwrap();
            wait::until(route, || {
                let requests = fixture.fake.requests();
                let is_it = |r: &Recorded| r.method == method && r.path.ends_with(path);
                requests.iter().any(is_it).then_some(())
            })
            .await;
            signal(&child, number);
            let output = soon(child.wait_with_output()).await.unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{route} {number:?}: {told}");
            fixture.fake.finish();
        }
    }
}

#[tokio::test]
async fn an_address_of_this_machine_is_refused_unless_it_is_meant() {
    let fixture = Fixture::start("env >&2").await;
    let here = |variable: &str| {
        let mut command = fixture.command();
        command.env(variable, "http://localhost.:4000");
        command
    };
    for variable in ["ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"] {
        let mut command = here(variable);
        let sent =
            command.env("CLAUDE_RELAY_ENV", if variable.starts_with('O') { variable } else { "" });
        let output = soon(sent.output()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_meant = variable.starts_with('O');
        assert_eq!(told.contains("its own localhost is another one"), !is_meant, "{told}");
        assert_eq!(output.status.code() == Some(2), !is_meant, "{told}");
        assert_eq!(fixture.fake.requests().is_empty(), !is_meant);
    }
    fixture.fake.finish();
}

#[tokio::test]
async fn a_sandbox_whose_program_is_killed_has_little_time_left() {
    let fixture = Fixture::start("echo '{}'; exec cat").await;
    let mut command = fixture.command();
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(soon(lines.next_line()).await.unwrap().as_deref(), Some("{}"));
    signal(&child, Signal::KILL);
    soon(child.wait()).await.unwrap();
    let alive = fixture.fake.alive();
    assert_eq!(alive.len(), 1, "{alive:?}");
    let left = fixture.fake.seconds_left(&alive[0]).expect("its time");
    assert!(left <= 90, "{left}");
    fixture.fake.expire(&alive[0]);
    wait::until("the sandbox's end", || fixture.fake.alive().is_empty().then_some(())).await;
    fixture.fake.finish();
}
