//! Secrets that are marked, and everything that can be seen from outside: no
//! log, error, answer, frame or command line holds one. The one place where
//! each belongs is looked at too, so that the test cannot pass by losing them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::exchange;
use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::{Client, Seen};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;

const MARK: &str = "canary7c1e";

fn secret(name: &str) -> String {
    format!("{MARK}-{name}")
}

/// All that was seen.
#[derive(Default)]
struct Watch(Vec<(String, String)>);

impl Watch {
    fn saw(&mut self, what: &str, text: impl Into<String>) {
        self.0.push((what.to_owned(), text.into()));
    }

    /// The command line of every process that the server has started, and of
    /// the server itself.
    fn look_at_processes(&mut self, when: &str, relay: &Relay) {
        for pid in relay.offspring().iter().map(|process| process.pid).chain([relay.pid()]) {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            self.saw(&format!("a command line, {when}"), String::from_utf8_lossy(&line));
        }
    }

    /// The answer to a request as it stands on the wire.
    async fn ask(&mut self, relay: &Relay, method: &str, path: &str, headers: &str, body: &str) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(relay.address(), request.as_bytes()).await;
        self.saw(&format!("the answer to {method} {path:.20}"), answer);
    }

    async fn frames_until(&mut self, client: &mut Client, last: impl Fn(&Value) -> bool) {
        loop {
            match client.see().await {
                Seen::Frame(text) => {
                    let frame = serde_json::from_str(&text).expect("a frame is JSON");
                    self.saw("a frame", text);
                    if last(&frame) {
                        return;
                    }
                }
                Seen::Closed(code) => panic!("closed: {code:?}"),
            }
        }
    }

    fn assert_clean(&self) {
        for (what, text) in &self.0 {
            // The query of a request that we made ourselves is no leak.
            assert!(!text.contains(MARK), "{what}: {text}");
        }
        assert!(self.0.len() > 15, "something was looked at");
    }
}

/// An agent that writes down its variables, refuses its work in words on
/// stderr, and ends.
fn failing_agent(env: &TestEnv) -> std::path::PathBuf {
    let path = env.file("agent");
    let script = format!(
        "#!/bin/sh\n# It is also asked for its version, without what it would need to work.\n\
         [ \"$1\" = --version ] && exit 0\n\
         env > '{0}.new'\nmv '{0}.new' '{0}'\nread -r line\n\
         echo \"no such key: $ANTHROPIC_API_KEY, $OWN_SECRET\" >&2\nread -r line\nexit 3\n",
        env.file("environment").display()
    );
    std::fs::write(&path, script).expect("a script in the temp directory");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("a mode for our own file");
    path
}

fn whole_configuration() -> Value {
    json!({
        "anthropicApiKey": secret("key"),
        "env": { "OWN_SECRET": secret("env") },
        "mcpServers": {
            "web": { "type": "http", "url": "http://127.0.0.1:1/", "headers": { "X-Key": secret("header") } },
            "own": { "command": "true", "env": { "KEY": secret("mcp-env") } },
        },
        "e2bApiKey": secret("e2b"),
    })
}

/// Configurations that are refused, with a secret in or near what is wrong.
fn bad_configurations() -> Vec<String> {
    vec![
        json!({ "anthropicApiKey": [secret("a")] }).to_string(),
        json!({ "anthropicApiKey": format!("{}\0", secret("b")) }).to_string(),
        json!({ "claudeCodeOauthToken": { secret("c"): 1 } }).to_string(),
        json!({ "authToken": format!("{} with spaces", secret("d")) }).to_string(),
        json!({ "env": { "LD_PRELOAD": secret("e") } }).to_string(),
        json!({ "env": { "A": { "x": secret("f") } } }).to_string(),
        json!({ "mcpServers": { "m": { "type": "http", "url": 5, "headers": { "X": secret("g") } } } }).to_string(),
        json!({ "mcpServers": { "m": { "type": "http", "url": "http://h/", "headers": { "X": [secret("h")] } } } }).to_string(),
        json!({ "anthropicBaseUrl": format!("ftp://u:{}@h/", secret("i")) }).to_string(),
        json!({ "anthropicApiKey": secret("j"), "model": 5 }).to_string(),
        format!("{{\"anthropicApiKey\":\"{}\"", secret("k")),
    ]
}

