//! The commands as REST. A route names a command; the parts of its path and the
//! fields of the body are the fields of the frame.

use std::sync::Arc;

use claude_relay_listen::answer::{Answer, Refusal, json_answer};
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::hub::Hub;
use crate::wire::Command;

/// A route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    /// The path; parts in braces are fields of the command.
    pub(super) path: &'static str,
    /// The `type` of the command.
    pub(super) command: &'static str,
    /// The type of the body, in the schema.
    pub(super) body: Option<&'static str>,
    /// The type of the answer, in the schema, and if it is a list of them.
    pub(super) answer: Option<(&'static str, bool)>,
}

const fn route(
    method: Method,
    path: &'static str,
    command: &'static str,
    body: Option<&'static str>,
    answer: Option<(&'static str, bool)>,
) -> Route {
    Route { method, path, command, body, answer }
}

/// All commands that have a route.
pub(super) static ROUTES: [Route; 20] = [
    route(Method::GET, "/api/workspaces", "list_workspaces", None, Some(("WorkspaceInfo", true))),
    route(
        Method::POST,
        "/api/workspaces",
        "create_workspace",
        Some("NewWorkspace"),
        Some(("WorkspaceInfo", false)),
    ),
    route(Method::DELETE, "/api/workspaces/{workspaceId}", "remove_workspace", None, None),
    route(Method::POST, "/api/workspaces/{workspaceId}/reset", "reset_workspace", None, None),
    route(Method::GET, "/api/agents", "list_agents", None, Some(("AgentInfo", true))),
    route(
        Method::POST,
        "/api/agents",
        "create_agent",
        Some("NewAgent"),
        Some(("AgentInfo", false)),
    ),
    route(Method::GET, "/api/agents/{agentId}", "get_agent", None, Some(("AgentInfo", false))),
    route(
        Method::PATCH,
        "/api/agents/{agentId}",
        "configure_agent",
        Some("AgentChanges"),
        Some(("AgentInfo", false)),
    ),
    route(Method::DELETE, "/api/agents/{agentId}", "remove_agent", None, None),
    route(Method::POST, "/api/agents/{agentId}/messages", "send_message", Some("NewMessage"), None),
    route(Method::POST, "/api/agents/{agentId}/interrupt", "interrupt_agent", None, None),
    route(Method::POST, "/api/agents/{agentId}/stop", "stop_agent", None, None),
    route(Method::GET, "/api/agents/{agentId}/log", "get_log", None, Some(("LogEntry", true))),
    route(Method::POST, "/api/agents/{agentId}/log/{entryId}/hide", "hide_log_entry", None, None),
    route(
        Method::POST,
        "/api/agents/{agentId}/delegations",
        "delegate",
        Some("NewDelegation"),
        Some(("DelegationInfo", false)),
    ),
    route(
        Method::GET,
        "/api/delegations",
        "list_delegations",
        None,
        Some(("DelegationInfo", true)),
    ),
    route(
        Method::GET,
        "/api/permissions",
        "list_permissions",
        None,
        Some(("PendingPermission", true)),
    ),
    route(
        Method::POST,
        "/api/permissions/{requestId}",
        "permission_response",
        Some("PermissionAnswer"),
        None,
    ),
    route(
        Method::GET,
        "/api/spawn-requests",
        "list_spawn_requests",
        None,
        Some(("SpawnInfo", true)),
    ),
    route(
        Method::POST,
        "/api/spawn-requests/{requestId}",
        "spawn_response",
        Some("Decided"),
        Some(("SpawnInfo", false)),
    ),
];

/// Reason for which no route serves a request.
#[derive(Debug)]
pub(super) enum NoRoute {
    Unknown,
    /// The methods that the path has.
    Method(String),
}

/// A request that has a route.
#[derive(Debug)]
pub(super) struct Rest {
    command: &'static str,
    has_body: bool,
    fields: Map<String, Value>,
}

impl Rest {
    pub(super) fn find(method: &Method, path: &str) -> Result<Self, NoRoute> {
        let mut methods = Vec::new();
        for route in &ROUTES {
            let Some(fields) = fields(route.path, path) else { continue };
            if route.method == *method || (route.method == Method::GET && *method == Method::HEAD) {
                let has_body = route.body.is_some();
                return Ok(Self { command: route.command, has_body, fields });
            }
            methods.push(route.method.as_str());
        }
        match methods.is_empty() {
            true => Err(NoRoute::Unknown),
            false => Err(NoRoute::Method(methods.join(", "))),
        }
    }

    pub(super) async fn answer(self, hub: &Arc<Hub>, body: &[u8]) -> Result<Answer, Refusal> {
        let bad = |error: String| Refusal::new(StatusCode::BAD_REQUEST, error);
        let mut frame = match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) if self.has_body => fields,
            Ok(_) | Err(_) if !self.has_body => Map::new(),
            Ok(_) => return Err(bad("expected a JSON object".into())),
            Err(_) => return Err(bad("Invalid JSON".into())),
        };
        // The path and the route decide, whatever the body says.
        frame.extend(self.fields);
        frame.insert("type".into(), self.command.into());
        let command: Command =
            serde_json::from_value(Value::Object(frame)).map_err(|error| bad(error.to_string()))?;
        match hub.execute(command).await {
            Ok(answer) => Ok(json_answer(StatusCode::OK, &answer)),
            Err(error) => Err(Refusal::new(error.status(), error.to_string())),
        }
    }
}

/// The fields in a path, if it is one of the route.
fn fields(route: &str, path: &str) -> Option<Map<String, Value>> {
    let (mut route, mut path) = (route.split('/'), path.split('/'));
    let mut fields = Map::new();
    loop {
        match (route.next(), path.next()) {
            (None, None) => return Some(fields),
            (Some(wanted), Some(given)) => {
                let name = wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
                match name {
                    Some("entryId") => {
                        fields.insert("entryId".into(), given.parse::<u64>().ok()?.into());
                    }
                    Some(name) if !given.is_empty() => {
                        let value = percent_decode_str(given).decode_utf8().ok()?;
                        fields.insert(name.into(), value.into());
                    }
                    None if wanted == given => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gives_the_fields_of_the_command() {
        let rest = Rest::find(&Method::POST, "/api/agents/a%20b/log/7/hide").unwrap();
        assert_eq!(rest.command, "hide_log_entry");
        assert_eq!((&rest.fields["agentId"], &rest.fields["entryId"]), (&"a b".into(), &7.into()));
        let wrong = Rest::find(&Method::PUT, "/api/agents/a").unwrap_err();
        assert!(matches!(wrong, NoRoute::Method(methods) if methods == "GET, PATCH, DELETE"));
        for unknown in ["/api", "/api/agents/", "/api/agents/a/log/x/hide", "/api/agents/a/b/c"] {
            assert!(
                matches!(Rest::find(&Method::GET, unknown), Err(NoRoute::Unknown)),
                "{unknown}"
            );
        }
    }
}
