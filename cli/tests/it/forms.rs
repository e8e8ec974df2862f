//! Requests of the agent to a person that no form is filled in for: pages to open,
//! and dialogs that a terminal cannot draw.

use serde_json::{Value, json};

use crate::support::scripted_relay::ScriptedRelay;
use crate::support::terminal::{CTRL_C, CTRL_D, Terminal};

async fn asks(relay: &mut ScriptedRelay, id: &str, request: Value) {
    relay.send(json!({ "type": "agent_request", "requestId": id, "request": request })).await;
}

fn page(address: &str) -> Value {
    json!({
        "subtype": "elicitation", "mcp_server_name": "booking", "mode": "url", "url": address,
        "message": "Log in first", "elicitation_id": "e",
    })
}

/// Waits for the question about a page and returns all that is shown for it. The
/// question of an earlier page is drawn once more with its answer.
async fn asked_for(terminal: &mut Terminal, address: &str) -> String {
    let shown = terminal.shows(address).await;
    shown + &terminal.shows("Have you done that? ").await
}

/// Types an answer and returns what the agent gets.
async fn answered(relay: &mut ScriptedRelay, terminal: &mut Terminal, typed: &str) -> Value {
    terminal.types(typed).await;
    relay.receives("agent_response").await
}

async fn leaves(mut terminal: Terminal) {
    terminal.shows("> ").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
}

#[tokio::test]
async fn pages_to_open_are_shown_whole_and_answered_one_after_the_other() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    for (typed, action) in [("y\r", "accept"), ("d\r", "decline"), ("c\r", "cancel")] {
        let address = format!("https://booking.example/login?for={action}");
        asks(&mut relay, action, page(&address)).await;
        let shown = asked_for(&mut terminal, &address).await;
        assert!(shown.contains("booking asks you to open a page: Log in first"), "{shown:?}");
        let answer = answered(&mut relay, &mut terminal, typed).await;
        assert_eq!(answer["requestId"], action);
        assert_eq!(answer["response"]["action"], action);
    }
    leaves(terminal).await;
}

#[tokio::test]
async fn pages_that_are_asked_for_at_once_are_answered_in_their_order() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    let ids = ["first", "second", "third"];
    for id in ids {
        asks(&mut relay, id, page(&format!("https://booking.example/{id}"))).await;
    }
    for id in ids {
        asked_for(&mut terminal, &format!("https://booking.example/{id}")).await;
        let answer = answered(&mut relay, &mut terminal, "y\r").await;
        assert_eq!(answer["requestId"], id);
    }
    leaves(terminal).await;
}

/// The address comes from a server that nobody vouches for.
#[tokio::test]
async fn the_address_of_a_page_does_not_steer_the_terminal() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    asks(&mut relay, "r", page("https://evil.example/\u{1b}[2J\u{7}\u{202e}x")).await;
    let shown = terminal.shows("Have you done that? ").await;
    assert!(shown.contains("https://evil.example/"), "{shown:?}");
    for steering in ["\u{1b}[2J", "\u{7}", "\u{202e}"] {
        assert!(!shown.contains(steering), "{shown:?}");
    }
    answered(&mut relay, &mut terminal, "c\r").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_dialog_that_cannot_be_drawn_is_shown_and_dismissed() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    let dialog = json!({
        "subtype": "request_user_dialog", "dialog_kind": "refusal_fallback_prompt",
        "payload": { "text": "Try another model?" },
    });
    asks(&mut relay, "r", dialog).await;
    terminal.shows("a dialog that cannot be drawn here").await;
    terminal.shows("Try another model?").await;
    terminal.shows("Enter dismisses it: ").await;
    let answer = answered(&mut relay, &mut terminal, "\r").await;
    assert_eq!(answer["response"], json!({ "behavior": "cancelled" }));
    leaves(terminal).await;
}

#[tokio::test]
async fn a_page_that_is_no_longer_wanted_is_taken_away() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    asks(&mut relay, "gone", page("https://a.example/")).await;
    terminal.shows("Have you done that? ").await;
    relay.send(json!({ "type": "agent_request_cancelled", "requestId": "gone" })).await;
    terminal.shows("> ").await;
    terminal.types("hello\r").await;
    assert_eq!(relay.echo(&mut terminal).await, "hello");
    relay.has_received_no("agent_response");
    leaves(terminal).await;
}

#[tokio::test]
async fn ctrl_c_in_a_page_to_open_stops_the_turn() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("go\r").await;
    let (_, uuid) = relay.message().await;
    relay.begins().await;
    asks(&mut relay, "r", page("https://a.example/")).await;
    terminal.shows("Have you done that? ").await;
    terminal.types(CTRL_C).await;
    let answer = relay.receives("agent_response").await;
    assert_eq!(answer["response"]["action"], "cancel");
    relay.receives("interrupt").await;
    relay.ends(Some(&uuid)).await;
    leaves(terminal).await;
}
