//! `/config`: replaced by `POST`, merged by `PATCH`, shown without secrets.

use serde_json::{Value, json};

use crate::support::http::{self, Response};
use crate::support::relay::{Launch, Relay};
use claude_relay_testing::test_env::TestEnv;

/// A relay with the demo agent, and the environment that it lives in.
fn start() -> (TestEnv, Relay) {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    (env, relay)
}

async fn patch(relay: &Relay, patch: &str) -> Response {
    let json = [("Content-Type", "application/merge-patch+json")];
    http::request(relay.address(), "PATCH", "/config", &json, patch).await
}

async fn shown(relay: &Relay) -> Value {
    http::get(relay.address(), "/config").await.json()
}

#[tokio::test]
async fn patch_changes_what_it_names_and_keeps_the_rest() {
    let (_env, relay) = start();
    let whole = json!({
        "model": "sonnet",
        "maxTurns": 3,
        "anthropicApiKey": "sk-ant-kept",
        "env": { "TOKEN": "secret", "PLAIN": "x" },
    });
    http::post(relay.address(), "/config", &whole.to_string()).await;

    let answer = patch(&relay, r#"{"model":"opus","env":{"PLAIN":null}}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let expected = json!({
        "success": true,
        "config": { "model": "opus", "maxTurns": 3, "env": { "TOKEN": "***" } },
        "secrets": ["env.TOKEN", "anthropicApiKey"],
        "applies": "now",
    });
    assert_eq!(answer.json(), expected);

    let answer = patch(&relay, r#"{"anthropicApiKey":null,"env":null}"#).await;
    assert_eq!(answer.json()["config"], json!({ "model": "opus", "maxTurns": 3 }));
    assert_eq!(answer.json().get("secrets"), None);
    assert_eq!(shown(&relay).await, json!({ "config": { "model": "opus", "maxTurns": 3 } }));
}

#[tokio::test]
async fn refused_patch_changes_nothing() {
    let (_env, relay) = start();
    http::post(relay.address(), "/config", r#"{"model":"sonnet"}"#).await;
    for (body, error) in [
        ("{", "Invalid JSON"),
        ("[]", "object"),
        (r#"{"model":5}"#, "model: expected a string"),
        (r#"{"maxTurns":0}"#, "maxTurns"),
        (r#"{"permissionMode":"bypassPermissions"}"#, "permissionMode"),
    ] {
        let answer = patch(&relay, body).await;
        assert_eq!(answer.status, 400, "{body}");
        let text = answer.json()["error"].to_string();
        assert!(text.contains(error), "{body}: {text}");
    }
    assert_eq!(shown(&relay).await, json!({ "config": { "model": "sonnet" } }));
}

#[tokio::test]
async fn racing_patches_are_both_whole() {
    let (_env, relay) = start();
    let (first, second) =
        tokio::join!(patch(&relay, r#"{"model":"opus"}"#), patch(&relay, r#"{"maxTurns":7}"#));
    assert_eq!((first.status, second.status), (200, 200));
    assert_eq!(shown(&relay).await["config"], json!({ "model": "opus", "maxTurns": 7 }));
}

#[tokio::test]
async fn patch_of_a_browser_is_held_to_the_rules_of_a_post() {
    let (_env, relay) = start();
    let own = format!("http://{}", relay.address());
    for (kind, origin, expected) in [
        ("application/merge-patch+json", own.as_str(), 200),
        ("application/json", own.as_str(), 200),
        ("text/plain", own.as_str(), 415),
        ("application/json", "https://elsewhere.example", 403),
    ] {
        let headers = [("Content-Type", kind), ("Origin", origin)];
        let answer =
            http::request(relay.address(), "PATCH", "/config", &headers, r#"{"model":"opus"}"#)
                .await;
        assert_eq!(answer.status, expected, "{kind} of {origin}");
    }
}
