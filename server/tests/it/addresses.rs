//! A credential goes only to the address that it came with: the server's key
//! is not sent where a client says.

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::{TEST_KEY, TestEnv};
use serde_json::{Value, json};

/// Prints its whole environment and waits.
const TELL: &str = r#"#!/bin/bash
printf '{"type":"given","env":"%s"}\n' "$(env -0 | od -An -tx1 -v | tr -d ' \n')"
exec cat 3>&1 > /dev/null
"#;

/// The server's other credentials.
const OTHERS: [(&str, &str); 4] = [
    ("OPENAI_API_KEY", "server-key-of-openai"),
    ("AWS_BEARER_TOKEN_BEDROCK", "server-key-of-bedrock"),
    ("ANTHROPIC_FOUNDRY_API_KEY", "server-key-of-foundry"),
    ("ANTHROPIC_CUSTOM_HEADERS", "X-Gateway: server-key-of-gateway"),
];

fn start(env: &TestEnv, mode: &'static str, key_proxy: bool) -> Relay {
    let script = env.file("agent-that-tells");
    executable(&script, TELL);
    let mut launch = Launch::new(env)
        .mode(mode)
        .argument("--claude-path")
        .argument(script)
        .argument("--no-auth")
        .variable("ANTHROPIC_API_KEY", TEST_KEY);
    for (name, value) in OTHERS {
        launch = launch.variable(name, value);
    }
    if key_proxy {
        launch = launch.argument("--key-proxy");
    }
    launch.start()
}

async fn post(relay: &Relay, config: &Value) -> http::Response {
    http::post(relay.address(), "/config", &config.to_string()).await
}

#[tokio::test]
async fn the_servers_key_does_not_go_to_a_clients_address() {
    for mode in ["safe", "agentic", "ask", "unrestricted"] {
        for key_proxy in [false, true] {
            let env = TestEnv::new();
            let relay = start(&env, mode, key_proxy);
            for config in [
                json!({ "anthropicBaseUrl": "http://127.0.0.1:1" }),
                json!({ "env": { "ANTHROPIC_BASE_URL": "http://127.0.0.1:1" } }),
                json!({ "env": { "HTTPS_PROXY": "http://127.0.0.1:1" } }),
                json!({ "env": { "https_proxy": "http://127.0.0.1:1" } }),
                json!({ "env": { "CLAUDE_CODE_USE_BEDROCK": "1" } }),
                json!({ "env": { "ANTHROPIC_BEDROCK_BASE_URL": "http://127.0.0.1:1" } }),
                json!({ "env": { "OPENAI_BASE_URL": "http://127.0.0.1:1" } }),
                json!({ "env": { "CLAUDE_CONFIG_DIR": "settings" } }),
                json!({ "anthropicApiKey": "own", "env": { "OPENAI_BASE_URL": "http://127.0.0.1:1" } }),
                json!({ "mcpServers": { "s": { "type": "http", "url": "http://127.0.0.1:1/${ANTHROPIC_API_KEY}" } } }),
            ] {
                let refused = post(&relay, &config).await;
                assert_eq!(refused.status, 400, "{mode} {key_proxy} {config}: {refused:?}");
                let stored = http::get(relay.address(), "/config").await.json();
                assert_eq!(stored["config"], json!({}), "{config}");
            }
            let refused = post(&relay, &json!({ "anthropicBaseUrl": "http://127.0.0.1:1" })).await;
            let error = refused.json()["error"].as_str().expect("a text").to_owned();
            assert!(error.contains("credential") && error.contains("anthropicApiKey"), "{error}");
            relay.stop();
        }
    }
}

#[tokio::test]
async fn an_address_with_its_own_credential_gets_no_other() {
    for key_proxy in [false, true] {
        let env = TestEnv::new();
        let relay = start(&env, "ask", key_proxy);
        let config = json!({ "anthropicBaseUrl": "http://127.0.0.1:1", "anthropicAuthToken": "of-the-client" });
        let taken = post(&relay, &config).await;
        assert_eq!(taken.status, 200, "{taken:?}");
        let mut client = Client::connect(relay.address()).await;
        let frames = client.until(|frame| frame["data"]["type"] == "given").await;
        let hex =
            frames.last().expect("the line")["data"]["env"].as_str().expect("text").to_owned();
        let said: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("two digits"))
            .collect();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(!said.contains(TEST_KEY) && !said.contains("server-key"), "{said}");
        assert_eq!(said.contains("ANTHROPIC_AUTH_TOKEN=of-the-client"), !key_proxy, "{said}");
        client.close().await;
        relay.stop();
    }
}

#[tokio::test]
async fn key_proxy_without_a_token_is_refused_at_start() {
    let env = TestEnv::new();
    let (code, said) = crate::support::relay::refused(&env, &["--key-proxy"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--auth-token") && said.contains("--no-auth"), "{said}");
}
