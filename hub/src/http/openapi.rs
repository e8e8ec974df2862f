//! The OpenAPI document, made from the routes and the types.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::login::{LoggedIn, PinLogin};
use super::rest::ROUTES;
use crate::wire::{
    AgentChanges, AgentInfo, ClientFrame, Decided, DelegationInfo, Event, LogEntry, NewAgent,
    NewDelegation, NewMessage, NewWorkspace, PendingPermission, PermissionAnswer, SpawnInfo,
    WorkspaceInfo,
};

/// Returns the document. It has the frames of the WebSocket among its schemas:
/// `Event` and `ClientFrame`.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    macro_rules! add {
        ($($type:ty),* $(,)?) => { $(let _ = generator.subschema_for::<$type>();)* };
    }
    add!(
        AgentChanges,
        AgentInfo,
        ClientFrame,
        Decided,
        DelegationInfo,
        Event,
        LogEntry,
        LoggedIn,
        NewAgent,
        NewDelegation,
        NewMessage,
        NewWorkspace,
        PendingPermission,
        PermissionAnswer,
        PinLogin,
        SpawnInfo,
        WorkspaceInfo,
    );
    let schemas = Value::Object(generator.take_definitions(true));
    let mut paths = Map::new();
    for route in &ROUTES {
        let mut operation = json!({
            "operationId": route.command,
            "responses": responses(route.answer.map(|(name, is_list)| answer(name, is_list))),
        });
        let parameters = parameters(route.path);
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = route.body {
            operation["requestBody"] = body_of(reference(body));
        }
        add_operation(&mut paths, route.path, route.method.as_str(), operation);
    }
    let login = json!({
        "operationId": "login",
        "security": [],
        "requestBody": body_of(reference("PinLogin")),
        "responses": responses(Some(reference("LoggedIn"))),
    });
    add_operation(&mut paths, "/api/auth/login", "POST", login);
    let file = "/api/agents/{agentId}/files/{path}";
    for (method, id) in [("GET", "read_file"), ("PUT", "write_file"), ("DELETE", "remove_file")] {
        let mut operation = json!({
            "operationId": id,
            "parameters": parameters(file),
            "responses": responses(None),
        });
        if method == "PUT" {
            operation["requestBody"] = json!({ "content": { "application/octet-stream": {} } });
        }
        add_operation(&mut paths, file, method, operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "claude-relay-hub", "version": env!("CARGO_PKG_VERSION") },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    })
}

fn add_operation(paths: &mut Map<String, Value>, path: &str, method: &str, operation: Value) {
    let item = paths.entry(path).or_insert_with(|| json!({}));
    item[method.to_ascii_lowercase()] = operation;
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn answer(name: &str, is_list: bool) -> Value {
    match is_list {
        true => json!({ "type": "array", "items": reference(name) }),
        false => reference(name),
    }
}

fn body_of(schema: Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn responses(schema: Option<Value>) -> Value {
    let schema = schema.unwrap_or_else(|| json!({ "type": "object" }));
    let error = json!({
        "type": "object",
        "properties": { "error": { "type": "string" } },
        "required": ["error"],
    });
    json!({
        "200": { "description": "done", "content": { "application/json": { "schema": schema } } },
        "default": { "description": "refused", "content": { "application/json": { "schema": error } } },
    })
}

fn parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| {
            let kind = if name == "entryId" { "integer" } else { "string" };
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": kind } })
        })
        .collect()
}

/// Names of types that a route mentions are checked against the schemas.
#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    if name == "$ref" {
                        found.push(field.as_str().unwrap().to_owned());
                    }
                    references(field, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_has_its_schema() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
