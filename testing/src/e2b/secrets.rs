//! Secrets of the account.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::e2b::reply::Reply;
use crate::e2b::state::{State, rfc3339};

/// Answers a request below `/secrets`; `rest` are the other names of its path.
pub(crate) fn answer(state: &mut State, method: &str, rest: &[&str], body: &Value) -> Reply {
    let found = rest.first().and_then(|wanted| {
        let wanted = wanted.to_lowercase();
        state.secrets.iter().position(|(secret, _)| {
            secret["name"] == wanted.as_str() || secret["secretID"] == wanted.as_str()
        })
    });
    let value = body["value"].as_str().unwrap_or_default().to_owned();
    match (method, rest, found) {
        ("GET", [], _) => {
            Reply::json(200, &state.secrets.iter().map(|(secret, _)| secret.clone()).collect())
        }
        ("POST", [], _) => {
            let name = body["name"].as_str().unwrap_or_default().to_lowercase();
            if state.secrets.iter().any(|(secret, _)| secret["name"] == name.as_str()) {
                return Reply::refuse(409, "a secret with this name exists");
            }
            let now = rfc3339(SystemTime::now());
            let secret = json!({
                "secretID": format!("sec_{}", state.secrets.len()), "name": name,
                "currentVersion": 1, "createdAt": now, "updatedAt": now,
                "metadata": body.get("metadata").cloned().unwrap_or_else(|| json!({})),
            });
            state.secrets.push((secret.clone(), value));
            Reply::json(201, &secret)
        }
        (_, [_], None) => Reply::refuse(404, "secret not found"),
        ("GET", [_], Some(at)) => Reply::json(200, &state.secrets[at].0),
        ("POST", [_], Some(at)) => {
            let (secret, old) = &mut state.secrets[at];
            *old = value;
            secret["currentVersion"] = (secret["currentVersion"].as_i64().unwrap() + 1).into();
            if let Some(metadata) = body.get("metadata") {
                secret["metadata"] = metadata.clone();
            }
            Reply::json(200, secret)
        }
        ("DELETE", [_], Some(at)) => {
            state.secrets.remove(at);
            Reply::empty(204)
        }
        _ => Reply::refuse(405, "method not allowed"),
    }
}
