//! `POST /reclaim`: a copy of a running server gets a token, a stream and a
//! conversation of its own.

use super::{agent, say};
use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::{Client, Seen};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::{Value, json};

const FORMER: &str = "the-former-token";
const NEW: &str = "another-token-of-its-own";

for_both_clis! {
    the_cli_goes_on_with_what_was_said,
}

/// Notes with which flags it is run. A fork has the id that it is given.
const FORKING: &str = r#"
note("flags", " ".join(a for a in sys.argv if a.startswith(("--resume", "--fork", "--session-id"))))
def starts(): return open(os.path.join(HERE, "flags")).read().count("\n")
for given in sys.argv:
    if given.startswith("--session-id="): SESSION = given.partition("=")[2]
"#;

/// The id that the server has drawn for a fork of `former`.
fn drawn(flags: &str, former: &str) -> String {
    let id = flags.strip_prefix(&format!("--resume={former} --fork-session --session-id="));
    let id = id.unwrap_or_else(|| panic!("{flags}"));
    assert!(id.len() == 36 && id != former, "{flags}");
    id.to_owned()
}

async fn claim(relay: &Relay, config: Value) {
    let mut config = config;
    config["authToken"] = FORMER.into();
    let answer = http::post(relay.address(), "/config", &config.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn reclaim(relay: &Relay, shown: &str, token: &str) -> http::Response {
    let body = json!({ "authToken": token }).to_string();
    http::post(relay.address(), &format!("/reclaim?token={shown}"), &body).await
}

/// The new owner changes fields of the configuration.
async fn change(relay: &Relay, merged: &str) {
    let path = format!("/config?token={NEW}");
    let json = [("Content-Type", "application/json")];
    let answer = http::request(relay.address(), "PATCH", &path, &json, merged).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn open(relay: &Relay, query: &str, token: &str) -> (Client, Value) {
    let mut client = Client::open(relay.address(), &format!("/{query}&token={token}")).await;
    let connected = client.frame().await;
    assert_eq!(connected["type"], "connected", "{connected}");
    (client, connected)
}

async fn session_id(relay: &Relay, token: &str) -> Value {
    let path = format!("/health?token={token}");
    http::get(relay.address(), &path).await.json()["agent"]["session_id"].clone()
}

/// Reads on to the close frame. What came last before it?
async fn last_before_the_end(client: &mut Client) -> (Value, Option<u16>) {
    let mut last = Value::Null;
    loop {
        match client.see().await {
            Seen::Frame(frame) => last = serde_json::from_str(&frame).expect("JSON"),
            Seen::Closed(code) => return (last, code),
        }
    }
}

#[tokio::test]
async fn another_token_ends_all_connections_of_the_former_one() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    claim(&relay, json!({})).await;
    let (mut client, connected) = open(&relay, "ws?after=0", FORMER).await;
    let (mut watcher, _) = open(&relay, "ws?watch=true", FORMER).await;
    client.say("Hello").await;
    client.turn().await;

    assert_eq!(reclaim(&relay, FORMER, NEW).await.status, 200);
    for one in [&mut client, &mut watcher] {
        let (last, code) = last_before_the_end(one).await;
        assert!(
            last["error"].as_str().is_some_and(|text| text.contains("another owner")),
            "{last}"
        );
        assert_eq!(code, Some(4001));
    }
    for (token, status) in [(FORMER, 401), (NEW, 200)] {
        let path = format!("/config?token={token}");
        assert_eq!(http::get(relay.address(), &path).await.status, status, "{token}");
    }
    assert_eq!(reclaim(&relay, FORMER, NEW).await.status, 401);

    // The slot is free, and numbers of the former stream count no more.
    let (_, again) = open(&relay, "ws?after=0", NEW).await;
    assert_ne!(again["stream"], connected["stream"]);
    relay.stop();

    // The token of the server that starts again is the new one.
    let relay = Launch::demo(&env).start();
    for (token, status) in [(FORMER, 401), (NEW, 200)] {
        let path = format!("/config?token={token}");
        assert_eq!(http::get(relay.address(), &path).await.status, status, "{token}");
    }
    relay.stop();
}

#[tokio::test]
async fn a_token_that_is_no_claim_is_not_exchanged() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    assert_eq!(reclaim(&relay, "", NEW).await.status, 409);
    assert_eq!(http::get(relay.address(), "/config").await.status, 200);
    claim(&relay, json!({})).await;
    let body = json!({ "authToken": NEW }).to_string();
    assert_eq!(http::post(relay.address(), "/reclaim", &body).await.status, 401);
    assert_eq!(reclaim(&relay, NEW, NEW).await.status, 401);
    assert_eq!(reclaim(&relay, FORMER, "short").await.status, 400);
    let path = format!("/reclaim?token={FORMER}");
    assert_eq!(http::get(relay.address(), &path).await.status, 405);
    let own = format!("http://{}", relay.address());
    let headers = [("Origin", own.as_str()), ("Content-Type", "text/plain")];
    assert_eq!(http::request(relay.address(), "POST", &path, &headers, &body).await.status, 415);
    let other = [("Origin", "http://example.com"), ("Content-Type", "application/json")];
    assert_eq!(http::request(relay.address(), "POST", &path, &other, &body).await.status, 403);
    relay.stop();

    let given = Launch::demo(&TestEnv::new()).argument("--auth-token").argument(FORMER).start();
    assert_eq!(reclaim(&given, FORMER, NEW).await.status, 409);
    assert_eq!(reclaim(&given, NEW, NEW).await.status, 401);
    given.stop();
}

#[tokio::test]
async fn of_two_new_owners_one_has_the_server() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    claim(&relay, json!({})).await;
    let (one, other) =
        tokio::join!(reclaim(&relay, FORMER, NEW), reclaim(&relay, FORMER, "a-third-token"));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    relay.stop();
}

