//! The page for everybody: assistive technology, fingers, and proxies in front
//! of the server.

use super::Page;
use crate::support::browser::Browser;
use crate::support::http;
use crate::support::nginx::Nginx;
use crate::support::relay::Launch;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::{tools, wait};
use serde_json::{Value, json};

const SCREENS: [(u32, u32, &str); 4] =
    [(1280, 900, "light"), (1280, 900, "dark"), (375, 740, "light"), (375, 740, "dark")];

/// Controls below 44 pixels that can be seen on a phone. A box counts with its
/// label; links inside of text are text.
const SMALL: &str = "[...document.querySelectorAll('button, select, summary, input, textarea')]\
    .filter(each => each.checkVisibility({ contentVisibilityAuto: true }) && !each.matches('.skip, .link'))\
    .map(each => [each, (each.closest('label') ?? each).getBoundingClientRect()])\
    .filter(([, box]) => box.width > 0 && (box.height < 43.9 || box.width < 43.9))\
    .map(([each, box]) => `${each.id || each.className || each.textContent} ${box.width} x ${box.height}`)";

/// Checks the state that the page is in: those that hold most on every screen,
/// the others on two.
async fn check(browser: &Browser, axe: &str, state: &str) {
    let whole = ["plan", "answer"].contains(&state);
    for (width, height, scheme) in SCREENS.into_iter().step_by(if whole { 1 } else { 3 }) {
        let name = format!("{state}, {width} px, {scheme}");
        browser.screen(width, height, scheme).await;
        browser.assert_fits(&name).await;
        browser.run_script(axe).await;
        browser
            .run_script(
                "window.found = undefined;\
                 axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => {\
                     window.found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(node => node.target.join(' ')).slice(0, 3).join(', ')}`);\
                 })",
            )
            .await;
        browser.until("window.found !== undefined").await;
        assert_eq!(browser.evaluate("window.found").await, json!([]), "{name}");
        if width < 600 {
            assert_eq!(browser.evaluate(SMALL).await, json!([]), "{name}");
        }
    }
    let (width, height, scheme) = SCREENS[0];
    browser.screen(width, height, scheme).await;
}

#[tokio::test]
async fn no_state_of_the_page_has_a_violation_or_a_small_control() {
    let axe = std::fs::read_to_string(tools::axe()).expect("axe is a script");
    let page = Page::with(
        r##"
REPLIES["initialize"] = dict(commands=[dict(name="compact", description="Make room", argumentHint="")], models=[])
message(); begin()
speak("# Title\n\n## Second\n\n- [x] done\n\n| a | b |\n|-|-|\n| 1 | 2 |\n\n> quote\n\n```rust\nfn main() {}\n```\n\n[link](https://example.com)")
call("t1", "TaskCreate", subject="Write it", description="x"); outcome("t1", "Task #1 created")
say(type="system", subtype="task_started", task_id="b1", task_type="local_bash", description="cargo test")
call("e1", "Edit", file_path="/a", old_string="one", new_string="two"); outcome("e1", "ok")
call("e2", "Edit", file_path="/b", old_string="one", new_string="two"); outcome("e2", "ok")
ask("ask-1", "ExitPlanMode", dict(plan="# Plan\n\nDo it."))
ask("ask-2", "AskUserQuestion", dict(questions=[dict(question="Which?", header="Choice", multiSelect=False, options=[dict(label="A", description="one"), dict(label="B", description="two")])]))
end()
message(); begin()
speak("Not logged in", error="authentication_failed", isApiErrorMessage=True); end(is_error=True, result="Not logged in")
message(); err("lost\n"); os._exit(3)
"##,
    )
    .await;
    let browser = &page.browser;
    check(browser, &axe, "empty").await;
    page.say("Go").await;
    page.until("document.querySelector('.permission')").await;
    browser
        .evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        .await;
    check(browser, &axe, "plan").await;
    browser.click("[data-testid=permission-allow]").await;
    page.until("document.querySelector('.permission[data-tool=AskUserQuestion]')").await;
    check(browser, &axe, "question").await;
    browser.click("[data-testid=question-option]").await;
    browser.click("[data-testid=permission-allow]").await;
    page.turn_ended(1).await;
    check(browser, &axe, "answer").await;
    browser.type_into("#message", "/c").await;
    page.until("!document.querySelector('#completion').hidden").await;
    check(browser, &axe, "completion").await;
    page.say(&format!("{}again", crate::support::browser_fixture::SELECT_ALL)).await;
    page.turn_ended(2).await;
    page.until("!document.querySelector('#setup').hidden").await;
    check(browser, &axe, "setup").await;
    page.say("Crash").await;
    page.until("document.querySelector('.notice.error')").await;
    check(browser, &axe, "crash").await;
    for panel in ["frames", "config", "status"] {
        browser.click(&format!("#open-{panel}")).await;
        page.until(&format!("document.body.dataset.panel === '{panel}'")).await;
        check(browser, &axe, panel).await;
    }
    page.end().await;
}

