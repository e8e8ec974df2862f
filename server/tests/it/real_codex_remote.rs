//! The real Codex in an app-server that already runs, over a WebSocket: a
//! connection may end and the turn goes on.

use crate::support::codex::{CodexFixture, configure, launch, prepare_home, rest};
use crate::support::relay::Relay;
use crate::support::ws::Client;
use claude_relay_testing::process::{self, Mark};
use claude_relay_testing::reply::Gate;
use claude_relay_testing::responses_api::{Reply, ResponsesApi};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::{tools, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const TOKEN: &str = "token-of-the-app-server";

/// An app-server of the test's own.
struct AppServer {
    child: Child,
    address: SocketAddr,
    mark: Mark,
}

impl AppServer {
    #[expect(
        clippy::disallowed_methods,
        reason = "the rule is about the server's own children; this is the test's"
    )]
    fn start(env: &TestEnv) -> Self {
        let token = env.file("app-server-token");
        std::fs::write(&token, TOKEN).expect("a file in the temp directory");
        let mark = Mark::new();
        let (name, value) = mark.variable();
        let mut child = Command::new(tools::codex())
            .args(["app-server", "--listen", "ws://127.0.0.1:0", "--ws-auth", "capability-token"])
            .arg("--ws-token-file")
            .arg(&token)
            .env_clear()
            .envs(env.environment())
            .envs(claude_relay_testing::codex_home::variables(env))
            .env(name, value)
            .current_dir(env.workspace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Codex starts");
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (found, address) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("ws://127.0.0.1:") {
                    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    let _ = found.try_send(port.parse::<u16>().expect("a port"));
                }
            }
        });
        let port = address.recv_timeout(wait::DEADLINE).expect("the app-server's banner");
        Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), mark }
    }
}

impl Drop for AppServer {
    fn drop(&mut self) {
        // The commands of its turns are not its children for long.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in self.mark.processes() {
            process::signal(process.pid, Signal::KILL);
        }
    }
}

/// Passes bytes between the relay and the app-server until it is told to cut.
struct Cable {
    address: SocketAddr,
    cut: watch::Sender<u32>,
}

impl Cable {
    /// In a thread of its own: a test that waits for the relay's end blocks,
    /// and the relay still has something to say.
    fn to(server: SocketAddr) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let (cut, cuts) = watch::channel(0);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime for the cable").block_on(pass(listener, server, cuts));
        });
        Self { address, cut }
    }

    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

/// Until the cable is dropped.
async fn pass(
    listener: std::net::TcpListener,
    server: SocketAddr,
    mut dropped: watch::Receiver<u32>,
) {
    let cuts = dropped.clone();
    let listener = TcpListener::from_std(listener).expect("the listener moves to tokio");
    let accepting = async {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut cuts = cuts.clone();
            cuts.mark_unchanged();
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(server).await else { return };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cuts.changed() => {}
                }
                let _ = near.shutdown().await;
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = async { while dropped.changed().await.is_ok() {} } => {}
    }
}

struct Remote {
    fixture: CodexFixture,
    server: AppServer,
    cable: Cable,
}

impl Remote {
    async fn start(mode: &str) -> Self {
        let (env, api) = (TestEnv::new(), ResponsesApi::start());
        prepare_home(&env, &api.url());
        let server = AppServer::start(&env);
        let cable = Cable::to(server.address);
        let relay = relay(&env, mode, cable.address, TOKEN);
        configure(&relay, json!({})).await;
        let client = Client::connect(relay.address()).await;
        Self { fixture: CodexFixture { env, api, relay, client }, server, cable }
    }

    async fn end(self) {
        self.fixture.end_unchecked().await;
        drop(self.server);
    }
}

fn relay(env: &TestEnv, mode: &str, address: SocketAddr, token: &str) -> Relay {
    launch(env, mode)
        .argument("--codex-url")
        .argument(format!("ws://{address}"))
        .variable("RELAY_CODEX_TOKEN", token)
        .start()
}

#[tokio::test]
async fn turns_over_a_websocket() {
    let Remote { mut fixture, server, cable } = Remote::start("unrestricted").await;
    let long = "x".repeat(3 << 20);
    fixture.api.script([Reply::text("One."), Reply::text(long.clone())]);
    assert_eq!(fixture.turn("First").await.texts(), ["One."]);
    assert_eq!(fixture.turn("Second").await.texts(), [long.as_str()]);
    let agent = fixture.agent().await;
    assert_eq!((&agent["state"], &agent["pid"]), (&json!("running"), &Value::Null));
    Remote { fixture, server, cable }.end().await;
}