/// An agent that prints all it was given to stderr, whole and in parts, and
/// ends.
fn printing_agent(env: &TestEnv) -> std::path::PathBuf {
    let path = env.file("agent");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\n\
         for argument in \"$@\"; do [ -f \"$argument\" ] && cat \"$argument\" > '{0}'; done\n\
         read -r line\nread -r line\n\
         {{ env; cat '{0}'; echo; tr '\":@, ' '\\n\\n\\n\\n\\n' < '{0}'; env | tr '=:@ ' '\\n\\n\\n\\n'; }} >&2\n\
         exit 3\n",
        env.file("mcp").display()
    );
    std::fs::write(&path, script).expect("a script in the temp directory");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("a mode for our own file");
    path
}

#[tokio::test]
async fn secrets_that_the_agent_prints_are_masked() {
    let env = TestEnv::new();
    let agent = printing_agent(&env);
    let relay = Launch::new(&env)
        .argument("--claude-path")
        .argument(&agent)
        .argument("--log=trace")
        .variable("ANTHROPIC_API_KEY", &secret("inherited-key"))
        .variable(
            "ANTHROPIC_CUSTOM_HEADERS",
            &format!("X-Gateway: {}\nAuthorization: Bearer {}", secret("one"), secret("two")),
        )
        .variable("ANTHROPIC_BASE_URL", &format!("http://user:{}@127.0.0.1:1/", secret("base")))
        .variable("HTTPS_PROXY", &format!("http://user:{}@127.0.0.1:1/", secret("proxy")))
        .start();
    let configuration = json!({
        "env": { "PEM": format!("{}\n{}", secret("first-line"), secret("second-line")) },
        "mcpServers": {
            "web": {
                "type": "http",
                "url": format!("http://user:{}@127.0.0.1:1/?key={}", secret("url"), secret("query")),
                "headers": { "Authorization": format!("Bearer {}", secret("header")) },
            },
            "own": { "command": "true", "env": { "KEY": secret("mcp-env") } },
        },
        "agents": { "sub": { "description": "d", "prompt": "p", "mcpServers": [
            { "deep": { "type": "http", "url": "http://h/", "headers": { "X-Key": secret("deep") } } },
        ] } },
    });
    let mut watch = Watch::default();
    watch.ask(&relay, "POST", "/config", "", &configuration.to_string()).await;
    let mut client = Client::open(relay.address(), "/ws").await;
    watch.frames_until(&mut client, |frame| frame["type"] == "connected").await;
    client.say("a message on which the agent prints and ends").await;
    watch.frames_until(&mut client, |frame| frame["type"] == "exit").await;
    client.close().await;
    let mcp = std::fs::read_to_string(env.file("mcp")).expect("the agent saw its MCP servers");
    assert!(mcp.contains(&secret("header")) && mcp.contains(&secret("mcp-env")), "{mcp}");
    watch.saw("the log", relay.stderr());
    relay.stop();
    watch.assert_clean();
}

