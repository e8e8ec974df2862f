//! The messages of a conversation from before the page came, and a recording that
//! the page plays.

use crate::support::browser::Browser;
use crate::support::browser_fixture::ENTER;
use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};

for_both_clis! {
    earlier_messages_are_shown_once_and_in_order,
}

/// A machine that is started several times, and a browser.
struct Machine {
    cli: Cli,
    api: MessagesApi,
    browser: Browser,
    env: TestEnv,
}

impl Machine {
    async fn new(cli: Cli) -> Self {
        let env = TestEnv::new();
        let browser = Browser::start(&env).await;
        Self { cli, api: MessagesApi::start(), browser, env }
    }

    fn start(&self, arguments: &[&str]) -> Relay {
        let launch = Launch::unrestricted(&self.env, &self.cli.path(), &self.api);
        arguments.iter().fold(launch, |launch, argument| launch.argument(*argument)).start()
    }

    async fn open(&self, relay: &Relay) {
        self.browser.open(&format!("http://{}/", relay.address())).await;
        self.browser.until("document.body.dataset.connection === 'connected'").await;
    }

    /// Asks on the page, and waits for the end of the turn.
    async fn say(&self, question: &str, answer: &str) {
        let ended = self.browser.evaluate(TURNS).await;
        self.api.script([Reply::text(answer)]);
        self.browser.type_into("#message", &format!("{question}{ENTER}")).await;
        self.browser.until(&format!("{TURNS} > {ended}")).await;
    }

    /// What people and the agent have said, as the page shows it: the earlier ones,
    /// then all.
    async fn shown(&self) -> Value {
        let texts = |entries: &str| {
            format!(
                "[...document.querySelectorAll('{entries}')]\
                 .filter(entry => ['user', 'agent'].includes(entry.dataset.role))\
                 .map(entry => (entry.querySelector('.user-text') ?? entry).textContent.trim()\
                 .match(/[A-Z][a-z]+[.?]/)[0])"
            )
        };
        let both = format!("[{}, {}]", texts("[data-earlier]"), texts("#transcript .entry"));
        self.browser.evaluate(&both).await
    }

    async fn until_earlier(&self, count: usize) {
        let earlier = "[...document.querySelectorAll('[data-earlier=true]')]\
                       .filter(entry => ['user', 'agent'].includes(entry.dataset.role)).length";
        self.browser.until(&format!("{earlier} === {count}")).await;
    }

    async fn end(self) {
        let mut complaints = self.browser.complaints().await;
        // The servers before the last one have gone under the page.
        complaints.retain(|complaint| !complaint.contains("ERR_CONNECTION_REFUSED"));
        assert!(complaints.is_empty(), "the page complains: {complaints:#?}");
        self.browser.end().await;
    }
}

const TURNS: &str = "document.querySelectorAll('[data-role=turn-end]').length";

async fn earlier_messages_are_shown_once_and_in_order(cli: Cli) {
    let machine = Machine::new(cli).await;
    let relay = machine.start(&[]);
    let mut client = Client::open(relay.address(), "/ws?supports=agent_state").await;
    let mut id = json!(null);
    for (question, answer) in [("One?", "First."), ("Two?", "Second.")] {
        machine.api.script([Reply::text(answer)]);
        client.say(question).await;
        id = client.turn().await.result()["session_id"].clone();
    }
    client.close().await;
    machine.env.session_holds("Second.").await;

    // The server has all of it: nothing is earlier.
    machine.open(&relay).await;
    machine.browser.until(&format!("{TURNS} === 2")).await;
    machine.say("Three?", "Third.").await;
    let all = json!(["One?", "First.", "Two?", "Second.", "Three?", "Third."]);
    assert_eq!(machine.shown().await, json!([[], all]));
    machine.env.session_holds("Third.").await;
    relay.stop();

    // Another server goes on with it: by its configuration …
    let relay = machine.start(&[]);
    let resumed = json!({ "resume": id }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &resumed).await.status, 200);
    machine.open(&relay).await;
    machine.until_earlier(6).await;
    assert_eq!(machine.shown().await, json!([all, all]));
    machine.browser.screen(375, 740, "light").await;
    machine.browser.assert_fits("earlier messages").await;
    machine.browser.screenshot("earlier-messages").await;
    machine.say("Four?", "Fourth.").await;
    let mut more = all.clone();
    more.as_array_mut().expect("texts").extend([json!("Four?"), json!("Fourth.")]);
    assert_eq!(machine.shown().await, json!([all, more]));
    machine.open(&relay).await;
    machine.until_earlier(6).await;
    machine.browser.until(&format!("{TURNS} === 1")).await;
    assert_eq!(machine.shown().await, json!([all, more]));
    machine.env.session_holds("Fourth.").await;
    relay.stop();

    // … or by its flag, which names none before the first turn.
    let relay = machine.start(&["--continue"]);
    machine.open(&relay).await;
    machine.say("Five?", "Fifth.").await;
    machine.until_earlier(8).await;
    let mut most = more.clone();
    most.as_array_mut().expect("texts").extend([json!("Five?"), json!("Fifth.")]);
    assert_eq!(machine.shown().await, json!([more, most]));
    relay.stop();
    machine.end().await;
}

