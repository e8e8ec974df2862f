//! The page in a real browser: what a person does there, and sees.

use crate::support::browser::Browser;
use crate::support::browser_fixture::{BrowserFixture, ENTER, SHIFT_ENTER};
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::reply::{Gate, Message, Reply};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn a_message_is_sent_and_answered() {
    let fixture = BrowserFixture::start().await;
    fixture.api.script([Reply::text("Hello from the test.")]);
    let first_line = format!("first line{SHIFT_ENTER}");
    fixture.browser.type_into("#message", &first_line).await;
    fixture.say("second line").await;
    fixture.shows("agent", "Hello from the test.").await;
    fixture.turn_ended(1, "success").await;

    fixture.shows("user", "first line\nsecond line").await;
    let request = fixture.api.turn(1).await;
    let said = format!("{:?}", request.user_messages());
    assert!(
        said.contains("first line\\\\nsecond line") || said.contains("first line\\nsecond line"),
        "{said}"
    );
    for fact in ["duration", "cost", "input-tokens", "output-tokens"] {
        let told = fixture.browser.evaluate(&fact_of_turn(fact)).await;
        assert!(told.as_str().is_some_and(|told| !told.is_empty()), "{fact}: {told}");
    }
    fixture.end().await;
}

fn fact_of_turn(fact: &str) -> String {
    format!("document.querySelector('[data-role=turn-end] [data-fact={fact}]')?.textContent")
}

#[tokio::test]
async fn text_streams_in_and_is_interrupted() {
    let fixture = BrowserFixture::start().await;
    let gate = Gate::closed();
    fixture
        .api
        .script([Reply::gated(&gate, ["some text ", "never seen"]), Reply::text("Here again.")]);
    fixture.browser.until("document.querySelector('#interrupt').hidden").await;
    fixture.say("Go").await;
    gate.let_through(1);
    fixture.shows("agent", "some text").await;
    fixture.browser.until("document.querySelector('.entry.streaming')").await;
    fixture.browser.click("#interrupt").await;
    fixture.turn_ended(1, "stopped").await;
    fixture.browser.until("document.querySelector('#interrupt').hidden").await;

    fixture.say("And now").await;
    fixture.shows("agent", "Here again.").await;
    fixture.turn_ended(2, "success").await;
    let text = fixture.browser.evaluate("document.querySelector('#entries').textContent").await;
    assert!(!text.to_string().contains("never seen"), "{text}");
    fixture.end().await;
}

#[tokio::test]
async fn thinking_and_tools_are_folded() {
    let fixture = BrowserFixture::start().await;
    let command = json!({ "command": "echo told by the tool", "description": "x" });
    fixture.api.script([
        Message::default().thinking("I wonder.").text("Let me look.").tool("Bash", command),
        Message::default().text("Looked."),
    ]);
    fixture.say("Look").await;
    fixture.turn_ended(1, "success").await;
    fixture.shows("thinking", "I wonder.").await;
    fixture.shows("tool", "told by the tool").await;
    fixture
        .browser
        .until("document.querySelector('[data-role=tool][data-tool=Bash][data-status=done]')")
        .await;
    for role in ["thinking", "tool"] {
        let open = format!("document.querySelector('[data-role={role}]').open");
        assert_eq!(fixture.browser.evaluate(&open).await, false, "{role}");
    }
    fixture.end().await;
}

/// Text that looks like markup, from every source.
#[tokio::test]
async fn hostile_text_is_shown_as_text() {
    const HOSTILE: &str = "<img src=x onerror=\"window.hurt=1\"></script>\
                           <script>window.hurt=1</script><style>*{display:none}</style>";
    let fixture = BrowserFixture::start().await;
    let printed = format!("printf %s '{}'", HOSTILE.replace('\'', ""));
    let links = "[a](javascript:window.hurt=1) [b](data:text/html,x) <javascript:window.hurt=1>";
    fixture.api.script([
        Message::default()
            .thinking(HOSTILE)
            .text(HOSTILE)
            .text(links)
            .text(format!("```html\n{HOSTILE}\n```"))
            .tool("Bash", json!({ "command": printed, "description": HOSTILE })),
        Message::default().text("Done."),
    ]);
    fixture.say(HOSTILE).await;
    fixture.turn_ended(1, "success").await;
    fixture
        .browser
        .evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        .await;

    for role in ["user", "thinking", "agent", "tool"] {
        fixture.shows(role, HOSTILE).await;
    }
    // The raw frames and the configuration are other ways onto the page.
    fixture.browser.click("#open-frames").await;
    fixture.browser.click("#frames-type option[value=user_message]").await;
    fixture.browser.until("document.querySelectorAll('.frame-row').length === 1").await;
    fixture.browser.click(".frame-row[data-type=user_message]").await;
    fixture
        .browser
        .until("document.querySelector('#frame-json').textContent.includes('onerror')")
        .await;
    fixture.browser.click("#open-config").await;
    fixture.browser.type_into("#config-system-prompt", HOSTILE).await;
    fixture.browser.click("#config-save").await;
    fixture.browser.until("document.querySelector('#config-outcome').dataset.applies").await;

    let made = "document.querySelectorAll('img, body script, body style, iframe, object').length";
    assert_eq!(fixture.browser.evaluate(made).await, 0);
    let links = "[...document.links].filter(link => !/^https?:/.test(link.href)).length";
    assert_eq!(fixture.browser.evaluate(links).await, 0);
    assert_eq!(fixture.browser.evaluate("typeof window.hurt").await, "undefined");
    fixture.end().await;
}