#[tokio::test]
async fn nothing_moves_for_those_who_do_not_want_it() {
    let page = Page::with("message(); begin(); message()").await;
    page.browser.motion("no-preference").await;
    page.say("Go").await;
    let moving = "document.getAnimations().filter(each => each.playState === 'running').length";
    page.until(&format!("{moving} > 0")).await;
    page.browser.motion("reduce").await;
    page.until(&format!("{moving} === 0")).await;
    assert_eq!(
        page.browser.evaluate("getComputedStyle(document.documentElement).scrollBehavior").await,
        "auto"
    );
    page.end().await;
}

/// Behind nginx as people set it up: the usual lines for a WebSocket, below a
/// path of another site, and as `proxy_pass` alone.
#[tokio::test]
async fn page_works_behind_nginx_or_tells_what_is_missing() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--allow-host=relay.example").start();
    let target = relay.address();
    let websocket = "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\n\
                     proxy_set_header Connection \"upgrade\";\n";
    let whole = Nginx::start(
        &env,
        "whole",
        &format!(
            "location / {{ proxy_pass http://{target};\n{websocket}proxy_set_header Host $http_host; }}"
        ),
    );
    let below = Nginx::start(
        &env,
        "below",
        &format!(
            "location /some/path/ {{ proxy_pass http://{target}/;\n{websocket}proxy_set_header Host $http_host; }}"
        ),
    );
    let bare = Nginx::start(&env, "bare", &format!("location / {{ proxy_pass http://{target}; }}"));
    let browser = Browser::start(&env).await;

    for (nginx, path) in [(&whole, "/"), (&below, "/some/path/")] {
        browser.open("about:blank").await;
        let free = async || http::get(target, "/health").await.json()["client"] == "none";
        wait::until_async("the slot is free", free).await;
        browser.open(&format!("http://relay.example:{}{path}", nginx.port())).await;
        browser.until("document.body.dataset.connection === 'connected'").await;
        browser.type_into("#message", "Hello\u{E007}").await;
        browser.until("document.querySelector('[data-role=turn-end]')").await;
        browser.click("#open-config").await;
        browser.until("document.querySelector('#config-json').value.startsWith('{')").await;
        browser.click("#close-config").await;
    }

    browser.open(&format!("http://relay.example:{}/", bare.port())).await;
    browser.until("['forbidden', 'proxy'].includes(document.body.dataset.connection)").await;
    let told = browser.evaluate("document.querySelector('#connection-words').innerText").await;
    let told = told.as_str().unwrap_or_default();
    let origin = format!("--allow-origin http://relay.example:{}", bare.port());
    assert!(told.contains("--allow-host relay.example") && told.contains(&origin), "{told}");
    browser.end().await;
    relay.stop();
}

/// A page that comes out of the back/forward cache is connected, and shows what
/// was said meanwhile.
#[tokio::test]
async fn page_from_the_back_forward_cache_catches_up() {
    let env = TestEnv::new();
    let (relay, elsewhere) = (Launch::demo(&env).start(), Launch::demo(&env).start());
    let browser = Browser::start_whole(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.run_script("window.kept = true; addEventListener('pageshow', event => { window.persisted = event.persisted; })").await;
    browser.open(&format!("http://{}/health", elsewhere.address())).await;
    let free = async || http::get(relay.address(), "/health").await.json()["client"] == "none";
    wait::until_async("the slot is free", free).await;
    let mut other = crate::support::ws::Client::open(relay.address(), "/ws").await;
    other.say("Said meanwhile").await;
    other.until(|frame| frame["data"]["type"] == "result").await;
    other.close().await;
    browser.evaluate("history.back()").await;
    browser.until("document.body.dataset.connection === 'connected'").await;
    browser.until("document.querySelector('[data-role=turn-end]')").await;
    assert_eq!(
        browser.evaluate("window.kept === true && window.persisted").await,
        Value::Bool(true)
    );
    browser.end().await;
}
