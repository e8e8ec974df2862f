//! MCP servers as people write them in `.mcp.json`: what the CLI takes is
//! taken, and what it leaves out is told.

use crate::support::cli_fixture::CliFixture;
use crate::support::http;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::{Value, json};

for_both_clis! {
    every_form_is_taken_or_told_of,
}

/// Names and forms. The addresses lead nowhere: a server that fails is there.
fn forms() -> Vec<(&'static str, Value)> {
    let url = "http://127.0.0.1:9/mcp";
    vec![
        ("npx", json!({"command":"npx","args":["-y","@scope/server","/tmp"]})),
        ("stdio", json!({"type":"stdio","command":"true","args":[],"env":{"K":"v"}})),
        ("http", json!({"type":"http","url":url,"headers":{"Authorization":"Bearer x"}})),
        ("sse", json!({"type":"sse","url":"http://127.0.0.1:9/sse"})),
        ("streamable", json!({"type":"streamable-http","url":url})),
        ("ws", json!({"type":"ws","url":"ws://127.0.0.1:9/mcp"})),
        ("helper", json!({"type":"http","url":url,"headersHelper":"/bin/true"})),
        ("oauth", json!({"type":"http","url":url,"oauth":{"clientId":"c","callbackPort":3118}})),
        ("timeout", json!({"command":"true","timeout":5000})),
        ("name with blanks", json!({"command":"true"})),
        ("disabled", json!({"command":"true","disabled":true})),
        ("others", json!({"command":"true","alwaysAllow":["x"],"autoApprove":[]})),
        ("camel", json!({"type":"streamableHttp","url":url})),
        ("pigeon", json!({"type":"carrier-pigeon","url":url})),
        ("url only", json!({"url":url})),
        ("no command", json!({"type":"stdio","args":["x"]})),
        ("no url", json!({"type":"http"})),
        ("empty", json!({})),
        ("bad timeout", json!({"command":"true","timeout":"soon"})),
        ("bad args", json!({"command":"true","args":"x"})),
        ("in process", json!({"type":"sdk","name":"x"})),
    ]
}

async fn every_form_is_taken_or_told_of(cli: Cli) {
    let fixture = CliFixture::start(cli).await;
    let (mut taken, mut told) = (serde_json::Map::new(), Vec::new());
    for (name, form) in forms() {
        let body = json!({ "mcpServers": { name: form } }).to_string();
        let answer = http::post(fixture.relay.address(), "/config", &body).await;
        if answer.status == 400 {
            assert!(answer.body.contains(&format!("mcpServers.{name}.")), "{}", answer.body);
            told.push(name);
            continue;
        }
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        if answer.json()["reasons"][format!("mcpServers.{name}")].is_string() {
            told.push(name);
        }
        taken.insert(name.to_owned(), form);
    }
    let refused = ["url only", "no command", "no url", "empty", "bad timeout", "bad args"];
    assert_eq!(told, [&["camel", "pigeon"][..], &refused, &["in process"]].concat());

    // All that was taken goes to the CLI at once.
    let body = json!({ "mcpServers": taken }).to_string();
    let answer = http::post(fixture.relay.address(), "/config", &body).await;
    assert_eq!(answer.json()["applies"], "next_start", "{}", answer.body);
    fixture.client.close().await;
    let mut client = crate::support::ws::Client::connect(fixture.relay.address()).await;
    let expected: Vec<_> =
        taken.keys().filter(|name| !told.contains(&name.as_str())).cloned().collect();
    wait::until_async("the servers", async || {
        client
            .send(&json!({"type":"control_request","requestId":"s","request":{"subtype":"mcp_status"}}))
            .await;
        let is_answer = |frame: &Value| frame["type"] == "control_response";
        let answer = client.until(is_answer).await.pop().expect("a frame");
        let servers = answer["response"]["response"]["mcpServers"].as_array().cloned();
        let names: Vec<_> = servers
            .into_iter()
            .flatten()
            .map(|server| server["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        names == expected
    })
    .await;
    client.close().await;
    fixture.relay.stop();
}
