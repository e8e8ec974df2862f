//! The page in a real browser: what a person does there, and sees.

use crate::support::browser::Browser;
use crate::support::http;
use crate::support::place::Place;
use crate::support::relay::Launch;
use crate::support::reply::{Gate, Message, Reply};
use crate::support::tools::Cli;
use crate::support::visit::{ENTER, SHIFT_ENTER, Visit};
use crate::support::ws::Client;
use rustix::process::Signal;
use serde_json::json;

#[tokio::test]
async fn a_message_is_sent_and_answered() {
    let visit = Visit::start().await;
    visit.api.script([Reply::text("Hello from the test.")]);
    let first_line = format!("first line{SHIFT_ENTER}");
    visit.browser.type_into("#message", &first_line).await;
    visit.say("second line").await;
    visit.shows("agent", "Hello from the test.").await;
    visit.turn_ended(1, "success").await;

    visit.shows("user", "first line\nsecond line").await;
    let request = visit.api.turn(1).await;
    let said = format!("{:?}", request.user_messages());
    assert!(
        said.contains("first line\\\\nsecond line") || said.contains("first line\\nsecond line"),
        "{said}"
    );
    for fact in ["duration", "cost", "input-tokens", "output-tokens"] {
        let told = visit.browser.evaluate(&fact_of_turn(fact)).await;
        assert!(told.as_str().is_some_and(|told| !told.is_empty()), "{fact}: {told}");
    }
    visit.end().await;
}

fn fact_of_turn(fact: &str) -> String {
    format!("document.querySelector('[data-role=turn-end] [data-fact={fact}]')?.textContent")
}

#[tokio::test]
async fn text_streams_in_and_is_interrupted() {
    let visit = Visit::start().await;
    let gate = Gate::closed();
    visit
        .api
        .script([Reply::gated(&gate, ["some text ", "never seen"]), Reply::text("Here again.")]);
    visit.browser.until("document.querySelector('#interrupt').hidden").await;
    visit.say("Go").await;
    gate.let_through(1);
    visit.shows("agent", "some text").await;
    visit.browser.until("document.querySelector('.entry.streaming')").await;
    visit.browser.click("#interrupt").await;
    visit.turn_ended(1, "stopped").await;
    visit.browser.until("document.querySelector('#interrupt').hidden").await;

    visit.say("And now").await;
    visit.shows("agent", "Here again.").await;
    visit.turn_ended(2, "success").await;
    let text = visit.browser.evaluate("document.querySelector('#entries').textContent").await;
    assert!(!text.to_string().contains("never seen"), "{text}");
    visit.end().await;
}

#[tokio::test]
async fn thinking_and_tools_are_folded() {
    let visit = Visit::start().await;
    let command = json!({ "command": "echo told by the tool", "description": "x" });
    visit.api.script([
        Message::default().thinking("I wonder.").text("Let me look.").tool("Bash", command),
        Message::default().text("Looked."),
    ]);
    visit.say("Look").await;
    visit.turn_ended(1, "success").await;
    visit.shows("thinking", "I wonder.").await;
    visit.shows("tool", "told by the tool").await;
    visit
        .browser
        .until("document.querySelector('[data-role=tool][data-tool=Bash][data-status=done]')")
        .await;
    for role in ["thinking", "tool"] {
        let open = format!("document.querySelector('[data-role={role}]').open");
        assert_eq!(visit.browser.evaluate(&open).await, false, "{role}");
    }
    visit.end().await;
}

/// What tries to be markup, from every side that can speak.
#[tokio::test]
async fn hostile_text_is_shown_as_text() {
    const HOSTILE: &str = "<img src=x onerror=\"window.hurt=1\"></script>\
                           <script>window.hurt=1</script><style>*{display:none}</style>";
    let visit = Visit::start().await;
    let printed = format!("printf %s '{}'", HOSTILE.replace('\'', ""));
    let links = "[a](javascript:window.hurt=1) [b](data:text/html,x) <javascript:window.hurt=1>";
    visit.api.script([
        Message::default()
            .thinking(HOSTILE)
            .text(HOSTILE)
            .text(links)
            .text(format!("```html\n{HOSTILE}\n```"))
            .tool("Bash", json!({ "command": printed, "description": HOSTILE })),
        Message::default().text("Done."),
    ]);
    visit.say(HOSTILE).await;
    visit.turn_ended(1, "success").await;
    visit
        .browser
        .evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        .await;

    for role in ["user", "thinking", "agent", "tool"] {
        visit.shows(role, HOSTILE).await;
    }
    // The raw frames and the configuration are other ways onto the page.
    visit.browser.click("#open-frames").await;
    visit.browser.click("#frames-type option[value=user_message]").await;
    visit.browser.until("document.querySelectorAll('.frame-row').length === 1").await;
    visit.browser.click(".frame-row[data-type=user_message]").await;
    visit
        .browser
        .until("document.querySelector('#frame-json').textContent.includes('onerror')")
        .await;
    visit.browser.click("#open-config").await;
    visit.browser.type_into("#config-system-prompt", HOSTILE).await;
    visit.browser.click("#config-save").await;
    visit.browser.until("document.querySelector('#config-outcome').dataset.applies").await;

    let made = "document.querySelectorAll('img, body script, body style, iframe, object').length";
    assert_eq!(visit.browser.evaluate(made).await, 0);
    let links = "[...document.links].filter(link => !/^https?:/.test(link.href)).length";
    assert_eq!(visit.browser.evaluate(links).await, 0);
    assert_eq!(visit.browser.evaluate("typeof window.hurt").await, "undefined");
    visit.end().await;
}

