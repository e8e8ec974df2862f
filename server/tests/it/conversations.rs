//! `/conversations`: what Claude Code has kept of the workspace.

use crate::support::browser::Browser;
use crate::support::browser_fixture::ENTER;
use crate::support::cli_fixture::CliFixture;
use crate::support::http::{self, Response};
use crate::support::relay::{Launch, Relay};
use claude_relay_testing::messages_api::TURN_WITHOUT_TOOLS;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::transcript;
use claude_relay_testing::wait;
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

const ID: &str = "11111111-2222-4333-8444-555555555555";

/// Puts a transcript of `cwd` where the CLI of the test keeps its own.
fn keep(env: &TestEnv, cwd: &Path, id: &str, words: &str) -> PathBuf {
    transcript::keep(&env.file("claude"), cwd, id, words)
}

async fn get(relay: &Relay, path: &str) -> Response {
    http::get(relay.address(), path).await
}

#[tokio::test]
async fn the_conversations_of_the_workspace_are_listed_and_given() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    assert_eq!(get(&relay, "/conversations").await.body, r#"{"conversations":[]}"#);
    keep(&env, &env.workspace(), ID, "First words");
    keep(&env, &env.home(), "22222222-2222-4333-8444-555555555555", "Of another project");
    let mut listed = get(&relay, "/conversations").await.json();
    let modified = listed["conversations"][0]["modified"].take().as_u64().unwrap();
    assert!(modified > 1_700_000_000_000);
    assert_eq!(
        listed,
        json!({ "conversations": [{
            "id": ID, "modified": null, "created": "2026-11-28T13:10:04.224Z",
            "first_words": "First words", "turns": 1, "cost_usd": 0.25,
        }] })
    );
    let given = get(&relay, &format!("/conversations/{ID}")).await;
    assert_eq!(given.header("content-type"), Some("application/json"));
    // Streamed in chunks, which this client of the tests does not decode.
    assert!(given.body.contains(r#""message":{"role":"user","content":"First words"}"#));
    assert!(given.body.contains(r#""message":{"role":"assistant","content":"Well."}"#));
    assert!(!given.body.contains(env.workspace().to_str().unwrap()), "no path is told");
    let last = get(&relay, &format!("/conversations/{ID}?last=1")).await.body;
    assert!(last.contains(r#","left_out":1,"messages":["#) && last.contains("Well."), "{last}");
    assert!(!last.contains("First words"), "{last}");
    let all = get(&relay, &format!("/conversations/{ID}?last=2")).await.body;
    assert!(all.contains("First words") && !all.contains("left_out"), "{all}");
}

/// The ids of the whole list, asked for in parts of `limit`.
async fn all(relay: &Relay, limit: usize) -> Vec<String> {
    let (mut ids, mut path) = (Vec::new(), format!("/conversations?limit={limit}"));
    loop {
        let part = get(relay, &path).await.json();
        let listed = part["conversations"].as_array().unwrap_or_else(|| panic!("{path}: {part}"));
        assert!(listed.len() <= limit, "{path}: {part}");
        ids.extend(listed.iter().map(|one| one["id"].as_str().expect("an id").to_owned()));
        if part["more"] != true {
            return ids;
        }
        let last = listed.last().expect("one at least beside `more`");
        let id = last["id"].as_str().expect("an id");
        path = format!("/conversations?limit={limit}&before={}.{id}", last["modified"]);
    }
}

#[tokio::test]
async fn more_than_a_list_holds_are_listed_in_parts() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let count = 201;
    for number in 0..count {
        let file = keep(&env, &env.workspace(), &transcript::id(number), "Words");
        // Several have the same time.
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000 - number as u64 / 3);
        std::fs::File::open(file).unwrap().set_modified(time).unwrap();
    }
    let expected: Vec<String> = (0..count).map(transcript::id).collect();
    assert_eq!(all(&relay, 200).await, expected);
    assert_eq!(all(&relay, 16).await, expected);
}

/// A place has one time here and another one in the store.
#[tokio::test]
async fn what_is_here_and_in_the_store_is_listed_once_in_parts_too() {
    let (env, store) = (TestEnv::new(), tempfile::tempdir().unwrap());
    let relay = Launch::demo(&env).argument("--store").argument(store.path()).start();
    let cwd = env.workspace().canonicalize().unwrap();
    let folder = store.path().join(transcript::folder_name(&cwd));
    let time = |seconds: u64| Duration::from_secs(1_700_000_000 + seconds);
    let mut expected = BTreeSet::new();
    for number in 0..24 {
        let id = transcript::id(number);
        // Every third is here alone, every third in the store alone.
        if number % 3 != 0 {
            let file = keep(&env, &cwd, &id, "Words");
            let time = UNIX_EPOCH + time(number as u64 * 7 % 24);
            std::fs::File::open(file).unwrap().set_modified(time).unwrap();
        }
        if number % 3 != 1 {
            let part = format!("part-{}-abcdef.jsonl", time(number as u64 * 5 % 24).as_millis());
            let folder = folder.join(&id);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(part), transcript::text(&cwd, &id, "Words")).unwrap();
        }
        expected.insert(id);
    }
    let whole = all(&relay, 200).await;
    assert_eq!((whole.len(), whole.iter().cloned().collect::<BTreeSet<_>>()), (24, expected));
    for limit in [1, 2, 5, 23] {
        assert_eq!(all(&relay, limit).await, whole, "{limit}");
    }
}

#[tokio::test]
async fn those_of_the_configured_directory_are_given() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let below = env.workspace().join("below");
    std::fs::create_dir(&below).unwrap();
    keep(&env, &below, ID, "Below");
    assert_eq!(get(&relay, "/conversations").await.json()["conversations"], json!([]));
    assert_eq!(get(&relay, &format!("/conversations/{ID}")).await.status, 404);
    http::post(relay.address(), "/config", r#"{"cwd":"below"}"#).await;
    let listed = get(&relay, "/conversations").await.json();
    assert_eq!(listed["conversations"][0]["first_words"], "Below");
    assert_eq!(get(&relay, &format!("/conversations/{ID}")).await.status, 200);
}

#[tokio::test]
async fn nothing_else_is_given() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    keep(&env, &env.home(), ID, "Of another project");
    for path in [ID, "..", "%2e%2e", "a/b", "../-other/a", "x.jsonl"] {
        let path = format!("/conversations/{path}");
        assert_eq!(get(&relay, &path).await.status, 404, "{path}");
    }
    for limit in ["0", "201", "-1", "x", ""] {
        let path = format!("/conversations?limit={limit}");
        assert_eq!(get(&relay, &path).await.status, 400, "{path}");
    }
    for last in ["0", "100001", "x", ""] {
        let path = format!("/conversations/{ID}?last={last}");
        assert_eq!(get(&relay, &path).await.status, 400, "{path}");
    }
    for before in ["", "5", ID, "5.", "5.x", &format!("x.{ID}"), &format!(".{ID}")] {
        let path = format!("/conversations?before={before}");
        assert_eq!(get(&relay, &path).await.status, 400, "{path}");
    }
    let posted = http::post(relay.address(), "/conversations", "{}").await;
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    let foreign = [("Origin", "https://elsewhere.example")];
    let refused = http::request(relay.address(), "GET", "/conversations", &foreign, "").await;
    assert_eq!(refused.status, 403);
    let guarded = Launch::demo(&env).argument("--auth-token=correct-horse-battery").start();
    assert_eq!(get(&guarded, "/conversations").await.status, 401);
    assert_eq!(get(&guarded, &format!("/conversations/{ID}")).await.status, 401);
    assert_eq!(get(&guarded, "/conversations?token=correct-horse-battery").await.status, 200);
}

#[tokio::test]
async fn a_conversation_of_the_real_cli_is_listed_and_given() {
    let mut fixture = CliFixture::start(Cli::Newest).await;
    fixture.api.script([Reply::text("The answer.")]);
    let words = format!("The question {TURN_WITHOUT_TOOLS}");
    fixture.client.say(words.clone()).await;
    fixture.client.turn().await;
    fixture.env.session_holds("The answer.").await;
    let id = fixture.agent().await["session_id"].as_str().unwrap().to_owned();
    let listed = get(&fixture.relay, "/conversations").await.json();
    let [only] = &listed["conversations"].as_array().unwrap()[..] else { panic!("{listed}") };
    assert_eq!((&only["id"], &only["turns"]), (&json!(id), &json!(1)));
    assert_eq!(only["first_words"], words.trim());
    let given = get(&fixture.relay, &format!("/conversations/{id}")).await.body;
    let (question, answer) = (given.find("The question"), given.find("The answer."));
    assert!(question.is_some() && question < answer, "{given}");
    fixture.end().await;
}

#[tokio::test]
async fn the_page_goes_on_with_an_earlier_conversation() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    keep(&env, &env.workspace(), ID, "First <b>words</b>");
    let browser = Browser::start(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    let entry = format!("#earlier [data-conversation='{ID}']");
    let shown = format!("document.querySelector(\"{entry} > span\").textContent");
    browser.find(&entry).await;
    assert_eq!(browser.evaluate(&shown).await, "First <b>words</b>");
    browser.screen(375, 740, "light").await;
    browser.assert_fits("earlier conversations").await;
    browser.screenshot("earlier").await;
    browser.click(&entry).await;
    claude_relay_testing::wait::within("the configuration", async {
        while get(&relay, "/config").await.json()["config"]["resume"] != ID {
            tokio::task::yield_now().await;
        }
    })
    .await;
    browser.end().await;
    relay.stop();
}

#[tokio::test]
async fn the_page_shows_older_conversations_when_it_is_asked_to() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    for number in 0..60 {
        let file = keep(&env, &env.workspace(), &transcript::id(number), "Words");
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000 - number as u64 / 3);
        std::fs::File::open(file).unwrap().set_modified(time).unwrap();
    }
    let browser = Browser::start(&env).await;
    browser.open(&format!("http://{}/", relay.address())).await;
    let shown = "[...document.querySelectorAll('#earlier [data-conversation]')]\
                 .map(one => one.dataset.conversation)";
    for expected in [8, 58, 60] {
        browser.until(&format!("{shown}.length === {expected}")).await;
        let ids: Vec<String> = (0..expected).map(transcript::id).collect();
        assert_eq!(browser.evaluate(shown).await, json!(ids));
        if expected < 60 {
            browser.screen(375, 740, "light").await;
            browser.assert_fits("older conversations").await;
            browser.click("#earlier-more").await;
        }
    }
    browser.until("!document.querySelector('#earlier-more').checkVisibility()").await;
    browser.end().await;
    relay.stop();
}

