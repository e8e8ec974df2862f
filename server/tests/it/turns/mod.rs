//! Turns, the state of the agent, and the end of every message.

mod configure;
mod conversations;
mod ends;
mod faults;
mod inputs;
mod owner;
mod requests;
mod state;
mod timeout;

use crate::faults::agent::FakeAgent;
use crate::support::relay::Relay;
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use serde_json::{Value, json};

/// Words for stories: an agent that names the messages it works on.
const NAMING: &str = r#"
import threading, uuid as ids
def say(**fields): out(json.dumps(fields) + "\n")
def state(name): say(type="system", subtype="session_state_changed", state=name, sdk_host_only=True)
def life(uuid, name): say(type="command_lifecycle", command_uuid=uuid, state=name)
def tasks(*names): say(type="system", subtype="background_tasks_changed", tasks=[dict(task_id=n, task_type="local_bash") for n in names])
def begin(*uuids):
    fields = dict(user_message_uuids=list(uuids)) if uuids else {}
    say(type="system", subtype="init", session_id=SESSION, model="m", permissionMode="default", **fields)
def end(*uuids, **fields):
    if uuids: fields["user_message_uuids"] = list(uuids)
    say(type="result", subtype="success", result="done", **fields)
def message():
    while (taken := line()) is not None:
        m = json.loads(taken)
        if m["type"] == "control_request":
            if m["request"]["subtype"] == "interrupt": note("heard", "(interrupt)")
            answer(m)
        elif m["type"] == "user":
            note("heard", m["message"]["content"])
            return m.get("uuid")
"#;

fn agent(env: &TestEnv, story: &str) -> FakeAgent {
    FakeAgent::new(env, &format!("{NAMING}{story}"))
}

/// A client that gets `agent_state`.
async fn client(relay: &Relay, query: &str) -> Client {
    Client::open(relay.address(), &format!("/ws?supports=agent_state{query}")).await
}

async fn say(client: &mut Client, text: &str, uuid: &str) {
    client
        .send(&json!({
            "type": "user_message",
            "data": {
                "type": "user",
                "uuid": uuid,
                "message": { "role": "user", "content": text },
            },
        }))
        .await;
}

/// Reads on to a state that `wanted` holds for.
async fn state(client: &mut Client, wanted: impl Fn(&Value) -> bool) -> Value {
    let is = |frame: &Value| frame["type"] == "agent_state" && wanted(frame);
    client.until(is).await.pop().expect("a state")
}