#[tokio::test]
async fn configuration_is_edited_and_reaches_the_model() {
    let visit = Visit::start().await;
    visit.api.script([Reply::text("Old."), Reply::text("New.")]);
    visit.say("Before").await;
    visit.turn_ended(1, "success").await;

    visit.browser.click("#open-config").await;
    visit.browser.until("document.querySelector('#config-json').value !== ''").await;
    assert_eq!(
        visit.browser.evaluate("document.querySelector('#config-provider').value").await,
        ""
    );
    visit.browser.type_into("#config-model", "claude-test-model-3").await;
    visit.browser.click("#config-save").await;
    visit
        .browser
        .until("document.querySelector('#config-outcome').dataset.applies === 'next_start'")
        .await;
    let config = http::get(visit.relay.address(), "/config").await.json();
    assert_eq!(config["config"]["model"], "claude-test-model-3");
    assert_eq!(config["config"]["includePartialMessages"], true);

    visit.browser.click("#config-reconnect").await;
    visit.connected().await;
    visit.say("After").await;
    visit.shows("agent", "New.").await;
    assert_eq!(visit.api.turn(2).await.body["model"], "claude-test-model-3");
    visit.end().await;
}

#[tokio::test]
async fn the_page_leaves_and_comes_back() {
    let visit = Visit::start().await;
    visit.api.script([Reply::text("One."), Reply::text("Two."), Reply::text("Three.")]);
    visit.say("First").await;
    visit.turn_ended(1, "success").await;

    // By hand.
    visit.browser.click("#connect").await;
    visit.browser.until("document.body.dataset.connection === 'offline'").await;
    visit.browser.click("#connect").await;
    visit.connected().await;
    visit.say("Second").await;
    visit.shows("agent", "Two.").await;
    let request = visit.api.turn(2).await;
    assert!(format!("{:?}", request.user_messages()).contains("First"));

    // By itself, when the server has been away.
    let Visit { api, relay, browser, place } = visit;
    let port = relay.address().port();
    relay.stop();
    browser.until("document.body.dataset.connection !== 'connected'").await;
    let relay = Launch::unrestricted(&place, &Cli::V2_1_329.path(), &api).port(port).start();
    let visit = Visit { api, relay, browser, place };
    visit.connected().await;
    visit.say("Third").await;
    visit.shows("agent", "Three.").await;
    // What it could not reach while the server was away it may complain of.
    visit.browser.complaints().await;
    visit.end().await;
}

#[tokio::test]
async fn the_end_of_the_agent_is_told() {
    let visit = Visit::start().await;
    visit.api.script([Reply::text("One."), Reply::text("Two.")]);
    visit.say("First").await;
    visit.turn_ended(1, "success").await;
    visit.place.session_holds("One.").await;
    let agent = http::get(visit.relay.address(), "/health").await.json()["agent"]["pid"].as_i64();
    let agent = i32::try_from(agent.expect("a running agent")).expect("a process id fits");
    crate::support::proc::signal(agent, Signal::KILL);
    visit.browser.until("document.querySelector('[data-role=notice][data-kind=error]')").await;

    visit.say("Second").await;
    visit.shows("agent", "Two.").await;
    visit.end().await;
}

/// The demo agent is never mistaken for a model, and a long log stays usable.
#[tokio::test]
async fn ten_thousand_messages_of_the_demo_agent() {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    let browser = Browser::start(&place).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.type_into("#message", &format!("{{\"n\":10000,\"size\":300}}{ENTER}")).await;
    browser.until("document.querySelector('[data-role=turn-end]')").await;
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
async fn how_it_looks() {
    let visit = Visit::start().await;
    let file = visit.place.workspace().join("poem.txt");
    let poem = "A runner hands the baton on,\nand stands, and breathes, and then is gone.";
    visit.api.script([
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
    visit.say("Write a short poem about relays into poem.txt, then read it back.").await;
    visit.turn_ended(1, "success").await;
    visit.api.script([Reply::Error(401)]);
    visit.say("And another one?").await;
    visit.turn_ended(2, "error").await;

    for (name, width, height, scheme) in [
        ("light", 1280, 900, "light"),
        ("dark", 1280, 900, "dark"),
        ("phone-light", 375, 740, "light"),
        ("phone-dark", 375, 740, "dark"),
    ] {
        visit.browser.screen(width, height, scheme).await;
        visit.browser.assert_fits(name).await;
        visit.browser.screenshot(name).await;
        for panel in ["frames", "config", "status"] {
            visit.browser.click(&format!("#open-{panel}")).await;
            visit.browser.until(&format!("document.body.dataset.panel === '{panel}'")).await;
            let name = format!("{name}-{panel}");
            visit.browser.assert_fits(&name).await;
            visit.browser.screenshot(&name).await;
            visit.browser.click(&format!("#close-{panel}")).await;
        }
    }
    visit.end().await;
}

/// Each way of not being connected is told with what can be done about it.
#[tokio::test]
async fn trouble_with_the_connection_is_explained() {
    let place = Place::new();
    let relay = Launch::demo(&place).argument("--auth-token=token-of-the-page").start();
    let browser = Browser::start(&place).await;
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
    other.abort();
    browser.click("#try-now").await;
    is("connected").await;

    browser.complaints().await;
    relay.stop();
    is("waiting").await;
    screens(&browser, "trouble-away").await;
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
