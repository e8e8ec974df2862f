//! Every sandbox is a copy of one server that was started when the template
//! was built: what that one had drawn by then, all would have.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::Value;

use super::*;

/// Starts a server as the template does, asks it what the ready check asks,
/// and leaves it for a while as a snapshot is left.
async fn frozen() -> Cloud {
    let cloud = Cloud::start().await;
    let server = Client::builder().connection_url(&cloud.relay.url).environment(false);
    for _ in 0..3 {
        soon(server.health()).await.unwrap();
    }
    cloud.relay.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_millis(200)).await;
    cloud.relay.signal(Signal::CONT);
    cloud
}

/// Returns true for a text that looks random: long, and of hexadecimal digits.
fn looks_drawn(text: &str) -> bool {
    text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn collect(value: &Value, drawn: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if looks_drawn(text) => {
            drawn.insert(text.clone());
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, drawn)),
        Value::Object(all) => all.values().for_each(|value| collect(value, drawn)),
        _ => {}
    }
}

/// Everything that looks drawn in a first conversation.
async fn drawn_in(cloud: &Cloud) -> BTreeSet<String> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let to = Arc::clone(&seen);
    let builder = cloud.client().on_traffic(move |direction, text| {
        if direction == claude_relay_client::Direction::Received {
            collect(&serde_json::from_str(text).unwrap(), &mut to.lock().unwrap());
        }
    });
    let client = soon(builder.start()).await.unwrap();
    // The parts of a turn: session, messages, tools, the turn's end.
    soon(client.ask("a tool please")).await.unwrap();
    soon(client.set_model(Some("m"))).await.unwrap();
    let mut drawn = std::mem::take(&mut *seen.lock().unwrap());
    drawn.insert(client.position().unwrap().stream);
    let token = cloud.fake.file(&cloud.only_one(), TOKEN_FILE).unwrap();
    drawn.insert(String::from_utf8(token).unwrap());
    soon(client.stop()).await;
    drawn
}

#[tokio::test]
async fn copies_of_one_server_have_nothing_in_common_that_was_drawn() {
    let (one, other) = (frozen().await, frozen().await);
    let (drawn, drawn_too) = (drawn_in(&one).await, drawn_in(&other).await);
    assert!(drawn.len() >= 5, "the session, the stream, the token, each line: {drawn:?}");
    let shared: Vec<_> = drawn.intersection(&drawn_too).collect();
    assert!(shared.is_empty(), "{shared:?}");
    one.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn the_claim_of_one_copy_is_of_no_use_for_another() {
    let (one, other) = (frozen().await, frozen().await);
    let client = soon(one.client().start()).await.unwrap();
    let second = soon(other.client().start()).await.unwrap();
    let token = one.fake.file(&one.only_one(), TOKEN_FILE).unwrap();
    let token = String::from_utf8(token).unwrap();
    for (cloud, let_in) in [(&one, true), (&other, false)] {
        let visitor = Client::builder().connection_url(&cloud.relay.url).environment(false);
        let answer = soon(visitor.token(token.as_str()).get_configuration()).await;
        assert_eq!(answer.is_ok(), let_in, "{answer:?}");
    }
    soon(client.stop()).await;
    soon(second.stop()).await;
    one.finish().await;
    other.finish().await;
}

/// A snapshot of a sandbox whose server was claimed is a template like any other.
#[tokio::test]
async fn a_sandbox_of_a_snapshot_gets_a_token_of_its_own() {
    let cloud = Cloud::start().await;
    let first = soon(cloud.client().start()).await.unwrap();
    soon(first.ask("what is only in the snapshot")).await.unwrap();
    let id = cloud.only_one();
    let former = String::from_utf8(cloud.fake.file(&id, TOKEN_FILE).unwrap()).unwrap();
    let sandbox = cloud.e2b.info(&id.parse().unwrap()).await.unwrap().id;
    cloud.e2b.snapshot(&sandbox, Some("work"), true).await.unwrap();
    soon(first.stop()).await;

    let second =
        soon(cloud.settings(Client::builder().template("work")).environment(false).start());
    let second = second.await.unwrap();
    let own = cloud.fake.file(&cloud.only_one(), TOKEN_FILE).unwrap();
    let own = String::from_utf8(own).unwrap();
    assert_ne!(own, former);
    for (token, let_in) in [(&own, true), (&former, false)] {
        let visitor = Client::builder().connection_url(&cloud.relay.url).environment(false);
        let answer = soon(visitor.token(token.as_str()).get_configuration()).await;
        assert_eq!(answer.is_ok(), let_in, "{answer:?}");
    }
    // What was said before is passed over.
    let answer = soon(second.ask("two")).await.unwrap();
    assert!(answer.text.contains("two"), "{}", answer.text);
    soon(second.stop()).await;
    cloud.finish().await;
}
