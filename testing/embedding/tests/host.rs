//! The server within another program: the real program, a real socket.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;

const DEADLINE: Duration = Duration::from_secs(30);

struct Host {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    address: String,
    home: std::path::PathBuf,
}

impl Host {
    fn start(name: &str, args: &[&str]) -> Self {
        let home = std::env::temp_dir().join(format!("embedding-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_claude-relay-embedding"))
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap();
        Self { child, lines, address, home }
    }

    /// Every process of this host's, by its home in their environment.
    fn processes(&self) -> Vec<String> {
        let home = format!("HOME={}", self.home.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_string_lossy().into_owned();
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == home.as_bytes()) {
                found.push(pid);
            }
        }
        found
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks the built-in agent, and waits for the result.
async fn turn(address: &str) {
    let url = format!("ws://{address}/ws");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let said = r#"{"type":"user_message","data":{"type":"user","message":{"role":"user","content":"Hello"}}}"#;
    socket.send(Message::text(said)).await.unwrap();
    let answered = async {
        while let Some(message) = socket.next().await {
            if message.unwrap().to_text().unwrap().contains("\"type\":\"result\"") {
                return;
            }
        }
        panic!("the connection has ended before the result");
    };
    tokio::time::timeout(DEADLINE, answered).await.expect("a result in time");
}

#[tokio::test]
async fn a_turn_is_served_and_nothing_is_left() {
    let mut host = Host::start("turn", &[]);
    turn(&host.address).await;
    // A second client finds the agent too.
    turn(&host.address).await;
    drop(host.child.stdin.take());
    assert_eq!(host.lines.next().unwrap().unwrap(), "Ok(())");
    assert!(host.child.wait().unwrap().success(), "the host's own child was left alone");
    wait_until("no process is left", || host.processes().is_empty());
}

#[tokio::test]
async fn the_supervisor_can_be_another_program() {
    let Some(server) = std::env::var_os("RELAY_BIN") else {
        panic!("RELAY_BIN names no server: run scripts/test");
    };
    assert!(Path::new(&server).is_file());
    let mut host = Host::start("other", &[server.to_str().unwrap()]);
    turn(&host.address).await;
    drop(host.child.stdin.take());
    assert_eq!(host.lines.next().unwrap().unwrap(), "Ok(())");
    assert!(host.child.wait().unwrap().success());
    wait_until("no process is left", || host.processes().is_empty());
}

#[tokio::test]
async fn nothing_of_the_relay_outlives_a_host_that_is_killed() {
    let mut host = Host::start("killed", &[]);
    turn(&host.address).await;
    // The host, its own child, the supervisor and the agent.
    let before = host.processes();
    assert!(before.len() >= 4, "{before:?}");
    let own = Command::new("pgrep").args(["-P", &host.child.id().to_string(), "sleep"]).output();
    let own = String::from_utf8(own.unwrap().stdout).unwrap().trim().to_owned();
    host.child.kill().unwrap();
    host.child.wait().unwrap();
    wait_until("only the host's own child is left", || host.processes() == [own.clone()]);
    Command::new("kill").arg(&own).status().unwrap();
}
