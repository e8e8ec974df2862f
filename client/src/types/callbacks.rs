//! Tools and hooks that the program itself runs, for the agent that calls them.

use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::types::agent_request::{AgentAnswer, AgentRequest};
use crate::types::config::Configuration;
use crate::types::raw_json::RawJson;

/// The name of the MCP server that has the program's tools: the agent knows a
/// tool as `mcp__host__NAME`.
const TOOL_SERVER: &str = "host";

/// The version of MCP that is spoken where the agent names none.
const MCP_VERSION: &str = "2025-06-18";

/// The code of JSON-RPC for a method that is not known.
const UNKNOWN_METHOD: i32 = -32601;

type Answering = Pin<Box<dyn Future<Output = Value> + Send>>;

#[derive(Clone)]
struct Tool {
    /// As `tools/list` tells it.
    described: Value,
    call: Arc<dyn Fn(Value) -> Answering + Send + Sync>,
}

#[derive(Clone)]
struct Hook {
    event: String,
    matcher: Option<String>,
    run: Arc<dyn Fn(Value) -> Answering + Send + Sync>,
}

/// Tools and hooks of a program.
#[derive(Clone, Default)]
pub(crate) struct Callbacks {
    tools: Vec<Tool>,
    hooks: Vec<Hook>,
}

impl Callbacks {
    pub(crate) fn add_tool<T, F, R, O, E>(&mut self, name: &str, description: &str, call: F)
    where
        T: DeserializeOwned + JsonSchema,
        F: Fn(T) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, E>> + Send + 'static,
        O: Display,
        E: Display,
    {
        let schema = schemars::schema_for!(T);
        let described = json!({ "name": name, "description": description, "inputSchema": schema });
        let call = move |input: Value| -> Answering {
            let called = serde_json::from_value::<T>(input).map(&call);
            Box::pin(async move {
                match called {
                    Ok(running) => match running.await {
                        Ok(text) => content(&text, false),
                        Err(error) => content(&error, true),
                    },
                    Err(error) => content(&error, true),
                }
            })
        };
        self.tools.push(Tool { described, call: Arc::new(call) });
    }

    pub(crate) fn add_hook<F, R>(&mut self, event: &str, matcher: Option<String>, run: F)
    where
        F: Fn(Value) -> R + Send + Sync + 'static,
        R: Future<Output = Value> + Send + 'static,
    {
        let run = move |input| -> Answering { Box::pin(run(input)) };
        self.hooks.push(Hook { event: event.to_owned(), matcher, run: Arc::new(run) });
    }

    pub(crate) fn has_tools(&self) -> bool {
        !self.tools.is_empty()
    }

    pub(crate) fn has_hooks(&self) -> bool {
        !self.hooks.is_empty()
    }

    /// Names the tools and hooks to the agent.
    pub(crate) fn configure(&self, configuration: &mut Configuration) {
        if self.has_tools() {
            let servers = configuration.sdk_mcp_servers.get_or_insert_default();
            servers.push(TOOL_SERVER.to_owned());
        }
        if !self.has_hooks() {
            return;
        }
        let hooks = configuration.hooks.get_or_insert_with(|| Value::Object(Map::new()));
        for (number, hook) in self.hooks.iter().enumerate() {
            let mut matcher = json!({ "hookCallbackIds": [callback_id(number)] });
            if let Some(pattern) = &hook.matcher {
                matcher["matcher"] = json!(pattern);
            }
            let Value::Object(events) = hooks else { return };
            let event = events.entry(hook.event.clone()).or_insert_with(|| json!([]));
            if let Value::Array(matchers) = event {
                matchers.push(matcher);
            }
        }
    }

    /// Returns the answer to a request for a tool or a hook of this program;
    /// `None` for another request.
    pub(crate) fn answer(
        &self,
        request: &AgentRequest,
    ) -> Option<Pin<Box<dyn Future<Output = AgentAnswer> + Send>>> {
        let parsed: Value = serde_json::from_str(request.request.get()).ok()?;
        match request.subtype.as_str() {
            "mcp_message" if parsed["server_name"] == TOOL_SERVER => {
                let answer = self.mcp(&parsed["message"]);
                Some(Box::pin(async move { response(&json!({ "mcp_response": answer.await })) }))
            }
            "hook_callback" => {
                let mut hooks = self.hooks.iter().enumerate();
                let id = &parsed["callback_id"];
                let (_, hook) = hooks.find(|(number, _)| callback_id(*number) == *id)?;
                let output = (hook.run)(parsed["input"].clone());
                Some(Box::pin(async move { response(&output.await) }))
            }
            _ => None,
        }
    }

