//! The first run.

use crate::support::browser_fixture::{BrowserFixture, ENTER};
use claude_relay_testing::reply::Reply;

/// The real CLI without a key says that it is not logged in; the page takes one.
#[tokio::test]
async fn missing_key_is_asked_for_and_used() {
    let without_key = |launch: crate::support::relay::Launch| {
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
