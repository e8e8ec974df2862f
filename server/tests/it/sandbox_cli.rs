//! The real CLI in the OS sandbox: it works, it is stopped and resumed, and
//! its tools meet the walls.

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::{Gate, Reply};
use claude_relay_testing::test_env::{TEST_KEY, TestEnv};
use claude_relay_testing::tools::Cli;
use serde_json::json;

for_both_clis! {
    a_tool_works_inside_and_meets_the_walls,
    interrupt_and_the_next_turn,
    stopped_while_a_tool_runs_and_resumed,
    the_key_proxy_is_reached_from_inside,
}

/// Without the copy of stdout that other scenarios keep: it would be kept
/// outside.
fn start(cli: Cli, env: &TestEnv, api: &MessagesApi) -> Relay {
    Launch::unrestricted(env, &cli.path(), api)
        .argument("--sandbox=os")
        .argument("--no-auth")
        .start()
}

fn bash(command: &str) -> Reply {
    Reply::tool("Bash", json!({ "command": command, "description": "x", "timeout": 600_000 }))
}

async fn a_tool_works_inside_and_meets_the_walls(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    std::fs::create_dir(env.home().join(".ssh")).expect("a directory");
    std::fs::write(env.home().join(".ssh/id"), "the secret").expect("a file of the test");
    let relay = start(cli, &env, &api);
    let mut client = Client::connect(relay.address()).await;
    let outside = env.file("outside");
    api.script([
        bash(&format!(
            "echo made > made; cat ~/.ssh/id; echo x > {}; echo x > /usr/planted; echo tried",
            outside.display()
        )),
        Reply::text("Done."),
    ]);
    client.say("Try it").await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["result"], "Done.", "{turn:#?}");
    let told = api.turn(2).await.body.to_string();
    assert!(told.contains("tried") && !told.contains("the secret"), "{told}");
    let made = std::fs::read_to_string(env.workspace().join("made")).expect("the tool's file");
    assert_eq!(made, "made\n");
    assert!(!outside.exists());
    client.close().await;
    relay.stop();
}

async fn interrupt_and_the_next_turn(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let relay = start(cli, &env, &api);
    let mut client = Client::connect(relay.address()).await;
    let gate = Gate::closed();
    api.script([Reply::gated(&gate, ["never"]), Reply::text("Next.")]);
    client.say("Go").await;
    api.turn(1).await;
    client.interrupt().await;
    let aborted = client.turn().await;
    assert_eq!(aborted.result()["subtype"], "error_during_execution", "{aborted:#?}");
    client.say("And now").await;
    assert_eq!(client.turn().await.result()["result"], "Next.");
    client.close().await;
    relay.stop();
}

/// The stop goes its polite way through the wrapper: the session file is
/// whole, and another server resumes from it.
async fn stopped_while_a_tool_runs_and_resumed(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let relay = start(cli, &env, &api);
    let mut client = Client::connect(relay.address()).await;
    api.script([Reply::text("Noted."), bash("(setsid sleep 86405 &) ; sleep 86406")]);
    client.say("Remember the teapot").await;
    let first = client.turn().await;
    client.say("Run it").await;
    claude_relay_testing::wait::until("the tool", || {
        relay.offspring().into_iter().find(|process| process.command == "sleep 86406")
    })
    .await;
    relay.stop();
    assert_eq!(client.closed().await, Some(1001));

    let before = api.turns().len();
    api.script([Reply::text("I am back.")]);
    let relay = start(cli, &env, &api);
    let config = json!({ "resume": first.result()["session_id"] }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &config).await.status, 200);
    let mut client = Client::connect(relay.address()).await;
    client.say("Still there?").await;
    assert_eq!(client.turn().await.result()["result"], "I am back.");
    let request = api.turn(before + 1).await.body.to_string();
    assert!(request.contains("Remember the teapot"), "{request:.3000}");
    client.close().await;
    relay.stop();
}

async fn the_key_proxy_is_reached_from_inside(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let relay = Launch::unrestricted(&env, &cli.path(), &api)
        .argument("--sandbox=os")
        .argument("--no-auth")
        .argument("--key-proxy")
        .start();
    let mut client = Client::connect(relay.address()).await;
    api.script([
        bash("cat /proc/[0-9]*/environ > found 2>&1; echo searched"),
        Reply::text("Done."),
    ]);
    client.say("Search").await;
    assert_eq!(client.turn().await.result()["result"], "Done.");
    let found = std::fs::read(env.workspace().join("found")).expect("what the tool found");
    let found = String::from_utf8_lossy(&found);
    assert!(found.contains("sk-ant-relay-") && !found.contains(TEST_KEY), "{found}");
    assert_eq!(api.turn(1).await.header("x-api-key"), TEST_KEY);
    client.close().await;
    relay.stop();
}