#[tokio::test]
async fn a_conversation_of_the_list_is_shown_where_it_goes_on() {
    let machine = Machine::new(Cli::Newest).await;
    let relay = machine.start(&[]);
    machine.open(&relay).await;
    machine.say("One?", "First.").await;
    machine.env.session_holds("First.").await;
    relay.stop();
    let relay = machine.start(&[]);
    machine.open(&relay).await;
    machine.browser.click("#earlier [data-conversation]").await;
    machine.until_earlier(2).await;
    machine.say("Two?", "Second.").await;
    let earlier = json!(["One?", "First."]);
    assert_eq!(machine.shown().await, json!([earlier, ["One?", "First.", "Two?", "Second."]]));
    relay.stop();
    machine.end().await;
}

#[tokio::test]
async fn the_page_plays_a_recording_of_a_file() {
    let env = TestEnv::new();
    let path = env.home().join("recording.jsonl");
    let relay = Launch::demo(&env).argument("--record").argument(&path).start();
    let mut client = Client::open(relay.address(), "/ws?after=0&supports=agent_state,input").await;
    client.say("permission").await;
    let asked = client.until(|frame| frame["type"] == "permission_request").await;
    let id = asked.last().expect("a question")["requestId"].clone();
    client.send(&json!({ "type": "permission_response", "requestId": id, "approved": true })).await;
    client.turn().await;
    client.close().await;
    relay.stop();

    let relay = Launch::demo(&env).start();
    let browser = Browser::start(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    let no_recording = env.home().join("other.jsonl");
    std::fs::write(&no_recording, "{\"type\":\"system\"}\n").expect("a file");
    browser.click("#open-frames").await;
    browser.type_into("#recording-file", no_recording.to_str().expect("UTF-8")).await;
    browser.until("document.querySelector('[data-kind=error]')?.textContent.includes('It is no recording')").await;
    browser.until("document.body.dataset.connection === 'connected'").await;

    browser.type_into("#recording-file", path.to_str().expect("UTF-8")).await;
    browser.until("document.body.dataset.recording !== undefined").await;
    browser.run_script("document.querySelector('#recording-skip').click()").await;
    browser.until("document.body.dataset.recording === 'ended'").await;
    browser.until(&format!("{TURNS} === 1")).await;
    let said = "document.querySelector('.entry[data-role=user] .user-text').textContent";
    assert_eq!(browser.evaluate(said).await, "permission");
    browser.until("[...document.querySelectorAll('[data-role=notice]')].some(e => e.textContent.includes('It was allowed'))").await;
    assert_eq!(browser.evaluate("document.querySelector('#permissions').hidden").await, true);
    assert_eq!(browser.evaluate("document.body.dataset.connection").await, "offline");
    let health = http::get(relay.address(), "/health").await.json();
    assert_eq!((&health["client"], &health["agent"]["turns"]), (&json!("none"), &json!(0)));
    assert!(browser.evaluate("document.querySelectorAll('.frame-row').length").await != 0);
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "the page complains: {complaints:#?}");
    browser.click("#recording-close").await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.end().await;
    relay.stop();
}