#[tokio::test]
async fn a_lost_connection_is_made_again_and_the_turn_goes_on() {
    let Remote { mut fixture, server, cable } = Remote::start("unrestricted").await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["one ", "two"]), Reply::text("Next.")]);
    fixture.client.say("First").await;
    gate.let_through(1);
    let is_delta = |frame: &Value| frame["data"]["method"] == "item/agentMessage/delta";
    fixture.client.until(is_delta).await;
    cable.cut();
    let is_exit = |frame: &Value| frame["type"] == "exit";
    let lost = fixture.client.until(is_exit).await;
    let errors: Vec<_> = lost.iter().filter_map(|frame| frame["error"].as_str()).collect();
    assert!(errors.iter().any(|error| error.contains("connected to again")), "{errors:?}");
    wait::until_async("the turn to be taken up again", async || {
        fixture.agent().await["in_turn"] == true
    })
    .await;
    gate.open();
    let turn = fixture.rest().await;
    assert_eq!((turn.status(), turn.texts()), (&json!("completed"), vec!["one two"]));
    assert_eq!(fixture.turn("Second").await.texts(), ["Next."]);
    assert_eq!(fixture.api.request(2).await.user_texts(), ["First", "Second"]);
    Remote { fixture, server, cable }.end().await;
}

#[tokio::test]
async fn a_question_survives_a_lost_connection() {
    let Remote { mut fixture, server, cable } = Remote::start("ask").await;
    fixture.api.script([Reply::command("touch made"), Reply::text("Done.")]);
    fixture.client.say("Go").await;
    let before = fixture.question().await;
    cable.cut();
    // The old question is withdrawn, and the app-server asks the new
    // connection: under a name of its own, so that no late answer counts.
    let after = fixture.question().await;
    assert_ne!(before["requestId"], after["requestId"]);
    assert_eq!(before["input"], after["input"]);
    let yes = json!({
        "type": "permission_response", "requestId": after["requestId"], "approved": true
    });
    fixture.client.send(&yes).await;
    assert_eq!(fixture.rest().await.texts(), ["Done."]);
    assert!(fixture.env.workspace().join("made").exists());
    Remote { fixture, server, cable }.end().await;
}

#[tokio::test]
async fn an_interrupt_ends_the_command_over_there() {
    let Remote { mut fixture, server, cable } = Remote::start("unrestricted").await;
    fixture.api.script([Reply::command("sleep 86314")]);
    fixture.client.say("Go").await;
    let running = || server.mark.processes().iter().any(|p| p.command == "sleep 86314");
    wait::until("the command", || running().then_some(())).await;
    fixture.client.interrupt().await;
    assert_eq!(fixture.rest().await.status(), "interrupted");
    wait::until("the command's end", || (!running()).then_some(())).await;
    Remote { fixture, server, cable }.end().await;
}

#[tokio::test]
async fn the_relays_end_does_not_leave_its_turn_running() {
    let Remote { mut fixture, server, cable: _cable } = Remote::start("unrestricted").await;
    fixture.api.script([Reply::command("sleep 86315")]);
    fixture.client.say("Go").await;
    let running = || server.mark.processes().iter().any(|p| p.command == "sleep 86315");
    wait::until("the command", || running().then_some(())).await;
    fixture.relay.stop();
    wait::until("the command's end", || (!running()).then_some(())).await;
}

#[tokio::test]
async fn a_conversation_outlives_the_relay() {
    let Remote { mut fixture, server, cable } = Remote::start("unrestricted").await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    fixture.turn("First").await;
    let session = fixture.agent().await["session_id"].clone();
    let CodexFixture { env, api, relay: old, client } = fixture;
    client.close().await;
    old.stop();
    let next = relay(&env, "unrestricted", cable.address, TOKEN);
    configure(&next, json!({ "resume": session })).await;
    let mut client = Client::connect(next.address()).await;
    client.say("Second").await;
    assert_eq!(rest(&mut client).await.texts(), ["Two."]);
    assert_eq!(api.request(2).await.user_texts(), ["First", "Second"]);
    client.close().await;
    next.stop();
    drop(server);
}

#[tokio::test]
async fn a_wrong_token_is_said_and_the_token_never() {
    let Remote { fixture, server, cable } = Remote::start("ask").await;
    let other = relay(&fixture.env, "ask", cable.address, "not-the-token");
    configure(&other, json!({})).await;
    let mut client = Client::connect(other.address()).await;
    let error = client.until(|frame| frame["type"] == "error").await.pop().expect("a frame");
    let text = error["error"].as_str().unwrap_or_default();
    assert!(text.contains("401") && !text.contains("not-the-token"), "{text}");
    assert!(!other.stderr().contains("not-the-token"));
    client.close().await;
    other.stop();
    Remote { fixture, server, cable }.end().await;
}

