//! Requests of the agent that a client answers: dialogs, hooks, tools.

use super::{agent, say, state};
use crate::faults::agent::FakeAgent;
use crate::support::http;
use crate::support::relay::Relay;
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use serde_json::{Value, json};

/// An agent that asks `SUBTYPE` in each turn and notes the answer.
fn asking(env: &TestEnv, subtype: &str) -> FakeAgent {
    let story = format!(
        r#"
def asked(id):
    out('{{"type":"control_request","request_id":"%s","request":{{ "subtype":"{subtype}","n":1.0,"n":2 }}}}\n' % id)
n = 0
while True:
    uuid = message(); n += 1
    if uuid is None: break
    begin(uuid); asked("q%d" % n)
    while (taken := line()) is not None:
        m = json.loads(taken)
        if m["type"] == "control_response":
            note("answers", taken.decode()); break
        if m["type"] == "control_request": note("heard", m["request"]["subtype"]); answer(m)
    end(uuid)
"#
    );
    agent(env, &story)
}

async fn open(relay: &Relay, query: &str) -> Client {
    Client::open(relay.address(), &format!("/ws?supports=agent_state,{query}")).await
}

async fn request(client: &mut Client) -> Value {
    client.until(|frame| frame["type"] == "agent_request").await.pop().expect("a frame")
}

async fn respond(client: &mut Client, id: &str, field: &str, value: Value) {
    let mut frame = json!({ "type": "agent_response", "requestId": id });
    frame[field] = value;
    client.send(&frame).await;
}

fn success(id: &str, response: &str) -> String {
    format!(
        r#"{{"type":"control_response","response":{{"subtype":"success","request_id":"{id}","response":{response}}}}}"#
    )
}