    /// Answers a message of MCP.
    fn mcp(&self, message: &Value) -> Answering {
        let id = message["id"].clone();
        // A notification has no answer; the agent wants one all the same.
        if id.is_null() {
            return ready(json!({ "jsonrpc": "2.0", "id": 0, "result": {} }));
        }
        let params = &message["params"];
        let result = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let version = params["protocolVersion"].as_str().unwrap_or(MCP_VERSION);
                ready(json!({
                    "protocolVersion": version,
                    "capabilities": { "tools": {} },
                    "serverInfo": { "name": TOOL_SERVER, "version": env!("CARGO_PKG_VERSION") },
                }))
            }
            "ping" => ready(json!({})),
            "tools/list" => {
                let tools: Vec<&Value> = self.tools.iter().map(|tool| &tool.described).collect();
                ready(json!({ "tools": tools }))
            }
            "tools/call" => {
                match self.tools.iter().find(|tool| tool.described["name"] == params["name"]) {
                    Some(tool) => {
                        let input = params.get("arguments").cloned();
                        (tool.call)(input.unwrap_or_else(|| json!({})))
                    }
                    None => ready(content(&"there is no such tool", true)),
                }
            }
            method => {
                let error = json!({ "code": UNKNOWN_METHOD, "message": format!("no {method}") });
                return ready(json!({ "jsonrpc": "2.0", "id": id, "error": error }));
            }
        };
        Box::pin(async move { json!({ "jsonrpc": "2.0", "id": id, "result": result.await }) })
    }
}

fn callback_id(number: usize) -> String {
    format!("hook_{number}")
}

fn ready(value: Value) -> Answering {
    Box::pin(std::future::ready(value))
}

/// The result of a tool.
fn content(text: &dyn Display, is_error: bool) -> Value {
    json!({ "content": [{ "type": "text", "text": text.to_string() }], "isError": is_error })
}

fn response(value: &Value) -> AgentAnswer {
    AgentAnswer::Response(RawJson::from_value(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, JsonSchema)]
    struct Sum {
        a: i64,
        b: i64,
    }

    fn callbacks() -> Callbacks {
        let mut callbacks = Callbacks::default();
        callbacks.add_tool("add", "Adds", |Sum { a, b }| async move {
            a.checked_add(b).ok_or("it is too large")
        });
        callbacks.add_hook("PreToolUse", Some("Bash".into()), |input| async move {
            json!({ "systemMessage": input["tool_name"] })
        });
        callbacks
    }

    async fn answer(request: Value) -> Value {
        let request = AgentRequest {
            id: "r".into(),
            subtype: request["subtype"].as_str().unwrap().into(),
            request: RawJson::from_value(&request),
        };
        match callbacks().answer(&request).unwrap().await {
            AgentAnswer::Response(response) => serde_json::from_str(response.get()).unwrap(),
            AgentAnswer::Error(error) => panic!("{error}"),
        }
    }

    async fn mcp(method: &str, params: Value) -> Value {
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let request =
            json!({ "subtype": "mcp_message", "server_name": "host", "message": message });
        let answer = answer(request).await["mcp_response"].take();
        assert_eq!((&answer["id"], &answer["jsonrpc"]), (&json!(7), &json!("2.0")));
        answer
    }

    #[tokio::test]
    async fn a_tool_is_listed_with_its_schema_and_called_with_its_type() {
        let started = mcp("initialize", json!({ "protocolVersion": "2025-01-01" })).await;
        assert_eq!(started["result"]["protocolVersion"], "2025-01-01");
        let listed = mcp("tools/list", json!({})).await;
        let tool = &listed["result"]["tools"][0];
        assert_eq!((&tool["name"], &tool["description"]), (&json!("add"), &json!("Adds")));
        assert_eq!(tool["inputSchema"]["required"], json!(["a", "b"]));
        for (arguments, text, is_error) in [
            (json!({ "a": 1, "b": 2 }), "3", false),
            (json!({ "a": i64::MAX, "b": 1 }), "it is too large", true),
            (json!({ "a": 1 }), "missing field `b`", true),
        ] {
            let called = mcp("tools/call", json!({ "name": "add", "arguments": arguments })).await;
            assert_eq!(called["result"]["content"][0]["text"], text);
            assert_eq!(called["result"]["isError"], is_error);
        }
        let unknown = mcp("tools/call", json!({ "name": "none" })).await;
        assert_eq!(unknown["result"]["isError"], true);
        assert_eq!(mcp("prompts/list", json!({})).await["error"]["code"], UNKNOWN_METHOD);
    }

    #[tokio::test]
    async fn a_hook_is_found_by_its_id_and_other_requests_are_left() {
        let input = json!({ "tool_name": "Bash" });
        let request =
            json!({ "subtype": "hook_callback", "callback_id": "hook_0", "input": input });
        assert_eq!(answer(request).await, json!({ "systemMessage": "Bash" }));
        for request in [
            json!({ "subtype": "hook_callback", "callback_id": "hook_1", "input": {} }),
            json!({ "subtype": "mcp_message", "server_name": "other", "message": {} }),
            json!({ "subtype": "elicitation" }),
        ] {
            let subtype = request["subtype"].as_str().unwrap().to_owned();
            let request = RawJson::from_value(&request);
            let request = AgentRequest { id: "r".into(), subtype, request };
            assert!(callbacks().answer(&request).is_none());
        }
    }

    #[test]
    fn the_agent_is_told_of_them_beside_what_is_configured() {
        let mut configuration = Configuration {
            sdk_mcp_servers: Some(vec!["own".into()]),
            hooks: Some(json!({ "PreToolUse": [{ "hookCallbackIds": ["own"] }] })),
            ..Default::default()
        };
        callbacks().configure(&mut configuration);
        assert_eq!(configuration.sdk_mcp_servers.unwrap(), ["own", "host"]);
        let hooks = json!([{ "hookCallbackIds": ["own"] }, { "hookCallbackIds": ["hook_0"], "matcher": "Bash" }]);
        assert_eq!(configuration.hooks.unwrap()["PreToolUse"], hooks);
    }
}