#[tokio::test]
async fn configuration_is_edited_and_reaches_the_model() {
    let fixture = BrowserFixture::start().await;
    fixture.api.script([Reply::text("Old."), Reply::text("New.")]);
    fixture.say("Before").await;
    fixture.turn_ended(1, "success").await;

    fixture.browser.click("#open-config").await;
    fixture.browser.until("document.querySelector('#config-json').value !== ''").await;
    assert_eq!(
        fixture.browser.evaluate("document.querySelector('#config-provider').value").await,
        ""
    );
    fixture.browser.type_into("#config-model", "claude-test-model-3").await;
    fixture.browser.click("#config-save").await;
    fixture
        .browser
        .until("document.querySelector('#config-outcome').dataset.applies === 'next_start'")
        .await;
    let config = http::get(fixture.relay.address(), "/config").await.json();
    assert_eq!(config["config"]["model"], "claude-test-model-3");
    assert_eq!(config["config"]["includePartialMessages"], true);

    fixture.browser.click("#config-reconnect").await;
    fixture.connected().await;
    fixture.say("After").await;
    fixture.shows("agent", "New.").await;
    assert_eq!(fixture.api.turn(2).await.body["model"], "claude-test-model-3");
    fixture.end().await;
}

#[tokio::test]
async fn the_page_leaves_and_comes_back() {
    let fixture = BrowserFixture::start().await;
    fixture.api.script([Reply::text("One."), Reply::text("Two."), Reply::text("Three.")]);
    fixture.say("First").await;
    fixture.turn_ended(1, "success").await;

    // By hand.
    fixture.browser.click("#connect").await;
    fixture.browser.until("document.body.dataset.connection === 'offline'").await;
    fixture.browser.click("#connect").await;
    fixture.connected().await;
    fixture.say("Second").await;
    fixture.shows("agent", "Two.").await;
    let request = fixture.api.turn(2).await;
    assert!(format!("{:?}", request.user_messages()).contains("First"));

    // By itself, when the server has been away.
    let BrowserFixture { api, relay, browser, env } = fixture;
    let port = relay.address().port();
    relay.stop();
    browser.until("document.body.dataset.connection !== 'connected'").await;
    let relay = Launch::unrestricted(&env, &Cli::Newest.path(), &api).port(port).start();
    let fixture = BrowserFixture { api, relay, browser, env };
    fixture.connected().await;
    fixture.say("Third").await;
    fixture.shows("agent", "Three.").await;
    // It may complain of requests that failed while the server was away.
    fixture.browser.complaints().await;
    fixture.end().await;
}

#[tokio::test]
async fn the_end_of_the_agent_is_told() {
    let fixture = BrowserFixture::start().await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    fixture.say("First").await;
    fixture.turn_ended(1, "success").await;
    fixture.env.session_holds("One.").await;
    let agent = http::get(fixture.relay.address(), "/health").await.json()["agent"]["pid"].as_i64();
    let agent = i32::try_from(agent.expect("a running agent")).expect("a process id fits");
    claude_relay_testing::process::signal(agent, Signal::KILL);
    fixture.browser.until("document.querySelector('[data-role=notice][data-kind=error]')").await;

    fixture.say("Second").await;
    fixture.shows("agent", "Two.").await;
    fixture.end().await;
}

