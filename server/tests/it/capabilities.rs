//! Capabilities of a server, and the probes behind them.

use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::PathBuf;

for_both_clis! {
    the_version_of_the_cli,
}

async fn capabilities(client: &mut Client) -> Value {
    client.send(&json!({ "type": "capabilities" })).await;
    client.until(|frame| frame["type"] == "capabilities").await.pop().expect("the frame")
}

async fn the_version_of_the_cli(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let relay = Launch::unrestricted(&env, &cli.path(), &api).mode("ask").start();
    let mut client = Client::connect(relay.address()).await;
    let told = capabilities(&mut client).await;
    let version = cli.version();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["agent"]["version"], version, "{told}");
    assert_eq!(told["agent"]["installed"], true, "{told}");
    assert_eq!(told["mode"], "ask");
    assert_eq!(told["permission_modes"], json!(["default", "acceptEdits", "plan", "dontAsk"]));
    assert_eq!(told["sandbox"], json!({ "active": "none", "available": ["none", "bwrap"] }));
    assert_eq!(told["key_proxy"], false);
    assert_eq!(told["limits"]["message_bytes"], 64 << 20);
    assert_eq!(told["replay"]["limit"], 16_777_216);

    // The CLI tells its commands and models when it has started.
    wait::until_async("the models", async || {
        let told = capabilities(&mut client).await;
        let names = |list: &str, name: &str| -> Vec<String> {
            let list = told["agent"][list].as_array().into_iter().flatten();
            list.map(|each| each[name].as_str().unwrap_or_default().to_owned()).collect()
        };
        names("commands", "name").contains(&"compact".to_owned())
            && names("models", "value").iter().any(|model| model.contains("haiku"))
    })
    .await;

    let health = http::get(relay.address(), "/health").await.json();
    assert_eq!(health["agent"]["version"], version, "{health}");
    for same in ["mode", "sandbox", "limits", "key_proxy", "permission_modes"] {
        assert_eq!(health[same], told[same], "{same}");
    }
    client.close().await;
    relay.stop();
}

/// A program that keeps a list of how it was called, and is no CLI.
fn listing(env: &TestEnv, body: &str) -> (PathBuf, PathBuf) {
    let (script, calls) = (env.file("called"), env.file("calls"));
    let text = format!("#!/bin/sh\necho \"$*\" >> '{}'\n{body}\n", calls.display());
    executable(&script, text);
    (script, calls)
}

#[tokio::test]
async fn nobody_is_asked_before_the_first_client_and_then_once() {
    let env = TestEnv::new();
    let (script, calls) = listing(
        &env,
        "case \"$*\" in *--version*) echo '9.8.7 (A test)';; *) exec cat 3>&1 > /dev/null;; esac",
    );
    let relay = Launch::new(&env).argument("--claude-path").argument(&script).start();
    let health = http::get(relay.address(), "/health").await.json();
    assert_eq!(health["agent"]["version"], Value::Null, "{health}");
    assert_eq!(health["sandbox"]["available"], Value::Null, "{health}");
    assert!(!calls.exists(), "{:?}", std::fs::read_to_string(&calls));

    let mut client = Client::connect(relay.address()).await;
    for _ in 0..3 {
        assert_eq!(capabilities(&mut client).await["agent"]["version"], "9.8.7");
    }
    client.close().await;
    relay.stop();
    let calls = std::fs::read_to_string(calls).expect("a list");
    assert_eq!(calls.matches("--version").count(), 1, "{calls}");
}

/// The server reaps every child; the probe's own status must not get lost in
/// that, and one that fails or says nothing is no version.
#[tokio::test]
async fn a_cli_that_cannot_tell_its_version() {
    for (body, reason) in [
        ("case \"$*\" in *--version*) exit 3;; *) exec cat 3>&1 > /dev/null;; esac", "Exited(3)"),
        (
            "case \"$*\" in *--version*) echo no;; *) exec cat 3>&1 > /dev/null;; esac",
            "printed no version",
        ),
    ] {
        let env = TestEnv::new();
        let (script, _) = listing(&env, body);
        let relay = Launch::new(&env).argument("--claude-path").argument(&script).start();
        let mut client = Client::connect(relay.address()).await;
        let told = capabilities(&mut client).await;
        assert_eq!(told["agent"]["version"], Value::Null, "{told}");
        let said = told["agent"]["version_unknown"].as_str().unwrap_or_default();
        assert!(said.contains(reason), "{said}");
        client.close().await;
        relay.stop();
    }
}

