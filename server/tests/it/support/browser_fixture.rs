//! The page in a browser: the real CLI, a scripted API, a server, and a browser
//! that shows the server's page and is connected.

use super::browser::Browser;
use super::relay::{Launch, Relay};
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use serde_json::json;

/// The Enter key as WebDriver spells it.
pub(crate) const ENTER: &str = "\u{E007}";
/// Shift and Enter together; the closing code lets Shift go again.
pub(crate) const SHIFT_ENTER: &str = "\u{E008}\u{E007}\u{E000}";

/// Ctrl and A: whatever is typed next takes the place of what is there.
pub(crate) const SELECT_ALL: &str = "\u{E009}a\u{E000}";

/// A page that is connected to a server with the real CLI.
pub(crate) struct BrowserFixture {
    pub(crate) api: MessagesApi,
    pub(crate) relay: Relay,
    pub(crate) browser: Browser,
    // Last, because the others have their files in it.
    pub(crate) env: TestEnv,
}

impl BrowserFixture {
    /// To a CLI that may use its tools without asking.
    pub(crate) async fn start() -> Self {
        Self::launched(|launch| launch).await
    }

    /// The same with a say in how the server is started.
    pub(crate) async fn launched(adjust: impl FnOnce(Launch) -> Launch) -> Self {
        let (env, api) = (TestEnv::new(), MessagesApi::start());
        let relay = adjust(Launch::unrestricted(&env, &Cli::Newest.path(), &api)).start();
        let browser = Browser::start(&env).await;
        browser.open(&format!("http://{}/", relay.address())).await;
        let fixture = Self { api, relay, browser, env };
        fixture.connected().await;
        fixture
    }

    /// Waits until the page is connected.
    pub(crate) async fn connected(&self) {
        self.browser.until("document.body.dataset.connection === 'connected'").await;
    }

    /// Writes a message and sends it with Enter.
    pub(crate) async fn say(&self, text: &str) {
        self.browser.type_into("#message", &format!("{text}{ENTER}")).await;
    }

    /// Waits until an entry of this role holds `text`.
    pub(crate) async fn shows(&self, role: &str, text: &str) {
        let text = json!(text);
        self.browser
            .until(&format!(
                "[...document.querySelectorAll('.entry[data-role={role}]')]\
                 .some(entry => entry.textContent.includes({text}))"
            ))
            .await;
    }

    /// Waits until `count` turns have ended, the last with `outcome`.
    pub(crate) async fn turn_ended(&self, count: usize, outcome: &str) {
        self.browser
            .until(&format!(
                "(ends => ends.length === {count} && ends.at(-1).dataset.outcome === '{outcome}')\
                 ([...document.querySelectorAll('[data-role=turn-end]')])"
            ))
            .await;
    }

    /// The end of every test: the page has nothing to complain of, and nothing is
    /// left running.
    pub(crate) async fn end(self) {
        let complaints = self.browser.complaints().await;
        assert!(complaints.is_empty(), "the page complains: {complaints:#?}");
        self.browser.end().await;
        self.relay.stop();
    }
}