/// The demo agent is never mistaken for a model, and a long log stays usable.
#[tokio::test]
async fn ten_thousand_messages_of_the_demo_agent() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let browser = Browser::start(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.type_into("#message", &format!("{{\"n\":10000,\"size\":300}}{ENTER}")).await;
    wait::until_async("the turn's end at the server", async || {
        http::get(relay.address(), "/health").await.json()["agent"]["turns"] == 1
    })
    .await;
    // However slow the machine is: as long as the page goes on.
    let (ended, nodes) =
        ("document.querySelector('[data-role=turn-end]')", "document.querySelectorAll('*').length");
    while browser.evaluate(&format!("Boolean({ended})")).await != true {
        let now = browser.evaluate(nodes).await;
        browser.until(&format!("{ended} || {nodes} !== {now}")).await;
    }
    browser.until("!document.querySelector('#demo-note').hidden").await;

    // The page says it all again and keeps up with keys while it does.
    let start = browser.evaluate("performance.now()").await;
    browser.type_into("#message", "still quick").await;
    browser.until("document.querySelector('#message').value === 'still quick'").await;
    let took = browser.evaluate(&format!("performance.now() - {start}")).await;
    assert!(took.as_f64().is_some_and(|ms| ms < 3000.0), "11 keys took {took} ms");
    let nodes = browser.evaluate("document.querySelectorAll('*').length").await;
    assert!(nodes.as_u64().is_some_and(|nodes| nodes < 60_000), "{nodes} elements");
    // The bar is at its fullest when the demo agent answers.
    for width in [1000, 780, 660, 375] {
        browser.screen(width, 700, "light").await;
        browser.assert_fits(&format!("the demo agent's page of {width} px")).await;
    }
    browser.screen(780, 700, "light").await;
    browser.screenshot("tablet-demo").await;
    browser.end().await;
    relay.stop();
}

/// For the eye; the assertions are only what an eye would see at once.
#[tokio::test]
async fn page_fits_every_screen() {
    let fixture = BrowserFixture::start().await;
    let file = fixture.env.workspace().join("poem.txt");
    let poem = "A runner hands the baton on,\nand stands, and breathes, and then is gone.";
    fixture.api.script([
        Message::default()
            .thinking("A short poem about relays, into poem.txt. Two lines will do.")
            .text("I will write it down first.")
            .tool("Write", json!({ "file_path": file, "content": poem })),
        Message::default().text("Now I read it back.").tool(
            "Bash",
            json!({ "command": "cat poem.txt; ls no-such-file", "description": "Read the poem" }),
        ),
        Message::default().text(format!(
            "It is in `poem.txt`:\n\n> {poem}\n\n1. **Two lines**, as asked\n2. Rhymed\n\n\
             ```rust\nfn main() {{\n    println!(\"on, gone\");\n}}\n```\n\
             A_very_long_word_{} does not push the page apart.",
            "x".repeat(300)
        )),
    ]);
    fixture.say("Write a short poem about relays into poem.txt, then read it back.").await;
    fixture.turn_ended(1, "success").await;
    fixture.api.script([Reply::Error(401)]);
    fixture.say("And another one?").await;
    fixture.turn_ended(2, "error").await;

    for (name, width, height, scheme) in [
        ("light", 1280, 900, "light"),
        ("dark", 1280, 900, "dark"),
        ("phone-light", 375, 740, "light"),
        ("phone-dark", 375, 740, "dark"),
    ] {
        fixture.browser.screen(width, height, scheme).await;
        fixture.browser.assert_fits(name).await;
        fixture.browser.screenshot(name).await;
        for panel in ["frames", "config", "status"] {
            fixture.browser.click(&format!("#open-{panel}")).await;
            fixture.browser.until(&format!("document.body.dataset.panel === '{panel}'")).await;
            let name = format!("{name}-{panel}");
            fixture.browser.assert_fits(&name).await;
            fixture.browser.screenshot(&name).await;
            fixture.browser.click(&format!("#close-{panel}")).await;
        }
    }
    fixture.end().await;
}

/// Each way of not being connected is told with what can be done about it.
#[tokio::test]
async fn trouble_with_the_connection_is_explained() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--auth-token=token-of-the-page").start();
    let browser = Browser::start(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    let is = async |state: &str| {
        browser.until(&format!("document.body.dataset.connection === '{state}'")).await;
    };

    is("unauthorized").await;
    browser.until("document.querySelector('#token-dialog').open").await;
    screens(&browser, "trouble-token").await;
    browser.type_into("#token", &format!("a-wrong-token{ENTER}")).await;
    browser.until("!document.querySelector('#token-problem').hidden").await;
    browser.type_into("#token", &format!("token-of-the-page{ENTER}")).await;
    is("connected").await;
    assert_eq!(browser.evaluate("location.search").await, "");

    // Somebody takes its place, and it takes it back.
    let path = "/ws?takeover=true&token=token-of-the-page";
    let mut other = Client::open(relay.address(), path).await;
    is("replaced").await;
    screens(&browser, "trouble-replaced").await;
    browser.click("#take-over").await;
    is("connected").await;
    assert_eq!(other.closed().await, Some(4001));

    // Another one is there first.
    browser.click("#connect").await;
    is("offline").await;
    let mut other = Client::open(relay.address(), "/ws?token=token-of-the-page").await;
    assert_eq!(other.frame().await["type"], "connected");
    // It reads on, so that it answers when the server asks whether it lives.
    let other = tokio::spawn(async move { other.closed().await });
    browser.click("#connect").await;
    is("busy").await;
    screens(&browser, "trouble-busy").await;
    let pill =
        |text| format!("document.querySelector('#connection-text').textContent === '{text}'");
    browser.click("#watch").await;
    browser.until(&pill("Watching")).await;
    is("connected").await;
    screens(&browser, "watching").await;
    assert_eq!(browser.evaluate("document.querySelector('#send').disabled").await, true);
    other.abort();
    browser.click("#take-over").await;
    browser.until(&pill("Connected")).await;

    browser.complaints().await;
    relay.stop();
    is("waiting").await;
    screens(&browser, "trouble-away").await;
    browser.end().await;
}

