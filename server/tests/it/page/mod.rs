//! The page and what it makes of messages: agents that say what no scripted API
//! makes the real CLI say, and a browser that shows it.

mod access;
mod compose;
mod history;
mod setup;
mod state;
mod text;
mod tools;

use crate::faults::agent::FakeAgent;
use crate::support::browser::Browser;
use crate::support::browser_fixture::ENTER;
use crate::support::relay::{Launch, Relay};
use claude_relay_testing::test_env::TestEnv;
use serde_json::{Value, json};

/// Words for stories.
const WORDS: &str = r#"
def say(**fields): out(json.dumps(dict(dict(session_id=SESSION), **fields)) + "\n")
def begin(mode="default"):
    say(type="system", subtype="init", model="model-1", permissionMode=mode, cwd="/", slash_commands=["compact", "cost"])
def speak(*content, **fields):
    content = [dict(type="text", text=part) if isinstance(part, str) else part for part in content]
    say(type="assistant", message=dict(role="assistant", content=content), parent_tool_use_id=None, **fields)
def call(id, name, **input): speak(dict(type="tool_use", id=id, name=name, input=input))
def outcome(id, text, details=None):
    block = dict(type="tool_result", tool_use_id=id, content=text)
    say(type="user", message=dict(role="user", content=[block]), parent_tool_use_id=None, tool_use_result=details)
def ask(id, tool, input, **fields):
    say(type="control_request", request_id=id, request=dict(subtype="can_use_tool", tool_name=tool, input=input, **fields))
    return answered(id)
def end(**fields): say(type="result", **dict(dict(subtype="success", is_error=False, result="done", usage=dict(input_tokens=3, output_tokens=4)), **fields))
REPLIES = {}
def take(wanted):
    while (taken := line()) is not None:
        m = json.loads(taken)
        if m["type"] == "control_request":
            request = m["request"]
            note("requests", json.dumps(request))
            out(json.dumps(dict(type="control_response", response=dict(subtype="success", request_id=m["request_id"], response=REPLIES.get(request["subtype"], {})))) + "\n")
        if (found := wanted(m)) is not None: return found
def message(): return take(lambda m: m["message"]["content"] if m["type"] == "user" else None)
def answered(id): return take(lambda m: m["response"].get("response", m["response"]) if m["type"] == "control_response" and m["response"]["request_id"] == id else None)
"#;

/// A page that is connected to a server whose agent follows a story.
struct Page {
    agent: FakeAgent,
    relay: Relay,
    browser: Browser,
    // Last, because the others have their files in it.
    _env: TestEnv,
}

impl Page {
    async fn with(story: &str) -> Self {
        Self::launched(story, |launch| launch).await
    }

    async fn launched(story: &str, adjust: impl FnOnce(Launch) -> Launch) -> Self {
        let env = TestEnv::new();
        let agent = FakeAgent::new(&env, &format!("{WORDS}{story}"));
        let launch = agent.launch(&env).variable("ANTHROPIC_API_KEY", "key-of-the-test");
        let relay = adjust(launch).start();
        let browser = Browser::start(&env).await;
        let page = Self { agent, relay, browser, _env: env };
        page.open().await;
        page
    }

    async fn open(&self) {
        self.browser.open(&format!("http://{}/", self.relay.address())).await;
        self.until("document.body.dataset.connection === 'connected'").await;
    }

    async fn say(&self, text: &str) {
        self.browser.type_into("#message", &format!("{text}{ENTER}")).await;
    }

    async fn until(&self, expression: &str) {
        self.browser.until(expression).await;
    }

    /// Waits until the element has text that includes `wanted`.
    async fn shows(&self, css: &str, wanted: &str) {
        let (css, wanted) = (json!(css), json!(wanted));
        self.until(&format!(
            "[...document.querySelectorAll({css})].some(e => e.textContent.includes({wanted}))"
        ))
        .await;
    }

    async fn count(&self, css: &str) -> Value {
        self.browser.evaluate(&format!("document.querySelectorAll({}).length", json!(css))).await
    }

    async fn text(&self, css: &str) -> String {
        let text = format!("document.querySelector({}).innerText", json!(css));
        self.browser.evaluate(&text).await.as_str().unwrap_or_default().to_owned()
    }

    async fn turn_ended(&self, count: usize) {
        self.until(&format!(
            "document.querySelectorAll('[data-role=turn-end]').length === {count}"
        ))
        .await;
    }

    /// The page has nothing to complain of, and nothing is left running.
    async fn end(self) {
        let complaints = self.browser.complaints().await;
        assert!(complaints.is_empty(), "the page complains: {complaints:#?}");
        self.browser.end().await;
        self.relay.stop();
    }
}
