//! The server in surroundings that fail it: a log nobody reads, a port that is
//! taken, process 1.

use crate::faults::agent::FakeAgent;
use crate::faults::checks::answers_at_once;
use crate::support::http;
use crate::support::relay::unshared;
use crate::support::ws::Client;
use claude_relay_testing::process::{self, Mark};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const SERVER: &str = env!("CARGO_BIN_EXE_claude-relay-server");

/// A server under a command of the test's own.
struct Wrapped {
    child: Child,
    mark: Mark,
    address: SocketAddr,
}

impl Wrapped {
    /// `wrapper` gets the server and its arguments appended.
    #[expect(clippy::disallowed_methods, reason = "here the server is the child")]
    fn start(env: &TestEnv, wrapper: &[&str], stderr: Stdio) -> Self {
        let mark = Mark::new();
        let (name, value) = mark.variable();
        let [program, arguments @ ..] = wrapper else { panic!("a wrapper has a program") };
        let mut child = Command::new(program)
            .args(arguments)
            .args(["--port=0", "--stop-grace=1s", "--log=debug", "--workspace"])
            .arg(env.workspace())
            .env_clear()
            .envs(env.environment())
            .env(name, value)
            .current_dir(env.home())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        stdout.read_line(&mut line).expect("stdout can be read");
        let address = line.trim().strip_prefix("listening on http://").expect("an address");
        let address = address.parse().expect("an address");
        Self { child, mark, address }
    }

    /// Nothing may be left of it.
    fn ended(mut self) -> Option<i32> {
        let status = wait::until_blocking(Duration::from_secs(15), || {
            self.child.try_wait().expect("our child")
        });
        let left = self.mark.left_after(Duration::from_secs(8));
        assert!(left.is_empty(), "{left:#?}");
        status.expect("the server ends").code()
    }
}