/// The app-server refuses whoever names an origin.
#[tokio::test]
async fn the_handshake_has_the_token_and_no_origin() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let env = TestEnv::new();
    let relay = relay(&env, "ask", listener.local_addr().expect("an address"), TOKEN);
    configure(&relay, json!({})).await;
    let client = Client::connect(relay.address()).await;
    let mut head = String::new();
    wait::within("the handshake", async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(stream.read_u8().await.expect("a head")));
        }
    })
    .await;
    let head = head.to_ascii_lowercase();
    assert!(head.contains(&format!("authorization: bearer {TOKEN}")), "{head}");
    assert!(head.contains("upgrade: websocket") && !head.contains("origin:"), "{head}");
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn an_app_server_that_is_gone_is_said() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = gone.local_addr().expect("an address");
    drop(gone);
    let env = TestEnv::new();
    let relay = relay(&env, "ask", address, TOKEN);
    configure(&relay, json!({})).await;
    let mut client = Client::connect(relay.address()).await;
    let error = client.until(|frame| frame["type"] == "error").await.pop().expect("a frame");
    let text = error["error"].as_str().unwrap_or_default();
    assert!(text.contains(&format!("cannot be reached: ws://{address}")), "{text}");
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_thread_begun_with_tools_has_none_in_mode_safe() {
    let Remote { mut fixture, server, cable } = Remote::start("unrestricted").await;
    fixture.api.script([Reply::text("One."), Reply::command("touch made"), Reply::text("Two.")]);
    fixture.turn("First").await;
    assert!(!fixture.api.request(1).await.tools().is_empty());
    let session = fixture.agent().await["session_id"].clone();
    let CodexFixture { env, api, relay: old, client } = fixture;
    client.close().await;
    old.stop();
    let next = relay(&env, "safe", cable.address, TOKEN);
    configure(&next, json!({ "resume": session })).await;
    let mut client = Client::connect(next.address()).await;
    client.say("Second").await;
    assert_eq!(rest(&mut client).await.texts(), ["Two."]);
    assert_eq!(api.request(2).await.tools(), Vec::<String>::new());
    assert!(api.request(3).await.tool_output().contains("unsupported call"));
    assert!(!env.workspace().join("made").exists());
    client.close().await;
    next.stop();
    drop(server);
}

/// A thread that is open already is not opened anew, and keeps what it was
/// opened with whatever the second to come asks for.
#[tokio::test]
async fn rights_that_somebody_else_gave_a_thread_are_not_taken_over() {
    let Remote { mut fixture, server, cable } = Remote::start("unrestricted").await;
    fixture.api.script([Reply::text("One.")]);
    fixture.turn("First").await;
    let session = fixture.agent().await["session_id"].clone();

    let asking = relay(&fixture.env, "ask", cable.address, TOKEN);
    configure(&asking, json!({ "resume": session })).await;
    let mut client = Client::connect(asking.address()).await;
    fixture.api.script([Reply::command("touch made"), Reply::text("Then not.")]);
    client.say("Second").await;
    let is_question = |frame: &Value| frame["type"] == "permission_request";
    let question = client.until(is_question).await.pop().expect("a frame");
    let id = &question["requestId"];
    let no = json!({ "type": "permission_response", "requestId": id, "approved": false });
    client.send(&no).await;
    assert_eq!(rest(&mut client).await.texts(), ["Then not."]);
    assert_eq!(fixture.api.request(2).await.user_texts(), ["First", "Second"]);
    client.close().await;
    asking.stop();

    // Tools that a thread has cannot be taken from it.
    let safe = relay(&fixture.env, "safe", cable.address, TOKEN);
    configure(&safe, json!({ "resume": session })).await;
    let mut client = Client::connect(safe.address()).await;
    fixture.api.script([Reply::text("Three.")]);
    client.say("Third").await;
    let turn = rest(&mut client).await;
    assert!(turn.errors().iter().any(|error| error.contains("open elsewhere")), "{turn:?}");
    let request = fixture.api.request(4).await;
    assert_eq!((request.user_texts(), request.tools()), (vec!["Third"], vec![]));
    client.close().await;
    safe.stop();
    assert!(!fixture.env.workspace().join("made").exists());
    Remote { fixture, server, cable }.end().await;
}
