//! The key proxy between the real CLI and its API: the CLI notices nothing,
//! and its tools find no key.

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::{Gate, Message, Reply};
use claude_relay_testing::test_env::{TEST_KEY, TestEnv};
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::{Value, json};
use std::os::unix::fs::chown;
use std::path::Path;

for_both_clis! {
    no_tool_finds_the_key,
    every_kind_of_credential,
    errors_and_retries_come_as_they_are,
    pieces_arrive_as_they_are_made,
}

/// A user without rights. The tests run as root, to whom nothing is closed.
const NOBODY: u32 = 65534;

fn start(cli: Cli, env: &TestEnv, api: &MessagesApi) -> Relay {
    Launch::unrestricted(env, &cli.path(), api)
        .argument("--key-proxy")
        .argument("--no-auth")
        .start()
}

fn give_away(directory: &Path) {
    chown(directory, Some(NOBODY), None).expect("a directory of the test");
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            give_away(&path);
        } else {
            chown(&path, Some(NOBODY), None).expect("a file of the test");
        }
    }
}

/// Its own environment, its parents' up to the first process, and that of
/// every process it may look at.
const SEARCH: &str = "{ env; cat /proc/self/environ; p=$$; \
    while [ \"$p\" -gt 1 ]; do echo; echo \"at $p:\"; cat /proc/$p/environ /proc/$p/cmdline; \
      p=$(sed 's/.*) . \\([0-9]*\\) .*/\\1/' /proc/$p/stat); done; \
    cat /proc/[0-9]*/environ; grep -r sk-ant-test ~ \"$CLAUDE_CONFIG_DIR\" .; } > found 2>&1; echo searched";

async fn no_tool_finds_the_key(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let root = env.file("");
    give_away(&root);
    let relay = Launch::unrestricted(&env, &cli.path(), &api)
        .argument("--key-proxy")
        .argument("--no-auth")
        .user(NOBODY)
        .start();
    let mut client = Client::connect(relay.address()).await;
    let input = json!({ "command": SEARCH, "description": "x" });
    api.script([Reply::tool("Bash", input), Reply::text("Done.")]);
    client.say("Search").await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["result"], "Done.", "{turn:#?}");

    let found = std::fs::read(env.workspace().join("found")).expect("what the tool found");
    let found = String::from_utf8_lossy(&found);
    assert!(!found.contains(TEST_KEY), "{found}");
    // It has looked where it was to look.
    assert!(found.contains("sk-ant-relay-"), "its own environment");
    let server = relay.pid();
    assert!(found.contains(&format!("at {server}:")), "the server is among its parents");
    let closed = format!("/proc/{server}/environ: Permission denied");
    assert!(found.contains(&closed), "the server's environment is closed");
    assert_eq!(api.turn(1).await.header("x-api-key"), TEST_KEY);
    client.close().await;
    relay.stop();
}

async fn every_kind_of_credential(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    for (config, header, value) in [
        (json!({}), "x-api-key", TEST_KEY.to_owned()),
        (json!({ "anthropicApiKey": "sk-ant-other" }), "x-api-key", "sk-ant-other".to_owned()),
        (json!({ "anthropicAuthToken": "token-a" }), "authorization", "Bearer token-a".to_owned()),
        (
            json!({ "claudeCodeOauthToken": "sk-ant-oat01-b" }),
            "authorization",
            "Bearer sk-ant-oat01-b".to_owned(),
        ),
    ] {
        let relay = start(cli, &env, &api);
        let posted = http::post(relay.address(), "/config", &config.to_string()).await;
        assert_eq!(posted.status, 200, "{posted:?}");
        let mut client = Client::connect(relay.address()).await;
        api.script([Reply::text("Yes.")]);
        let turns = api.turns().len();
        client.say("Hi").await;
        assert_eq!(client.turn().await.result()["result"], "Yes.", "{config}");
        assert_eq!(api.turn(turns + 1).await.header(header), value, "{config}");
        client.close().await;
        relay.stop();
    }
    // No request has carried a placeholder key out.
    let sent: Vec<_> = api.requests().iter().map(|r| format!("{:?}", r.headers)).collect();
    assert!(sent.iter().all(|headers| !headers.contains("sk-ant-relay-")), "{sent:#?}");
}

async fn errors_and_retries_come_as_they_are(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let relay = start(cli, &env, &api);
    let mut client = Client::connect(relay.address()).await;
    let cut = Message::default().pieces(["half", "never"]).cut_after(1);
    api.script([Reply::Error(529), Reply::text("At last."), Reply::Error(401)]);
    api.script([Reply::from(cut), Reply::text("Whole."), Reply::text("Whole.")]);
    client.say("Hi").await;
    let turn = client.turn().await;
    assert!(turn.kinds().contains(&"system/api_retry".to_owned()), "{turn:#?}");
    assert_eq!(turn.result()["result"], "At last.");
    client.say("Again").await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["api_error_status"], 401, "{turn:#?}");
    client.say("And again").await;
    let turn = client.turn().await;
    assert!(turn.result()["is_error"].is_boolean(), "{turn:#?}");
    client.close().await;
    relay.stop();
}

async fn pieces_arrive_as_they_are_made(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let relay = start(cli, &env, &api);
    let config = json!({ "includePartialMessages": true }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &config).await.status, 200);
    let mut client = Client::connect(relay.address()).await;
    let gate = Gate::closed();
    api.script([Reply::gated(&gate, ["one ", "two ", "three"]), Reply::gated(&gate, ["never"])]);
    client.say("Count").await;
    for piece in ["one ", "two ", "three"] {
        gate.let_through(1);
        client.until(|frame| frame["data"]["event"]["delta"]["text"] == piece).await;
    }
    assert_eq!(client.turn().await.result()["result"], "one two three");
    // An interrupt closes the connection on the far side, too.
    client.say("Go").await;
    api.turn(2).await;
    client.interrupt().await;
    let aborted = client.turn().await;
    assert_eq!(aborted.result()["subtype"], "error_during_execution", "{aborted:#?}");
    let agent: Value = http::get(relay.address(), "/health").await.json();
    assert_eq!(agent["key_proxy"], true, "{agent}");
    wait::within("a polite end", client.close()).await;
    relay.stop();
}
