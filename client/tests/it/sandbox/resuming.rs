//! A conversation whose sandbox is gone, with the real CLI and a store in the
//! environment of the template.

use super::{account, soon};
use claude_relay_client::e2b::Options;
use claude_relay_client::{Client, ClientBuilder, ServerMessage, StoreStatus};
use claude_relay_testing::e2b::FakeE2b;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::real_cli::CliFixture;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::tools::Cli;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

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

fn client(fake: &FakeE2b) -> ClientBuilder {
    let e2b = account(fake, Options::default());
    let builder = Client::builder().template("claude-agent-server").environment(false);
    builder.e2b(e2b).start_timeout(crate::support::DEADLINE)
}

async fn a_conversation_goes_on_in_a_fresh_sandbox(cli: Cli) {
    let (fake, store) = (FakeE2b::start().await, tempfile::tempdir().expect("a directory"));
    let machine = template(&fake, cli, store.path()).await;
    machine.api.script([Reply::text("One."), Reply::text("Two.")]);
    let first = soon(client(&fake).start()).await.expect("a client");
    soon(first.ask("One?")).await.expect("an answer");
    let id = soon(first.ask("Two?")).await.expect("an answer").session_id.expect("its id");
    soon(first.stop()).await;
    assert!(fake.alive().is_empty(), "the sandbox is gone");
    machine.relay.kill().await;

    let machine = template(&fake, cli, store.path()).await;
    machine.api.script([Reply::text("Three.")]);
    let second = soon(client(&fake).resume(&id).start()).await.expect("a client");
    let mut messages = second.messages();
    let third = soon(second.ask("Three?")).await.expect("an answer");
    assert_eq!((third.text.as_str(), third.session_id), ("Three.", Some(id)));
    let sent = machine.api.turn(1).await.body["messages"].to_string();
    let places: Vec<_> =
        ["One?", "One.", "Two?", "Two.", "Three?"].map(|text| sent.find(text)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{sent}");
    loop {
        let message = soon(messages.next()).await.expect("a state").expect("a message");
        if let ServerMessage::AgentState(state) = message {
            assert_eq!(state.store.expect("a store").state, StoreStatus::Ok);
            break;
        }
    }
    soon(second.stop()).await;
    machine.relay.stop().await;
    fake.finish();
}
