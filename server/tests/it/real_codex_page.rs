//! The page with the real Codex behind it: a turn looks like one of Claude's.

use crate::support::browser::Browser;
use crate::support::codex::CodexFixture;
use claude_relay_testing::responses_api::Reply;
use claude_relay_testing::wait;
use serde_json::json;

/// Waits until an entry of this role holds `text`.
async fn shows(browser: &Browser, role: &str, text: &str) {
    let text = json!(text);
    browser
        .until(&format!(
            "[...document.querySelectorAll('.entry[data-role={role}]')]\
             .some(entry => entry.textContent.includes({text}))"
        ))
        .await;
}

#[tokio::test]
async fn a_turn_of_codex_is_shown() {
    let fixture = CodexFixture::launched("ask", json!({}), |launch, _| launch).await;
    let CodexFixture { env, api, relay, client } = fixture;
    client.close().await;
    api.script([
        Reply::command("touch made"),
        Reply::reasoned("I have thought.", "Made **it**."),
        Reply::Error(400),
    ]);
    let browser = Browser::start(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.until("document.getElementById('agent-name').textContent === 'Codex'").await;
    browser.type_into("#message", "Make it\u{E007}").await;

    browser.until("document.querySelector('[data-testid=permission]') !== null").await;
    let asked = browser.evaluate("document.querySelector('[data-testid=permission]').textContent");
    let asked = asked.await.to_string();
    assert!(asked.contains("commandExecution") && asked.contains("touch made"), "{asked}");
    browser.click("[data-testid=permission-allow]").await;
    shows(&browser, "agent", "Made it.").await;
    shows(&browser, "thinking", "I have thought.").await;
    let outcomes = "[...document.querySelectorAll('[data-role=turn-end]')]\
        .map(end => end.dataset.outcome).join()";
    browser.until(&format!("{outcomes} === 'success'")).await;
    for (fact, told) in [("input-tokens", "200 tokens in, 80 cached"), ("output-tokens", "20 out")]
    {
        let shown = browser
            .evaluate(&format!(
                "document.querySelector('[data-role=turn-end] [data-fact={fact}]')?.textContent"
            ))
            .await;
        assert_eq!(shown, told);
    }
    assert!(env.workspace().join("made").exists());
    assert_eq!(
        browser.evaluate("document.querySelectorAll('.entry[data-role=agent]').length").await,
        1,
        "what streamed and what was whole are one"
    );

    browser.type_into("#message", "Fail\u{E007}").await;
    browser.until(&format!("{outcomes} === 'success,error'")).await;
    wait::until_async("no complaint of the page", async || browser.complaints().await.is_empty())
        .await;
    browser.end().await;
    relay.stop();
}
