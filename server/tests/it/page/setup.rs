//! The first run.

use super::Page;
use crate::support::browser::Browser;
use crate::support::browser_fixture::{BrowserFixture, ENTER};
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::json;

/// The real CLI without a key says that it is not logged in; the page takes one.
#[tokio::test]
async fn missing_key_is_asked_for_and_used() {
    let without_key = |launch: Launch| {
        launch.without_variable("ANTHROPIC_API_KEY").without_variable("ANTHROPIC_AUTH_TOKEN")
    };
    let fixture = BrowserFixture::launched(without_key).await;
    fixture.say("Hello").await;
    fixture.turn_ended(1, "error").await;
    fixture.browser.until("!document.querySelector('#setup').hidden").await;
    let text = fixture.browser.evaluate("document.querySelector('#entries').innerText").await;
    let text = text.as_str().unwrap_or_default();
    assert_eq!(text.matches("Not logged in").count(), 1, "one failure is one block: {text}");
    for (name, width, scheme) in [("light", 1280, "light"), ("phone-dark", 375, "dark")] {
        fixture.browser.screen(width, 800, scheme).await;
        fixture.browser.assert_fits(name).await;
        fixture.browser.screenshot(&format!("setup-{name}")).await;
    }

    fixture.api.script([Reply::text("Logged in.")]);
    fixture.browser.type_into("#setup-key", &format!("sk-ant-of-the-page{ENTER}")).await;
    fixture.browser.until("document.querySelector('#setup').hidden").await;
    fixture.shows("notice", "The key was saved.").await;
    fixture.connected().await;
    fixture.say("And now").await;
    fixture.shows("agent", "Logged in.").await;
    assert_eq!(fixture.api.turn(1).await.header("x-api-key"), "sk-ant-of-the-page");
    fixture.end().await;
}

/// npm without install scripts leaves a program that only says so.
#[tokio::test]
async fn cli_that_is_installed_in_part_is_told_of_once() {
    let native = Cli::Newest.path();
    let packages = native.parent().and_then(|native| native.parent()).expect("the packages");
    let part = packages.join("claude-code/bin/claude.exe");
    let env = TestEnv::new();
    let relay = Launch::new(&env).argument("--claude-path").argument(part).start();
    let browser = Browser::start(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    for attempt in 1..=2 {
        browser.type_into("#message", &format!("Hello{ENTER}")).await;
        let undelivered = "document.querySelectorAll('[data-role=user]').length";
        browser.until(&format!("{undelivered} >= {attempt}")).await;
        browser.until("document.querySelector('.notice.error')").await;
        let told = "document.querySelector('#entries').innerText";
        browser.until(&format!("{told}.includes('installed only in part')")).await;
    }
    browser.until("document.querySelectorAll('.notice.error').length === 1").await;
    let text = browser.evaluate("document.querySelector('#entries').innerText").await;
    let text = text.as_str().unwrap_or_default();
    assert!(text.contains("--ignore-scripts"), "{text}");
    for (name, width, scheme) in [("light", 1280, "light"), ("phone-dark", 375, "dark")] {
        browser.screen(width, 800, scheme).await;
        browser.assert_fits(name).await;
        browser.screenshot(&format!("part-{name}")).await;
    }
    browser.end().await;
    relay.stop();
}

/// Programs with an SDK of their own beside the page.
#[tokio::test]
async fn runs_of_sdk_programs_are_counted_beside_the_agent() {
    let page = Page::with("message(); begin(); speak('hi'); end()").await;
    let tag = "document.querySelector('#sdk-runs')";
    let counted = |running: u64| {
        let address = page.relay.address();
        wait::until_async("the number of runs", async move || {
            http::get(address, "/health").await.json()["runs"]["running"] == running
        })
    };
    page.until(&format!("{tag}.hidden")).await;
    let mut runs = Vec::new();
    for (running, told) in [(1, "1 SDK run"), (2, "2 SDK runs")] {
        let path = format!("/agent?run=0123456789abcde{running}&after=0");
        let mut run = Client::open(page.relay.address(), &path).await;
        run.send(&json!({ "type": "start", "args": [], "env": {} })).await;
        runs.push(run);
        counted(running).await;
        page.browser.run_script("document.querySelector('#status-refresh').click()").await;
        page.until(&format!("!{tag}.hidden && {tag}.textContent === '{told}'")).await;
    }
    for mut run in runs {
        run.send(&json!({ "type": "signal", "seq": 1, "signal": "SIGTERM" })).await;
        let exit = run.until(|frame| frame["type"] == "exit").await.pop().expect("its end");
        run.send(&json!({ "type": "ack", "seq": exit["seq"] })).await;
        run.closed().await;
    }
    counted(0).await;
    page.browser.run_script("document.querySelector('#status-refresh').click()").await;
    page.until(&format!("{tag}.hidden")).await;
    page.end().await;
}
