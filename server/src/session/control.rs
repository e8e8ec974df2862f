//! Control requests of clients that wait for the agent's response.

use std::borrow::Cow;
use std::collections::HashMap;

use claude_relay_protocol::ServerMessage;
use claude_relay_protocol::json::entries;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::slot::ConnectionId;

/// Maximum number of control requests that wait for the agent.
pub(super) const CONTROL_LIMIT: usize = 64;

/// How many bytes of requests may wait for the start of the agent.
const EARLY_BYTES: usize = 1 << 20;

/// Control requests that came while the start of the agent is under way.
#[derive(Debug, Default)]
pub(super) struct EarlyRequests(Vec<EarlyRequest>);

/// One of them.
#[derive(Debug)]
pub(super) struct EarlyRequest {
    pub(super) from: ConnectionId,
    pub(super) id: String,
    pub(super) subtype: String,
    pub(super) request: String,
}

impl EarlyRequests {
    /// Keeps a request, if there is room for it.
    pub(super) fn push(
        &mut self,
        from: ConnectionId,
        id: &str,
        subtype: &str,
        request: &str,
    ) -> bool {
        let bytes: usize = self.0.iter().map(|early| early.request.len()).sum();
        if self.0.len() >= CONTROL_LIMIT || bytes + request.len() > EARLY_BYTES {
            return false;
        }
        let (id, subtype, request) = (id.to_owned(), subtype.to_owned(), request.to_owned());
        self.0.push(EarlyRequest { from, id, subtype, request });
        true
    }

    /// Gives them in their order.
    pub(super) fn take(&mut self) -> Vec<EarlyRequest> {
        std::mem::take(&mut self.0)
    }
}

/// Control requests without a response.
#[derive(Debug, Default)]
pub(super) struct ControlRequests {
    open: HashMap<String, (ConnectionId, String)>,
    count: u64,
}

impl ControlRequests {
    /// Adds a request and returns the relay's id for it, because two clients
    /// may use the same id. Returns `None` if too many requests are open.
    pub(super) fn register(&mut self, from: ConnectionId, id: String) -> Option<String> {
        if self.open.len() >= CONTROL_LIMIT {
            return None;
        }
        self.count += 1;
        let own = format!("client-{}", self.count);
        self.open.insert(own.clone(), (from, id));
        Some(own)
    }

    /// Completes a request. Returns its connection and the frame for it, or
    /// `None` if no such request is open.
    pub(super) fn complete(
        &mut self,
        id: &str,
        response: &RawValue,
    ) -> Option<(ConnectionId, String)> {
        let (from, id) = self.open.remove(id)?;
        let response = renamed(response, &id);
        Some((from, control_response(&id, &response)))
    }

    /// Fails all open requests. Returns their connections and frames.
    pub(super) fn fail_all(&mut self, reason: &str) -> Vec<(ConnectionId, String)> {
        self.open.drain().map(|(_, (from, id))| (from, failed(&id, reason))).collect()
    }
}

/// The frame that answers a control request with success.
pub(super) fn succeeded(id: &str, response: &Value) -> String {
    let response = json!({"subtype": "success", "request_id": id, "response": response});
    own_response(id, &response)
}

/// Returns the frame that answers a control request with an error of the relay.
pub(super) fn failed(id: &str, reason: &str) -> String {
    own_response(id, &json!({"subtype": "error", "request_id": id, "error": reason}))
}

fn own_response(id: &str, response: &Value) -> String {
    let response = response.to_string();
    match serde_json::from_str::<&RawValue>(&response) {
        Ok(response) => control_response(id, response),
        Err(error) => ServerMessage::error(error.to_string()).to_json(),
    }
}

/// `response` with the client's `id` in place of the relay's.
fn renamed(response: &RawValue, id: &str) -> Box<RawValue> {
    let name = json!(id).to_string();
    let Ok(fields) = entries(response.get()) else { return response.to_owned() };
    let fields = fields.iter().map(|(field, value)| {
        let value = if field == "request_id" { name.as_str() } else { value.get() };
        format!("{}:{value}", json!(field))
    });
    let text = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
    RawValue::from_string(text).unwrap_or_else(|_| response.to_owned())
}

fn control_response(id: &str, response: &RawValue) -> String {
    ServerMessage::ControlResponse { request_id: id.into(), response: Cow::Borrowed(response) }
        .to_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: ConnectionId = ConnectionId(1);

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn a_control_request_is_answered_once_to_the_one_that_asked() {
        let mut requests = ControlRequests::default();
        assert_eq!(requests.register(CLIENT, "mine".into()).unwrap(), "client-1");
        let response = raw(r#"{"subtype":"success","request_id":"client-1"}"#);
        assert_eq!(
            requests.complete("client-1", &response),
            Some((CLIENT, r#"{"type":"control_response","requestId":"mine","response":{"subtype":"success","request_id":"mine"}}"#.into()))
        );
        assert_eq!(requests.complete("client-1", &response), None);
    }

    #[test]
    fn control_requests_are_bounded_and_fail_together() {
        let mut requests = ControlRequests::default();
        for _ in 0..CONTROL_LIMIT {
            assert!(requests.register(CLIENT, "r".into()).is_some());
        }
        assert!(requests.register(CLIENT, "r".into()).is_none());
        let failed = requests.fail_all("the agent has ended");
        assert_eq!(failed.len(), CONTROL_LIMIT);
        assert!(failed[0].1.contains(r#""subtype":"error""#), "{}", failed[0].1);
        assert!(requests.register(CLIENT, "r".into()).is_some());
    }
}