#[tokio::test]
async fn each_kind_reaches_a_client_that_supports_it_unchanged_and_its_answer_the_agent() {
    for (subtype, feature) in [
        ("elicitation", "questions"),
        ("request_user_dialog", "questions"),
        ("hook_callback", "hooks"),
        ("mcp_message", "host_tools"),
    ] {
        let env = TestEnv::new();
        let agent = asking(&env, subtype);
        let relay = agent.launch(&env).start();
        let mut client = open(&relay, feature).await;
        say(&mut client, "go", "u").await;
        request(&mut client).await;
        let sent = format!(
            r#"{{"type":"agent_request","requestId":"q1","request":{{ "subtype":"{subtype}","n":1.0,"n":2 }}}}"#
        );
        assert!(client.frames().contains(&sent), "{subtype}");
        if feature == "questions" {
            state(&mut client, |state| state["state"] == "waiting").await;
        }
        client
            .send_text(
                r#"{"type":"agent_response","requestId":"q1","response":{"b": 1.0,"a":[],"b":2}}"#,
            )
            .await;
        agent.notes("answers", &success("q1", r#"{"b": 1.0,"a":[],"b":2}"#)).await;
        respond(&mut client, "q1", "response", json!({})).await;
        let error = client.until(|frame| frame["type"] == "error").await.pop().unwrap();
        assert!(error["error"].as_str().unwrap().contains("was answered"), "{error}");
    }
}

#[tokio::test]
async fn an_error_of_the_client_reaches_the_agent() {
    let env = TestEnv::new();
    let agent = asking(&env, "mcp_message");
    let relay = agent.launch(&env).start();
    let mut client = open(&relay, "host_tools").await;
    say(&mut client, "go", "u").await;
    request(&mut client).await;
    respond(&mut client, "q1", "error", json!("no such tool")).await;
    let error = r#"{"type":"control_response","response":{"subtype":"error","request_id":"q1","error":"no such tool"}}"#;
    agent.notes("answers", error).await;
}

#[tokio::test]
async fn without_a_client_that_supports_it_a_request_is_refused_at_once() {
    for (subtype, query) in [
        ("elicitation", "hooks,host_tools"),
        ("hook_callback", "questions"),
        ("brand_new", "questions,hooks,host_tools"),
    ] {
        let env = TestEnv::new();
        let agent = asking(&env, subtype);
        let relay = agent.launch(&env).start();
        let mut client = open(&relay, query).await;
        say(&mut client, "go", "u").await;
        let frames = client.until(|frame| frame["data"]["type"] == "result").await;
        assert!(frames.iter().all(|frame| frame["type"] != "agent_request"), "{frames:?}");
        let answer = &agent.noted("answers")[0];
        assert!(answer.contains("Unsupported control request subtype"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_comes_back_is_asked_again_once() {
    let env = TestEnv::new();
    let agent = asking(&env, "hook_callback");
    let relay = agent.launch(&env).start();
    let mut first = open(&relay, "hooks&after=0").await;
    let stream = first.frame().await["stream"].as_str().unwrap().to_owned();
    say(&mut first, "go", "u").await;
    let seq = request(&mut first).await["seq"].as_u64().unwrap();
    first.close().await;
    // One that has not seen it, one that has, one that does not replay.
    for after in [seq - 1, seq, u64::MAX] {
        let query = match after {
            u64::MAX => "hooks".to_owned(),
            after => format!("hooks&after={after}&stream={stream}"),
        };
        let mut again = open(&relay, &query).await;
        let uuid = json!(format!("more-{after}"));
        say(&mut again, "more", uuid.as_str().unwrap()).await;
        let is_queued =
            |frame: &Value| frame["queued"].as_array().is_some_and(|queued| queued.contains(&uuid));
        let frames = again.until(is_queued).await;
        let asked = frames.iter().filter(|frame| frame["type"] == "agent_request").count();
        assert_eq!(asked, 1, "after {after}: {frames:?}");
        again.close().await;
    }
}

#[tokio::test]
async fn a_request_that_was_answered_is_cancelled_in_a_replay() {
    let env = TestEnv::new();
    let agent = asking(&env, "mcp_message");
    let relay = agent.launch(&env).start();
    let mut first = open(&relay, "host_tools&after=0").await;
    say(&mut first, "go", "u").await;
    request(&mut first).await;
    respond(&mut first, "q1", "response", json!({})).await;
    first.until(|frame| frame["data"]["type"] == "result").await;
    first.close().await;
    let mut second = open(&relay, "host_tools&after=0").await;
    let frames = second.until(|frame| frame["type"] == "agent_request_cancelled").await;
    assert_eq!(frames.last().unwrap()["requestId"], "q1");
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "agent_request").count(), 1);
}

#[tokio::test]
async fn a_client_without_the_feature_ends_what_waits_for_one_that_had_it() {
    let env = TestEnv::new();
    let agent = asking(&env, "hook_callback");
    let relay = agent.launch(&env).start();
    let mut first = open(&relay, "hooks").await;
    say(&mut first, "go", "u").await;
    request(&mut first).await;
    first.close().await;
    let mut second = Client::open(relay.address(), "/ws?after=0").await;
    let frames = second.until(|frame| frame["data"]["type"] == "result").await;
    assert!(
        frames.iter().all(|frame| !frame["type"].as_str().unwrap().starts_with("agent_")),
        "{frames:?}"
    );
    assert!(agent.noted("answers")[0].contains("Unsupported control request subtype"));
}

#[tokio::test]
async fn an_unanswered_request_ends_in_time_and_one_of_a_hook_when_the_agent_says_so() {
    let env = TestEnv::new();
    let agent = asking(&env, "elicitation");
    let relay = agent.launch(&env).argument("--permission-timeout=300ms").start();
    let mut client = open(&relay, "questions").await;
    say(&mut client, "go", "u").await;
    let frames = client.until(|frame| frame["type"] == "agent_request_cancelled").await;
    assert_eq!(frames.last().unwrap()["requestId"], "q1");
    client.until(|frame| frame["data"]["type"] == "result").await;
    assert!(agent.noted("answers")[0].contains("Nobody answered the request within 300ms"));

    let env = TestEnv::new();
    let story = r#"
uuid = message(); begin(uuid)
say(type="control_request", request_id="h", request=dict(subtype="hook_callback"))
time.sleep(1)
say(type="control_cancel_request", request_id="h"); end(uuid); message()
"#;
    let agent = self::agent(&env, story);
    let relay = agent.launch(&env).argument("--permission-timeout=300ms").start();
    let mut client = open(&relay, "hooks").await;
    say(&mut client, "go", "u").await;
    let frames = client.until(|frame| frame["data"]["type"] == "result").await;
    let cancelled: Vec<_> =
        frames.iter().filter(|frame| frame["type"] == "agent_request_cancelled").collect();
    assert_eq!(cancelled.len(), 1, "{frames:?}");
}

#[tokio::test]
async fn requests_end_with_the_agent() {
    let env = TestEnv::new();
    let story = r#"
uuid = message(); begin(uuid)
if RUN == 1:
    say(type="control_request", request_id="m", request=dict(subtype="mcp_message"))
    gate("end"); sys.exit(1)
end(uuid); message()
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let mut client = open(&relay, "host_tools").await;
    say(&mut client, "go", "u").await;
    request(&mut client).await;
    agent.open("end");
    client.until(|frame| frame["type"] == "agent_request_cancelled").await;
    respond(&mut client, "m", "response", json!({})).await;
    client
        .until(|frame| frame["error"].as_str().is_some_and(|e| e.contains("No agent request")))
        .await;
}

#[tokio::test]
async fn hooks_and_tools_of_a_client_are_declared_by_the_configuration() {
    let env = TestEnv::new();
    let story = r#"
note("initialize", json.dumps(json.loads(line())["request"])); work()
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let hooks = json!({ "PreToolUse": [{ "matcher": "Bash", "hookCallbackIds": ["hook_0"] }] });
    let config = json!({ "hooks": hooks, "sdkMcpServers": ["calculator"] });
    let answer = http::post(relay.address(), "/config", &config.to_string()).await;
    assert_eq!((answer.status, &answer.json()["config"]), (200, &config), "{answer:?}");
    let _client = open(&relay, "hooks").await;
    let initialize =
        claude_relay_testing::wait::until("initialize", || agent.noted("initialize").pop()).await;
    let initialize: Value = serde_json::from_str(&initialize).unwrap();
    assert_eq!(initialize["hooks"], hooks);
    assert_eq!(initialize["sdkMcpServers"], json!(["calculator"]));
}

#[tokio::test]
async fn a_hook_brings_no_rules_that_the_ceiling_forbids() {
    let env = TestEnv::new();
    let agent = asking(&env, "hook_callback");
    let relay = agent.launch(&env).start();
    let mut client = open(&relay, "hooks").await;
    say(&mut client, "go", "u").await;
    request(&mut client).await;
    let rules =
        json!([{ "type": "setMode", "mode": "bypassPermissions", "destination": "session" }]);
    let decision = json!({ "behavior": "allow", "updatedPermissions": rules });
    for response in [
        json!({ "hookSpecificOutput": { "hookEventName": "PermissionRequest", "decision": decision } }),
        json!({ "of tomorrow": [[{ "decision": decision }]] }),
    ] {
        respond(&mut client, "q1", "response", response).await;
        let error = client.until(|frame| frame["type"] == "error").await.pop().unwrap();
        assert!(error["error"].as_str().unwrap().contains("bypassPermissions"), "{error}");
    }
    respond(&mut client, "q1", "response", json!({ "continue": true })).await;
    agent.notes("answers", &success("q1", r#"{"continue":true}"#)).await;
}

#[tokio::test]
async fn the_narrow_modes_take_no_hooks_and_no_tools_of_a_client() {
    for mode in ["safe", "agentic"] {
        let env = TestEnv::new();
        let agent = agent(&env, "work()");
        let relay = agent.launch(&env).mode(mode).start();
        for config in [r#"{"hooks":{}}"#, r#"{"sdkMcpServers":["a"]}"#] {
            let answer = http::post(relay.address(), "/config", config).await;
            assert_eq!(answer.status, 400, "{mode} {config}");
        }
    }
}