#[tokio::test]
async fn no_secret_is_visible_outside() {
    let env = TestEnv::new();
    // The place where an operator keeps them: a file that the server reads.
    let dotenv = [
        ("RELAY_AUTH_TOKEN", secret("token")),
        ("ANTHROPIC_API_KEY", secret("server-key")),
        ("E2B_API_KEY", secret("server-e2b")),
    ];
    let dotenv: String = dotenv.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    std::fs::write(env.home().join(".env"), dotenv).expect("a file of ours");
    let agent = failing_agent(&env);
    let relay = Launch::new(&env)
        .argument("--claude-path")
        .argument(&agent)
        .argument("--log=trace")
        .argument("--log-format=json")
        .start();
    let mut watch = Watch::default();
    let bearer = format!("Authorization: Bearer {}\r\n", secret("token"));
    let wrong = format!("Authorization: Bearer {}\r\n", secret("wrong"));
    let own_page = "Origin: http://localhost\r\nContent-Type: application/json\r\n";
    let token = format!("token={}", secret("token"));

    for (path, headers) in [
        ("/health", ""),
        ("/config", ""),
        ("/config", &wrong),
        (&format!("/config?token={}", secret("wrong")), ""),
        (&format!("/{}", secret("path")), ""),
        ("/config", "Host: evil.example\r\n"),
        ("/", &bearer),
        ("/health", &bearer),
    ] {
        watch.ask(&relay, "GET", path, headers, "").await;
    }
    for body in bad_configurations() {
        watch.ask(&relay, "POST", "/config", &bearer, &body).await;
    }
    let body = whole_configuration().to_string();
    for _ in 0..2 {
        watch.ask(&relay, "POST", "/config", &format!("{bearer}{own_page}"), &body).await;
        watch.ask(&relay, "GET", "/config", &bearer, "").await;
    }
    watch.look_at_processes("before a client", &relay);

    let mut client = Client::open(relay.address(), &format!("/ws?{token}")).await;
    watch.frames_until(&mut client, |frame| frame["type"] == "connected").await;
    let environment = env.file("environment");
    wait::until("the agent's environment", || environment.exists().then_some(())).await;
    watch.look_at_processes("with a client", &relay);
    client.send(&json!({ "type": "capabilities" })).await;
    client.send(&json!({ "type": secret("type") })).await;
    client.say("a message on which the agent ends").await;
    watch.frames_until(&mut client, |frame| frame["type"] == "exit").await;
    watch.ask(&relay, "GET", &format!("/health?{token}"), "", "").await;
    watch.look_at_processes("after the agent's end", &relay);
    client.close().await;

    // The agent has got its own secrets, and none of the server's.
    let text = std::fs::read_to_string(&environment).expect("it is there");
    let variables: BTreeMap<_, _> = text.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(variables.get("ANTHROPIC_API_KEY").copied(), Some(secret("key").as_str()));
    assert_eq!(variables.get("OWN_SECRET").copied(), Some(secret("env").as_str()));
    for absent in ["token", "server-key", "server-e2b", "e2b"] {
        let value = secret(absent);
        assert!(!variables.values().any(|known| *known == value), "{absent} in the environment");
    }
    watch.saw("the log", relay.stderr());
    relay.stop();
    // The type of a message is named in its error, to the one who sent it.
    let named = secret("type");
    for (_, text) in &mut watch.0 {
        if text.contains("Unknown message type") {
            *text = text.replace(&named, "");
        }
    }
    watch.assert_clean();
}

#[tokio::test]
async fn claimed_token_is_not_visible_outside() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--log=trace").start();
    let mut watch = Watch::default();
    let claim = json!({ "authToken": secret("claimed") }).to_string();
    watch.ask(&relay, "POST", "/config", "", &claim).await;
    for token in ["claimed", "wrong"] {
        let header = format!("Authorization: Bearer {}\r\n", secret(token));
        for path in ["/", "/config", "/health", "/ws", "/nothing"] {
            watch.ask(&relay, "GET", path, &header, "").await;
            watch.ask(&relay, "GET", &format!("{path}?token={}", secret(token)), "", "").await;
        }
    }
    let mut client =
        Client::open(relay.address(), &format!("/ws?token={}", secret("claimed"))).await;
    client.say(json!({ "echo": true }).to_string()).await;
    watch.frames_until(&mut client, |frame| frame["data"]["type"] == "result").await;
    watch.look_at_processes("after a claim", &relay);
    client.close().await;
    assert_eq!(http::get(relay.address(), "/config").await.status, 401, "it was claimed");
    watch.saw("the log", relay.stderr());
    relay.stop();
    watch.assert_clean();
}

