//! A message that is handed over, perhaps not for the first time.

use std::sync::Arc;

use claude_relay_client::{Client, RawJson, UserMessage};
use serde_json::json;

use crate::hub::Hub;
use crate::hub::state::Message;

/// What an agent is told whose turn was cut short.
const GO_ON: &str = "You were interrupted in the middle of your last task by a restart. Go on \
                     where you stopped. If you had finished, repeat your final answer.";

/// Returns what to hand over, and the id under which the agent gets it.
///
/// An agent that was killed in the middle of a turn may have the message in its
/// conversation. It is then not given twice.
pub(super) async fn hand_over(
    hub: &Arc<Hub>,
    id: &str,
    client: &Client,
    message: &Message,
) -> (String, UserMessage) {
    if message.attempts > 0 && is_known(hub, id, client, &message.uuid).await {
        let uuid = claude_relay_random::uuid();
        let text = user_message(&uuid, GO_ON);
        return (uuid, text);
    }
    (message.uuid.clone(), user_message(&message.uuid, &message.text))
}

/// Returns true if the message is in the conversation that goes on.
async fn is_known(hub: &Hub, id: &str, client: &Client, uuid: &str) -> bool {
    let session = {
        let state = hub.state();
        state.kept.agents.get(id).and_then(|agent| agent.session_id.clone())
    };
    let Some(session) = session else { return false };
    match client.workspace().conversation(&session).await {
        Ok(lines) => lines.iter().any(|line| line.get().contains(uuid)),
        Err(error) => {
            tracing::debug!(agent = id, "the conversation cannot be read: {error}");
            false
        }
    }
}

fn user_message(uuid: &str, text: &str) -> UserMessage {
    let data = json!({
        "type": "user",
        "message": { "role": "user", "content": text },
        "parent_tool_use_id": null,
        "session_id": "",
        "uuid": uuid,
    });
    match RawJson::new(data.to_string()) {
        Ok(data) => UserMessage::raw(data),
        // A `Value` is always JSON.
        Err(_) => UserMessage::text(text),
    }
}