#[tokio::test]
async fn page_of_a_name_that_is_not_allowed_tells_the_flag() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let browser = Browser::start(&env).await;
    browser.open(&format!("http://relay.example:{}/", relay.address().port())).await;
    browser.until("document.body.dataset.connection === 'forbidden'").await;
    let text = browser.evaluate("document.querySelector('#connection-words').innerText").await;
    let text = text.as_str().unwrap();
    assert!(text.contains("--allow-host relay.example"), "{text}");
    browser.end().await;
}

#[tokio::test]
async fn page_that_was_left_gives_its_slot_up_and_takes_it_back() {
    let env = TestEnv::new();
    let (relay, elsewhere) = (Launch::demo(&env).start(), Launch::demo(&env).start());
    let browser = Browser::start_whole(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.open(&format!("http://{}/health", elsewhere.address())).await;
    let free = async || http::get(relay.address(), "/health").await.json()["client"] == "none";
    wait::until_async("the slot is free", free).await;
    let mut other = Client::open(relay.address(), "/ws").await;
    assert_eq!(other.frame().await["type"], "connected");
    drop(other);
    browser.evaluate("history.back()").await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.end().await;
}

#[tokio::test]
async fn bookkeeping_of_another_clients_message_is_not_shown() {
    let fixture = BrowserFixture::start().await;
    fixture.api.script([Reply::text("For the program."), Reply::text("For the page.")]);
    fixture.browser.click("#connect").await;
    fixture.browser.until("document.body.dataset.connection === 'offline'").await;
    let mut program = Client::open(fixture.relay.address(), "/ws").await;
    let message = json!({ "role": "user", "content": "Named" });
    let uuid = "6b1f0c1e-5a30-4a53-9d6c-0d6f5e3f7a01";
    let data = json!({ "type": "user", "message": message, "uuid": uuid });
    program.send(&json!({ "type": "user_message", "data": data })).await;
    let seen = program.until(|frame| frame["data"]["type"] == "result").await;
    assert!(seen.iter().any(|frame| frame["data"]["type"] == "command_lifecycle"));
    program.close().await;

    fixture.browser.click("#connect").await;
    fixture.connected().await;
    fixture.shows("agent", "For the program.").await;
    fixture.say("Another").await;
    fixture.shows("agent", "For the page.").await;
    let raw = "document.querySelectorAll('[data-role=other]').length";
    assert_eq!(fixture.browser.evaluate(raw).await, 0);
    fixture.end().await;
}

#[tokio::test]
async fn token_of_a_link_is_used_and_leaves_the_address() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--auth-token=token+of+the+page").start();
    let browser = Browser::start(&env).await;
    let link = format!("http://{}/#token=token+of+the+page", relay.address());
    browser.open(&link).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    assert_eq!(browser.evaluate("location.hash").await, "");

    // In a tab that shows the page already, where it asks for the token.
    browser.evaluate("sessionStorage.clear()").await;
    browser.open("about:blank").await;
    browser.open(&format!("http://{}/", relay.address())).await;
    browser.until("document.querySelector('#token-dialog').open").await;
    browser.open(&link).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.until("!document.querySelector('#token-dialog').open").await;
    assert_eq!(browser.evaluate("location.hash").await, "");
    browser.end().await;
}

/// The same on a desktop and a phone, by day and by night.
async fn screens(browser: &Browser, name: &str) {
    for (screen, width, height, scheme) in
        [("phone-dark", 375, 740, "dark"), ("light", 1280, 900, "light")]
    {
        let name = format!("{name}-{screen}");
        browser.screen(width, height, scheme).await;
        browser.assert_fits(&name).await;
        browser.screenshot(&name).await;
    }
}