#[tokio::test]
async fn the_conversation_goes_on_under_an_id_of_its_own() {
    let env = TestEnv::new();
    let agent = agent(&env, &format!("{FORKING}work()"));
    let relay = agent.launch(&env).start();
    claim(&relay, json!({ "sessionId": "6d4f3c2e-8a0b-4c1d-9e2f-0a1b2c3d4e5f" })).await;
    let (mut client, _) = open(&relay, "ws?after=0", FORMER).await;
    client.say("one").await;
    client.turn().await;
    let former = session_id(&relay, FORMER).await;
    assert_eq!(reclaim(&relay, FORMER, NEW).await.status, 200);

    let (mut client, _) = open(&relay, "ws?after=0", NEW).await;
    client.say("two").await;
    client.until(|frame| frame["data"]["result"] == "two").await;
    let former = former.as_str().expect("an id");
    let own = drawn(&agent.noted("flags")[1], former);
    assert_eq!(session_id(&relay, NEW).await, own);
    // A restart for another reason goes on with that, and forks nothing.
    change(&relay, r#"{"model":"another"}"#).await;
    client.close().await;
    let (mut client, _) = open(&relay, "ws?after=0", NEW).await;
    client.say("three").await;
    client.until(|frame| frame["data"]["result"] == "three").await;
    let flags = agent.noted("flags");
    assert_eq!(flags[0], "--session-id=6d4f3c2e-8a0b-4c1d-9e2f-0a1b2c3d4e5f");
    assert_eq!(flags[2..], [format!("--resume={own}")]);
    relay.stop();
}

#[tokio::test]
async fn a_fork_that_dies_before_it_begins_is_begun_under_another_id() {
    let env = TestEnv::new();
    let agent = agent(
        &env,
        &format!("{FORKING}if '--fork-session' in sys.argv and starts() < 3: sys.exit(1)\nwork()"),
    );
    let relay = agent.launch(&env).start();
    claim(&relay, json!({})).await;
    let (mut client, _) = open(&relay, "ws?after=0", FORMER).await;
    client.say("one").await;
    client.turn().await;
    let former = session_id(&relay, FORMER).await;
    assert_eq!(reclaim(&relay, FORMER, NEW).await.status, 200);
    let (mut client, _) = open(&relay, "ws?after=0", NEW).await;
    client.say("two").await;
    client.until(|frame| frame["data"]["result"] == "two").await;
    let flags = agent.noted("flags");
    let former = former.as_str().expect("an id");
    let [first, second] = [1, 2].map(|start| drawn(&flags[start], former));
    assert_ne!(first, second);
    assert_eq!(session_id(&relay, NEW).await, second);
    relay.stop();
}

#[tokio::test]
async fn a_conversation_that_ended_behind_a_fork_is_not_forked_again() {
    let env = TestEnv::new();
    let agent = agent(&env, &format!("{FORKING}work()"));
    let relay = agent.launch(&env).start();
    claim(&relay, json!({})).await;
    let (mut client, _) = open(&relay, "ws?after=0", FORMER).await;
    client.say("one").await;
    client.turn().await;
    assert_eq!(reclaim(&relay, FORMER, NEW).await.status, 200);
    let (mut client, _) = open(&relay, "ws?after=0", NEW).await;
    client.say("two").await;
    client.until(|frame| frame["data"]["result"] == "two").await;

    // Nothing is kept from here on, so the conversation ends with its agent.
    for (merged, text) in [(r#"{"persistSession":false}"#, "three"), (r#"{"model":"m"}"#, "four")] {
        change(&relay, merged).await;
        client.close().await;
        (client, _) = open(&relay, "ws?after=0", NEW).await;
        client.say(text).await;
        client.until(|frame| frame["data"]["result"] == text).await;
    }
    let flags = agent.noted("flags");
    assert_eq!(flags.last().map(String::as_str), Some(""), "{flags:?}");
    relay.stop();
}

#[tokio::test]
async fn a_turn_that_runs_ends_before_the_conversation_gets_its_id() {
    let env = TestEnv::new();
    let story = format!(
        "{FORKING}uuid = message(); begin(uuid); note('flags', 'works'); gate('go-on')
end(uuid); work()"
    );
    let agent = agent(&env, &story);
    let relay = agent.launch(&env).start();
    claim(&relay, json!({})).await;
    let (mut client, _) = open(&relay, "ws?after=0", FORMER).await;
    say(&mut client, "one", "11111111-1111-4111-8111-111111111111").await;
    wait::until("the turn", || agent.noted("flags").contains(&"works".into()).then_some(())).await;
    assert_eq!(reclaim(&relay, FORMER, NEW).await.status, 200);
    let (mut client, _) = open(&relay, "ws?after=0", NEW).await;
    agent.open("go-on");
    client.until(|frame| frame["data"]["result"] == "done").await;
    wait::until("the fork", || agent.noted("flags").get(2).cloned()).await;
    let flags = agent.noted("flags");
    assert!(flags[2].contains("--fork-session"), "{flags:?}");
    relay.stop();
}

#[tokio::test]
async fn runs_of_the_former_owner_end() {
    let env = TestEnv::new();
    let agent = agent(&env, "note('runs', 'one')\nwhile line() is not None: pass");
    let relay = agent.launch(&env).start();
    claim(&relay, json!({})).await;
    let (mut run, _) = open(&relay, "agent?run=0123456789abcdef&after=0", FORMER).await;
    run.send(&json!({ "type": "start", "args": [], "env": {}, "cwd": "/" })).await;
    wait::until("the run's agent", || agent.noted("runs").first().cloned()).await;
    assert_eq!(reclaim(&relay, FORMER, NEW).await.status, 200);
    assert!(last_before_the_end(&mut run).await.1.is_some());
    wait::until_async("the end of the run", async || {
        let health = http::get(relay.address(), &format!("/health?token={NEW}")).await.json();
        health["runs"]["running"] == 0
    })
    .await;
    relay.stop();
}

async fn the_cli_goes_on_with_what_was_said(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    api.script([Reply::text("First."), Reply::text("Second.")]);
    let relay = Launch::unrestricted(&env, &cli.path(), &api).start();
    claim(&relay, json!({})).await;
    let (mut client, _) = open(&relay, "ws?after=0", FORMER).await;
    client.say("one").await;
    client.turn().await;
    let former = session_id(&relay, FORMER).await;
    assert_eq!(reclaim(&relay, FORMER, NEW).await.status, 200);

    let (mut client, connected) = open(&relay, "ws?after=0", NEW).await;
    assert_ne!(connected["stream"], Value::Null);
    client.say("two").await;
    client.until(|frame| frame["data"]["result"] == "Second.").await;
    let own = session_id(&relay, NEW).await;
    assert!(own.is_string() && own != former, "{own} after {former}");
    let asked = api.turn(2).await;
    let texts = asked.body["messages"].to_string();
    for said in ["one", "First.", "two"] {
        assert!(texts.contains(&format!("\"{said}\"")), "{said}: {texts}");
    }
    relay.stop();
}
