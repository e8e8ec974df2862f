//! `claude-relay --e2b --resume ID` after the sandbox of the conversation is gone,
//! with the real CLI and a store in the environment of the template.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use claude_relay_testing::e2b::{API_KEY, FakeE2b};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::real_cli::CliFixture;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::tools::Cli;
use serde_json::Value;

use crate::support::program::{bare, run};

for_both_clis! {
    a_conversation_goes_on_in_a_fresh_sandbox,
}

/// A template whose relay has this store: the next sandbox is this machine.
async fn template(fake: &FakeE2b, cli: Cli, store: &Path) -> CliFixture {
    let store = store.to_str().expect("a path in UTF-8");
    let arguments = ["--mode", "unrestricted", "--no-auth"];
    let machine = CliFixture::start_with(cli, &arguments, &[("RELAY_STORE", store)]).await;
    fake.forward(3000, SocketAddr::from((Ipv4Addr::LOCALHOST, machine.relay.port)));
    machine
}

/// Asks in a fresh sandbox. Gives the answer as JSON.
async fn ask(fake: &FakeE2b, arguments: &[&str]) -> Value {
    let mut command = bare();
    command
        .args(["--e2b", "--json"])
        .args(arguments)
        .env("E2B_API_KEY", API_KEY)
        .env("E2B_API_URL", fake.url())
        .env("E2B_SANDBOX_URL", fake.url())
        .env("ANTHROPIC_API_KEY", "sk-ant-made-up");
    let (code, stdout, stderr) = run(&mut command).await;
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    assert!(fake.alive().is_empty(), "the sandbox is gone");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

async fn a_conversation_goes_on_in_a_fresh_sandbox(cli: Cli) {
    let (fake, store) = (FakeE2b::start().await, tempfile::tempdir().expect("a directory"));
    let machine = template(&fake, cli, store.path()).await;
    machine.api.script([Reply::text("One.")]);
    let first = ask(&fake, &["One?"]).await;
    let id = first["session_id"].as_str().unwrap_or_else(|| panic!("{first}"));
    machine.relay.kill().await;

    let machine = template(&fake, cli, store.path()).await;
    machine.api.script([Reply::text("Two.")]);
    let second = ask(&fake, &["--resume", id, "Two?"]).await;
    assert_eq!(second["session_id"], id);
    let sent = machine.api.turn(1).await.body["messages"].to_string();
    let places: Vec<_> = ["One?", "One.", "Two?"].map(|text| sent.find(text)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{sent}");
    machine.relay.stop().await;
    fake.finish();
}
