//! Features that must still work in the sandbox.

use super::*;

#[tokio::test]
async fn the_mcp_file_can_be_read_and_goes_away() {
    let cell = Cell::start();
    let config = json!({ "mcpServers": { "teapot": { "type": "http", "url": "http://h/" } } });
    assert_eq!(cell.configure(&config).await.status, 200);
    let said = cell
        .run("args=(\"$0\" $(tr '\\0' '\\n' < /proc/$$/cmdline)); for a in \"${args[@]}\"; do case $a in *claude-relay-mcp-*) echo \"$a\"; cat \"$a\";; esac; done")
        .await;
    assert!(said.contains("teapot"), "{said}");
    let file = PathBuf::from(said.lines().next().expect("the path"));
    cell.relay.stop();
    assert!(!file.exists(), "{file:?}");
}

/// The end of stdin reaches the agent through the wrapper, and it has the time
/// to write down what it must.
#[tokio::test]
async fn the_end_of_stdin_comes_first() {
    let cell = Cell::start();
    let flushed = cell.env.workspace().join("flushed");
    let body = format!(
        "echo '{{\"type\":\"up\"}}'\ncat > /dev/null\nsleep 0.3\necho well > {}",
        flushed.display()
    );
    let mut client = cell.agent(&body).await;
    client.until(|frame| frame["data"]["type"] == "up").await;
    cell.relay.stop();
    assert_eq!(std::fs::read_to_string(flushed).expect("what was flushed"), "well\n");
}

/// An agent that ignores the end of stdin and SIGTERM: the signal ends the
/// wrapper, and that ends everything inside.
#[tokio::test]
async fn sigterm_to_the_wrapper_ends_everything_inside() {
    let cell = Cell::launched(|launch| launch.argument("--stop-grace=300ms"));
    let body = "trap '' TERM HUP INT\necho '{\"type\":\"up\"}'\n(setsid sleep 86404 &)\nwhile :; do sleep 1; done";
    let mut client = cell.agent(body).await;
    client.until(|frame| frame["data"]["type"] == "up").await;
    cell.relay.stop();
}

#[tokio::test]
async fn the_exit_code_comes_through() {
    let cell = Cell::start();
    let mut client = cell.agent("echo last output >&2; exit 7").await;
    let frames = client.until(|frame| frame["type"] == "exit").await;
    let exit = frames.last().expect("the exit");
    assert_eq!(exit["code"], 7, "{exit}");
    assert!(exit["stderr"].as_str().is_some_and(|said| said.contains("last output")), "{exit}");
    cell.relay.stop();
}

#[tokio::test]
async fn the_demo_agent_runs_inside() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--sandbox=os").argument("--no-auth").start();
    let mut client = Client::connect(relay.address()).await;
    client.say(r#"{"echo":true}"#).await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["is_error"], false, "{turn:#?}");
    client.close().await;
    relay.stop();
}

/// The health of a server tells what is around its agent.
#[tokio::test]
async fn health_and_capabilities_name_the_sandbox() {
    let cell = Cell::start();
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", &*bearer)];
    let health = http::request(cell.relay.address(), "GET", "/health", &headers, "").await.json();
    assert_eq!(health["sandbox"]["active"], "bwrap", "{health}");
    let mut client = cell.agent("exec cat 3>&1 > /dev/null").await;
    client.send(&json!({ "type": "capabilities" })).await;
    let capabilities: Value = loop {
        match client.see().await {
            Seen::Frame(text) if text.contains("\"capabilities\"") => {
                break serde_json::from_str(&text).expect("JSON");
            }
            Seen::Frame(_) => {}
            Seen::Closed(code) => panic!("closed ({code:?})"),
        }
    };
    assert_eq!(capabilities["sandbox"]["active"], "bwrap", "{capabilities}");
    assert_eq!(capabilities["sandbox"]["available"], json!(["none", "bwrap"]), "{capabilities}");
    client.close().await;
    cell.relay.stop();
}