impl Drop for Wrapped {
    fn drop(&mut self) {
        for process in self.mark.processes() {
            process::signal(process.pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fails_to_start(env: &TestEnv, arguments: &[&str]) -> Output {
    fails_to_start_under(env, &[], arguments)
}

#[expect(clippy::disallowed_methods, reason = "here the server is the child")]
fn fails_to_start_under(env: &TestEnv, wrapper: &[&str], arguments: &[&str]) -> Output {
    let mut command = [wrapper, &[SERVER]].concat().into_iter();
    Command::new(command.next().expect("the server at least"))
        .args(command)
        .args(["--demo", "--workspace"])
        .arg(env.workspace())
        .args(arguments)
        .env_clear()
        .envs(env.environment())
        .current_dir(env.home())
        .output()
        .expect("the server starts")
}

#[tokio::test]
async fn closed_or_unread_stderr_stops_nothing() {
    for stuck in [false, true] {
        let env = TestEnv::new();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let relay = Wrapped::start(&env, &[SERVER, "--demo"], writer.into());
        let reader = stuck.then_some(reader);
        // Enough for the log to fill any pipe: each of these writes some lines.
        for _ in 0..300 {
            let mut client = Client::open(relay.address, "/ws").await;
            client.frame().await;
            client.close().await;
        }
        let mut client = crate::faults::checks::fresh_client(relay.address).await;
        client.say(json!({"n": 1000}).to_string()).await;
        client.turn().await;
        answers_at_once(relay.address).await;
        process::signal(i32::try_from(relay.child.id()).expect("a pid"), Signal::TERM);
        assert_eq!(relay.ended(), Some(0), "stuck: {stuck}");
        drop(reader);
    }
}

/// A disk that is full.
#[tokio::test]
async fn log_on_a_full_disk_stops_nothing() {
    let env = TestEnv::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let relay = Wrapped::start(&env, &[SERVER, "--demo"], full.into());
    let mut client = Client::connect(relay.address).await;
    client.say("Hello").await;
    client.turn().await;
    client.close().await;
    process::signal(i32::try_from(relay.child.id()).expect("a pid"), Signal::TERM);
    assert_eq!(relay.ended(), Some(0));
}

#[tokio::test]
async fn port_in_use_is_reported() {
    let env = TestEnv::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let output = fails_to_start(&env, &[&format!("--port={port}")]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("another program listens there already"), "{told}");
    assert!(told.contains(&format!("127.0.0.1:{port}")) && !told.contains("panicked"), "{told}");
}

#[tokio::test]
async fn invalid_port_is_refused() {
    let env = TestEnv::new();
    for port in ["65536", "-1", "x", ""] {
        let output = fails_to_start(&env, &[&format!("--port={port}")]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("port"), "{told}");
    }
}

/// In a network of its own, where ports below 1024 are what they usually are,
/// and without the right to one.
#[tokio::test]
async fn privileged_port_is_reported() {
    let env = TestEnv::new();
    let unshared = unshared("--net");
    let wrapper = [&unshared[..], &["setpriv", "--bounding-set=-all"]].concat();
    let output = fails_to_start_under(&env, &wrapper, &["--host=0.0.0.0", "--port=80"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("ports below 1024 are for root; choose another with --port"), "{told}");
}

#[tokio::test]
async fn ipv6_address_works_if_available() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let env = TestEnv::new();
    let relay = Wrapped::start(&env, &[SERVER, "--demo", "--host=::1"], Stdio::null());
    assert!(relay.address.is_ipv6());
    Client::connect(relay.address).await.close().await;
    process::signal(i32::try_from(relay.child.id()).expect("a pid"), Signal::TERM);
    assert_eq!(relay.ended(), Some(0));
}

/// In a container the server may be process 1, the parent of every process that
/// has lost its own. Only root may make a pid namespace here.
#[tokio::test]
async fn process_1_reaps_foreign_children_and_ends_on_sigterm() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let env = TestEnv::new();
    let story = r#"
while (text := hear()) is not None:
    if text == "orphans":
        subprocess.run(["sh", "-c", "sleep 0.2 & setsid sleep 0.3 & exit 0"])
    if text == "crash":
        subprocess.run(["sh", "-c", "sleep 86403 & setsid sleep 86404 & exit 0"])
        sys.exit(3)
    turn(text)
"#;
    let agent = FakeAgent::new(&env, story);
    let agent = format!("--claude-path={}", agent.path().display());
    let wrapper =
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", SERVER, agent.as_str()];
    let relay = Wrapped::start(&env, &wrapper, Stdio::null());
    let server = wait::until("process 1", || {
        let unshare = i32::try_from(relay.child.id()).expect("a pid");
        process::descendants(unshare).into_iter().find(|process| process.parent == unshare)
    })
    .await;
    let mut client = Client::connect(relay.address).await;
    client.say("orphans").await;
    client.turn().await;
    wait::until("a supervisor, an agent and no zombie", || {
        (process::descendants(server.pid).len() == 2).then_some(())
    })
    .await;
    // A crash, after which process 1 becomes the parent of the orphans.
    client.say("crash").await;
    client.until(|frame| frame["type"] == "exit").await;
    client.say("Hello").await;
    client.turn().await;
    wait::until("a supervisor, an agent and no zombie", || {
        (process::descendants(server.pid).len() == 2).then_some(())
    })
    .await;
    process::signal(server.pid, Signal::TERM);
    assert_eq!(relay.ended(), Some(0));
}

/// The one file that the server writes for an agent finds no room.
#[tokio::test]
async fn full_disk_is_reported_and_stops_nothing_else() {
    const FILL: &str = "mount -t tmpfs -o size=4k none \"$TMPDIR\" && \
                        { cat /dev/zero > \"$TMPDIR/fill\"; exec \"$0\" \"$@\"; }";
    let env = TestEnv::new();
    let unshared = unshared("--mount");
    let wrapper = [&unshared[..], &["sh", "-c", FILL, SERVER, "--demo"]].concat();
    let relay = Wrapped::start(&env, &wrapper, Stdio::null());
    let servers = r#"{"mcpServers":{"own":{"command":"true"}}}"#;
    assert_eq!(http::post(relay.address, "/config", servers).await.status, 200);
    let mut client = Client::connect(relay.address).await;
    let told = client.frame().await;
    let words = told["error"].as_str().expect("an error");
    assert!(words.contains("the MCP servers cannot be written to a file in"), "{words}");
    assert!(words.contains("No space left on device"), "{words}");
    client.say("Hello").await;
    client.until(|frame| frame["error"].to_string().contains("kept and handed over")).await;
    // Without them there is nothing to write.
    assert_eq!(http::post(relay.address, "/config", "{}").await.status, 200);
    client.say("Again").await;
    client.turn().await;
    client.turn().await;
    client.close().await;
    process::signal(i32::try_from(relay.child.id()).expect("a pid"), Signal::TERM);
    assert_eq!(relay.ended(), Some(0));
}

/// The descriptors that a process of ours inherits, as whoever started the
/// tests has left them open: without close-on-exec.
fn inherited() -> Vec<String> {
    let names = std::fs::read_dir("/proc/self/fdinfo").expect("Linux has it");
    let mut inherited: Vec<String> = names
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let info = std::fs::read_to_string(entry.path()).ok()?;
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            let closes = u32::from_str_radix(flags.trim(), 8).ok()? & 0o2_000_000 != 0;
            (!closes).then(|| entry.file_name().into_string().expect("a number"))
        })
        .collect();
    inherited.sort();
    inherited
}

/// The descriptors of the server are not the agent's.
#[tokio::test]
async fn agent_has_only_three_descriptors() {
    let env = TestEnv::new();
    let story = r#"
note("descriptors", " ".join(sorted(fd for fd in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + fd))))
work()
"#;
    let agent = FakeAgent::new(&env, story);
    let relay = agent.launch(&env).start();
    let mut client = Client::connect(relay.address()).await;
    client.say("Hello").await;
    client.turn().await;
    assert_eq!(agent.noted("descriptors"), [inherited().join(" ")]);
    relay.stop();
}