/// On a phone nothing but "New" leads away from what is shown.
#[tokio::test]
async fn a_new_conversation_of_the_page_offers_the_earlier_ones() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    keep(&env, &env.workspace(), ID, "First words");
    let browser = Browser::start(&env).await;
    browser.screen(390, 844, "dark").await;
    browser.open(&format!("http://{}/", relay.address())).await;
    let is_shown = "document.querySelector('#earlier').checkVisibility()";
    let said = |count: usize| {
        format!("document.querySelectorAll('[data-role=user]').length === {count} && !{is_shown}")
    };
    browser.until(is_shown).await;
    browser.type_into("#message", &format!("Hello{ENTER}")).await;
    browser.until(&said(1)).await;
    browser.click("#new-conversation").await;
    browser.until(is_shown).await;
    browser.assert_fits("a new conversation").await;
    browser.screenshot("earlier-new").await;
    browser.type_into("#message", &format!("Hello again{ENTER}")).await;
    browser.until(&said(2)).await;

    browser.click("#new-conversation").await;
    browser.until(is_shown).await;
    browser.click(&format!("#earlier [data-conversation='{ID}']")).await;
    wait::until_async("the configuration", async || {
        get(&relay, "/config").await.json()["config"]["resume"] == ID
    })
    .await;
    browser.until(&format!("!{is_shown}")).await;
    browser.end().await;
    relay.stop();
}