#[tokio::test]
async fn key_behind_the_proxy_is_not_visible_to_the_agent() {
    let env = TestEnv::new();
    let agent = failing_agent(&env);
    // An API that is not there: the proxy has something to complain of.
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", gone.local_addr().expect("an address"));
    drop(gone);
    let relay = Launch::new(&env)
        .argument("--claude-path")
        .argument(&agent)
        .argument("--key-proxy")
        .argument("--no-auth")
        .argument("--log=trace")
        .variable("ANTHROPIC_BASE_URL", &base)
        .variable("ANTHROPIC_API_KEY", &secret("proxied"))
        .variable("ANTHROPIC_CUSTOM_HEADERS", &format!("X-Gateway: {}", secret("gateway")))
        .start();
    let mut watch = Watch::default();
    let mut client = Client::open(relay.address(), "/ws").await;
    watch.frames_until(&mut client, |frame| frame["type"] == "connected").await;
    let environment = env.file("environment");
    wait::until("the agent's environment", || environment.exists().then_some(())).await;
    let text = std::fs::read_to_string(&environment).expect("it is there");
    let value = |name: &str| {
        let prefix = format!("{name}=");
        text.lines().find_map(|line| line.strip_prefix(&prefix)).expect(name).to_owned()
    };
    let proxy = value("ANTHROPIC_BASE_URL");
    let proxy = proxy.strip_prefix("http://").expect("loopback").parse().expect("an address");
    let key = value("ANTHROPIC_API_KEY");
    assert!(key.starts_with("sk-ant-relay-"), "a placeholder key: {key}");
    watch.saw("the agent's environment", text.clone());
    for key in [key, "x".to_owned(), secret("proxied")] {
        for path in ["/v1/messages", "/v1/models", &format!("/{}", secret("proxy-path"))] {
            let headers = [("x-api-key", key.as_str())];
            let answer = http::request(proxy, "POST", path, &headers, "{}").await;
            assert_ne!(answer.status, 200);
            watch.saw("an answer of the proxy", format!("{answer:?}"));
        }
    }
    watch.look_at_processes("behind the key proxy", &relay);
    client.say("a message on which the agent ends").await;
    watch.frames_until(&mut client, |frame| frame["type"] == "exit").await;
    for path in ["/health", "/config"] {
        watch.ask(&relay, "GET", path, "", "").await;
    }
    client.close().await;
    watch.saw("the log", relay.stderr());
    relay.stop();
    watch.assert_clean();
}

#[tokio::test]
async fn codex_token_is_visible_to_codex_alone() {
    let env = TestEnv::new();
    // A server that repeats what it was sent where it refuses it.
    let codex = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = codex.local_addr().expect("an address");
    let (saw_to, mut saw) = tokio::sync::mpsc::channel(16);
    let refusing = tokio::spawn(async move {
        while let Ok((mut stream, _)) = codex.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let body = head.replace("\r\n", " ");
            let answer = format!(
                "HTTP/1.1 401 Unauthorized\r\nX-Seen: {body}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = saw_to.send(head).await;
        }
    });
    let relay = Launch::new(&env)
        .argument("--codex-url")
        .argument(format!("ws://{address}"))
        .argument("--log=trace")
        .variable("RELAY_CODEX_TOKEN", &secret("codex"))
        .variable("OPENAI_API_KEY", &secret("openai"))
        .start();
    let mut watch = Watch::default();
    watch.ask(&relay, "POST", "/config", "", r#"{"provider":"codex"}"#).await;
    for _ in 0..3 {
        let mut client = Client::open(relay.address(), "/ws").await;
        watch.frames_until(&mut client, |frame| frame["type"] == "error").await;
        client.send(&json!({ "type": "capabilities" })).await;
        watch.frames_until(&mut client, |frame| frame["type"] == "capabilities").await;
        watch.look_at_processes("with Codex elsewhere", &relay);
        client.close().await;
        for path in ["/health", "/config"] {
            watch.ask(&relay, "GET", path, "", "").await;
        }
    }
    let head = saw.recv().await.expect("the server has called");
    assert!(head.contains(&format!("Bearer {}", secret("codex"))), "{head}");
    watch.saw("the log", relay.stderr());
    relay.stop();
    refusing.abort();
    watch.assert_clean();
}
