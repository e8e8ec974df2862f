//! The server's account of its state.

use claude_relay_client::{ServerMessage, StoreState, StoreStatus};

use crate::support::{client, soon};
use claude_relay_testing::fake_relay::FakeRelay;

#[tokio::test]
async fn the_state_of_the_store_is_told() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        for store in [
            "",
            r#","store":{"state":"ok"}"#,
            r#","store":{"state":"behind","waiting_bytes":7,"lost":1,"error":"it is full"}"#,
            r#","store":{"state":"of a later version"}"#,
        ] {
            peer.text(&format!(
                r#"{{"type":"agent_state","state":"idle","turn":null,"watchers":0{store}}}"#
            ))
            .await;
        }
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut messages = client.messages();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        if let ServerMessage::AgentState(state) = soon(messages.next()).await.unwrap().unwrap() {
            seen.push(state.store);
        }
    }
    let of = |seen: &Option<StoreState>| seen.as_ref().map(|store| store.state);
    let states: Vec<_> = seen.iter().map(of).collect();
    let expected = [StoreStatus::Ok, StoreStatus::Behind, StoreStatus::Unknown].map(Some);
    assert_eq!(states[0], None);
    assert_eq!(states[1..], expected);
    let behind = seen[2].as_ref().unwrap();
    assert_eq!((behind.waiting_bytes, behind.lost), (7, 1));
    assert_eq!(behind.error.as_deref(), Some("it is full"));
}
