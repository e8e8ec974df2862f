//! The state of the agent as the server tells it, and what outlives a reload.

use super::Page;
use crate::faults::agent::FakeAgent;
use crate::support::browser::Browser;
use crate::support::relay::Launch;
use claude_relay_testing::relay_process::build_program;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use serde_json::json;

const IDLE: &str =
    "document.querySelector('#activity').hidden && document.querySelector('#interrupt').hidden";

#[tokio::test]
async fn output_behind_a_turn_leaves_the_page_idle_and_the_mode_is_the_agents() {
    let page = Page::with(
        r#"
message(); begin("plan"); end()
say(type="user", message=dict(role="user", content="<local-command-stdout>Set model to opus</local-command-stdout>"), isReplay=True)
say(type="system", subtype="informational", level="warning", content="A hook has a word")
message(); begin("acceptEdits"); gate("go"); end()
message()
"#,
    )
    .await;
    page.say("/model opus").await;
    page.shows(".notice", "Set model to opus").await;
    page.shows(".notice.warning", "A hook has a word").await;
    page.until(IDLE).await;
    page.until("document.querySelector('#permission-mode').value === 'plan'").await;
    assert_eq!(page.count("[data-role=other]").await, 0);

    page.say("Go on").await;
    page.until("document.querySelector('#activity-words').textContent === 'Working'").await;
    page.until("document.querySelector('#permission-mode').value === 'acceptEdits'").await;
    page.until("!document.querySelector('#interrupt').hidden").await;
    page.agent.open("go");
    page.until(IDLE).await;
    page.end().await;
}

#[tokio::test]
async fn turn_of_the_agents_own_and_its_tasks_are_told_apart() {
    let page = Page::with(
        r#"
message(); begin()
say(type="system", subtype="background_tasks_changed", tasks=[dict(task_id="t", task_type="local_bash", description="sleep")])
end()
gate("report")
say(type="system", subtype="background_tasks_changed", tasks=[])
begin(); gate("done"); end(origin=dict(kind="task-notification"))
message()
"#,
    )
    .await;
    page.say("Start it").await;
    page.shows("#activity-words", "1 background task running").await;
    page.until("document.querySelector('#interrupt').hidden").await;
    page.agent.open("report");
    page.shows("#activity-words", "Working on its own").await;
    page.agent.open("done");
    page.until(IDLE).await;
    page.end().await;
}

#[tokio::test]
async fn a_crash_is_one_block_and_each_next_one_too() {
    let page = Page::with(
        r#"
message(); begin()
err("first line of the fault\nsecond line of the fault\n")
os._exit(3)
"#,
    )
    .await;
    for crashes in 1..=2 {
        page.say("Do it").await;
        page.until(&format!("document.querySelectorAll('.notice.error').length === {crashes}"))
            .await;
    }
    assert_eq!(page.count(".notice.info").await, 0);
    let text = page.text("#entries").await;
    assert_eq!(text.matches("exited with code 3").count(), 2, "{text}");
    page.browser.evaluate("document.querySelector('.notice.error details').open = true").await;
    page.shows(".notice.error pre", "second line of the fault").await;
    page.until(IDLE).await;
    page.end().await;
}

#[tokio::test]
async fn a_failed_turn_is_one_block() {
    let page = Page::with(
        r#"
message(); begin()
for attempt in (1, 2, 3):
    say(type="system", subtype="api_retry", attempt=attempt, max_retries=10, retry_delay_ms=1, error_status=529)
speak("API Error: overloaded", error="overloaded", isApiErrorMessage=True)
end(is_error=True, result="API Error: overloaded")
message()
"#,
    )
    .await;
    page.say("Do it").await;
    page.turn_ended(1).await;
    let text = page.text("#entries").await;
    assert_eq!(text.matches("API Error: overloaded").count(), 1, "{text}");
    assert_eq!(page.count(".notice.warning").await, 1);
    assert!(text.contains("Attempt 3 of 10"), "{text}");
    page.end().await;
}