/// A program that hangs is ended, and the frame comes all the same.
#[tokio::test]
async fn a_cli_that_hangs_over_its_version() {
    let env = TestEnv::new();
    let (script, _) = listing(
        &env,
        "case \"$*\" in *--version*) exec sleep 86407;; *) exec cat 3>&1 > /dev/null;; esac",
    );
    let relay = Launch::new(&env).argument("--claude-path").argument(&script).start();
    let mut client = Client::connect(relay.address()).await;
    let told = capabilities(&mut client).await;
    let said = told["agent"]["version_unknown"].as_str().unwrap_or_default();
    assert!(said.contains("did not end within"), "{said}");
    let asks = |process: &claude_relay_testing::process::Process| process.command == "sleep 86407";
    wait::until("the end of what hangs", || (!relay.offspring().iter().any(asks)).then_some(()))
        .await;
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_cli_that_is_installed_later_is_not_called_missing() {
    let env = TestEnv::new();
    let relay = Launch::new(&env).argument("--claude-path").argument(env.file("called")).start();
    let mut client = Client::connect(relay.address()).await;
    let told = capabilities(&mut client).await;
    assert_eq!(told["agent"]["installed"], false, "{told}");
    let body = "case \"$*\" in *--version*) echo 9.8.7;; *) exec cat 3>&1 > /dev/null;; esac";
    listing(&env, body);
    let health = http::get(relay.address(), "/health").await.json();
    assert_eq!(health["agent"]["installed"], true, "{health}");
    for agent in [&health["agent"], &health["providers"]["claude"]] {
        assert_eq!(agent["version_unknown"], Value::Null, "{health}");
    }
    let told = capabilities(&mut client).await;
    assert_eq!(told["agent"]["version"], "9.8.7", "{told}");
    client.close().await;
    relay.stop();
}

/// Programs that are asked for their version hang for ever where their parent
/// has died before it let them go.
#[tokio::test]
async fn nothing_that_is_asked_outlives_a_server_that_is_killed() {
    let env = TestEnv::new();
    let (script, _) = listing(&env, "exec sleep 86409");
    let programs = env.file("programs");
    std::fs::create_dir(&programs).expect("a directory");
    std::os::unix::fs::symlink(&script, programs.join("bwrap")).expect("a link");
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let relay = Launch::new(&env)
        .variable("PATH", &path)
        .argument("--claude-path")
        .argument(&script)
        .start();
    let mut client = Client::connect(relay.address()).await;
    client.send(&json!({ "type": "capabilities" })).await;
    let asked = |process: &claude_relay_testing::process::Process| process.command == "sleep 86409";
    wait::until("the probes", || relay.offspring().iter().any(asked).then_some(())).await;
    relay.signal(Signal::KILL);
    relay.end();
}

/// An update of the CLI exchanges the file, mostly by a link, while the server
/// runs: what the new one can is read off its own version.
#[tokio::test]
async fn a_cli_that_is_replaced_under_the_server_is_asked_for_its_version_again() {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let (link, next) = (env.file("claude-link"), env.file("claude-next"));
    let point_to = |cli: Cli| {
        std::os::unix::fs::symlink(cli.path(), &next).expect("a link");
        std::fs::rename(&next, &link).expect("a link of this name");
    };
    point_to(Cli::Oldest);
    let relay = Launch::unrestricted(&env, &link, &api).start();
    let config = json!({ "verbatimPrompts": true }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &config).await.status, 200);
    let mut client = Client::connect(relay.address()).await;
    // The client's coming causes one start, its message another: a message that
    // came within the first would be refused with it.
    let refused = async |client: &mut Client| {
        let frame = client.until(|frame| frame["type"] == "error").await.pop().expect("an error");
        assert!(frame["error"].to_string().contains("verbatimPrompts"), "{frame}");
    };
    refused(&mut client).await;
    assert_eq!(capabilities(&mut client).await["agent"]["version"], Cli::Oldest.version());
    client.say("one").await;
    refused(&mut client).await;
    assert!(api.turns().is_empty());

    point_to(Cli::Newest);
    api.script([Reply::text("Newer."), Reply::text("Older.")]);
    client.say("two").await;
    assert_eq!(client.turn().await.result()["result"], "Newer.");
    assert_eq!(capabilities(&mut client).await["agent"]["version"], Cli::Newest.version());
    client.close().await;

    // Back again, while the newer one runs: the next start goes by the older.
    point_to(Cli::Oldest);
    let config = json!({ "model": "m" }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &config).await.status, 200);
    let mut client = Client::connect(relay.address()).await;
    client.say("three").await;
    assert_eq!(client.turn().await.result()["result"], "Older.");
    assert_eq!(capabilities(&mut client).await["agent"]["version"], Cli::Oldest.version());
    client.close().await;
    relay.stop();
}