#[tokio::test]
async fn message_that_is_not_delivered_says_so_and_goes_back_into_the_box() {
    let env = TestEnv::new();
    let missing = env.file("no-such-cli");
    let relay = Launch::new(&env).argument("--claude-path").argument(missing).start();
    let browser = Browser::start(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.type_into("#message", "Not lost\u{E007}").await;
    browser.until("document.querySelector('.user[data-delivery=undelivered]')").await;
    browser.click(".user[data-delivery=undelivered] button").await;
    browser.until("document.querySelector('#message').value === 'Not lost'").await;
    browser.until("!document.querySelector('#missing-note').hidden").await;
    browser.end().await;
    relay.stop();
}

#[tokio::test]
async fn draft_place_and_panel_outlive_a_reload() {
    let page = Page::with(
        r#"
message(); begin()
for number in range(200): speak("Paragraph %d" % number)
end(); message()
"#,
    )
    .await;
    page.say("Talk").await;
    page.turn_ended(1).await;
    page.browser.type_into("#message", "half a thought").await;
    let fifty = "[...document.querySelectorAll('.entry')][50]";
    page.browser.evaluate(&format!("{fifty}.scrollIntoView()")).await;
    page.until("!document.querySelector('#jump-latest').hidden").await;
    page.browser.click("#open-status").await;
    page.open().await;
    page.turn_ended(1).await;
    page.until("document.querySelector('#message').value === 'half a thought'").await;
    page.until("document.body.dataset.panel === 'status'").await;
    page.until(&format!(
        "Math.abs({fifty}.getBoundingClientRect().top - document.querySelector('#transcript').getBoundingClientRect().top) < 60"
    ))
    .await;
    page.end().await;
}

#[tokio::test]
async fn new_conversation_begins_and_the_last_one_goes_on_after_a_restart() {
    let story = r#"
import uuid
if not RESUMED: SESSION = str(uuid.uuid4())
while message() is not None:
    begin(); speak("In " + SESSION); end()
"#;
    let page = Page::with(story).await;
    page.say("One").await;
    page.turn_ended(1).await;
    page.browser.click("#new-conversation").await;
    page.shows("[data-role=divider]", "A new conversation").await;
    page.say("Two").await;
    page.turn_ended(2).await;
    let sessions = "[...new Set([...document.querySelectorAll('.agent .prose')].map(e => e.textContent.trim()))]";
    let told = page.browser.evaluate(sessions).await;
    assert_eq!(told.as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(page.count("[data-role=divider]").await, 1);

    let Page { agent, relay, browser, _env } = page;
    let port = relay.address().port();
    relay.stop();
    browser.until("document.body.dataset.connection !== 'connected'").await;
    let relay = agent.launch(&_env).variable("ANTHROPIC_API_KEY", "k").port(port).start();
    let page = Page { agent, relay, browser, _env };
    page.until("document.body.dataset.connection === 'connected'").await;
    page.shows("[data-role=divider]", "The server was started anew").await;
    page.browser.click("#continue-last").await;
    page.until("document.body.dataset.connection === 'connected'").await;
    page.until("document.querySelector('#continue-line').hidden").await;
    page.say("Three").await;
    page.turn_ended(3).await;
    assert_eq!(page.browser.evaluate(sessions).await, told, "it goes on in the last one");
    // It may complain of requests that failed while the server was away.
    page.browser.complaints().await;
    page.end().await;
}

#[tokio::test]
async fn fields_of_the_form_are_patched_and_secrets_are_named() {
    let page = Page::with("message()").await;
    let address = page.relay.address();
    let config = json!({ "anthropicApiKey": "sk-secret", "env": { "A": "b" }, "maxTurns": 9 });
    let posted = crate::support::http::post(address, "/config", &config.to_string()).await;
    assert_eq!(posted.status, 200);
    page.browser.click("#open-config").await;
    page.shows("#config-secrets", "anthropicApiKey is set").await;
    page.shows("#config-secrets", "env.A is set").await;
    page.browser.type_into("#config-model", "opus").await;
    page.browser.click("#config-save").await;
    page.browser.click("#config-reconnect").await;
    page.shows("#config-outcome", "Reconnected.").await;
    let now = crate::support::http::get(address, "/config").await.json();
    assert_eq!(now["config"]["model"], "opus");
    assert_eq!(now["config"]["maxTurns"], 9);
    assert_eq!(now["secrets"], json!(["env.A", "anthropicApiKey"]));
    let html = page.browser.evaluate("document.documentElement.outerHTML").await;
    assert!(!html.to_string().contains("sk-secret"));

    page.browser.click("[aria-label='Remove anthropicApiKey']").await;
    page.until(
        "!document.querySelector('#config-secrets').textContent.includes('anthropicApiKey')",
    )
    .await;
    let now = crate::support::http::get(address, "/config").await.json();
    assert_eq!(now["secrets"], json!(["env.A"]));
    page.end().await;
}

#[tokio::test]
async fn own_messages_are_there_after_a_reload_in_their_places() {
    let page = Page::with(
        r#"
message(); begin(); gate("go"); speak("First answer"); end()
message(); begin(); speak("Second answer"); end()
message()
"#,
    )
    .await;
    page.say("First question").await;
    page.say("Second question").await;
    page.agent.open("go");
    page.turn_ended(2).await;
    page.until("document.querySelectorAll('.user[data-delivery=delivered]').length === 2").await;
    let order = "[...document.querySelectorAll('.user .user-text, .agent .prose')].map(e => e.textContent.trim())";
    let before = page.browser.evaluate(order).await;
    page.open().await;
    page.turn_ended(2).await;
    let said = json!(["First question", "First answer", "Second question", "Second answer"]);
    let mut after = page.browser.evaluate(order).await.as_array().cloned().unwrap_or_default();
    assert_eq!(before.as_array().map(Vec::len), Some(4), "{before}");
    after.sort_by_key(ToString::to_string);
    let mut said = said.as_array().cloned().unwrap_or_default();
    said.sort_by_key(ToString::to_string);
    assert_eq!(after, said, "each once");
    page.end().await;
}

#[tokio::test]
async fn a_question_of_the_command_line_is_there_with_its_answer() {
    let env = TestEnv::new();
    let story = "message(); begin(); speak('The answer'); end(); message()";
    let agent = FakeAgent::new(&env, &format!("{}{story}", super::WORDS));
    let relay = agent.launch(&env).variable("ANTHROPIC_API_KEY", "k").start();
    let asked = tokio::process::Command::new(build_program("claude-relay-cli", "claude-relay"))
        .arg("The question")
        .env_clear()
        .env("CLAUDE_RELAY_URL", format!("http://{}", relay.address()))
        .output();
    let asked = wait::within("the command line", asked).await.unwrap();
    assert!(asked.status.success(), "{asked:?}");

    let browser = Browser::start(&env).await;
    let page = Page { agent, relay, browser, _env: env };
    page.open().await;
    page.turn_ended(1).await;
    let entries = "[...document.querySelectorAll('.user .user-text, .agent .prose')].map(e => e.textContent.trim())";
    let shown = page.browser.evaluate(entries).await;
    assert_eq!(shown, json!(["The question", "The answer"]));
    page.end().await;
}
