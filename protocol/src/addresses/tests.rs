use super::*;

fn check(body: &str) -> Result<(), String> {
    let config = QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config;
    config.check_addresses().map_err(|error| error.to_string())
}

#[test]
fn an_address_needs_a_credential_of_its_own() {
    let error = check(r#"{"anthropicBaseUrl":"http://h"}"#).unwrap_err();
    assert_eq!(
        error,
        "anthropicBaseUrl: decides where requests go, and without a credential of its own the server's would be sent there: give anthropicApiKey or anthropicAuthToken or claudeCodeOauthToken along with it"
    );
    for name in [
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_UNIX_SOCKET",
        "ANTHROPIC_BEDROCK_BASE_URL",
        "ANTHROPIC_FOUNDRY_RESOURCE",
        "AWS_ENDPOINT_URL_STS",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
        "CLAUDE_CODE_CUSTOM_OAUTH_URL",
        "CLAUDE_CODE_API_BASE_URL",
        "CLAUDE_CONFIG_DIR",
        "CLOUD_ML_REGION",
        "CODEX_HOME",
        "HOME",
        "HTTPS_PROXY",
        "https_proxy",
        "all_proxy",
        "NODE_EXTRA_CA_CERTS",
        "NODE_TLS_REJECT_UNAUTHORIZED",
        "OPENAI_BASE_URL",
        "SSL_CERT_FILE",
    ] {
        let error = check(&format!(r#"{{"env":{{"{name}":"http://h"}}}}"#)).unwrap_err();
        assert!(error.starts_with(&format!("env.{name}: decides where")), "{error}");
    }
}

#[test]
fn the_credential_has_to_be_the_one_for_the_address() {
    for (body, is_allowed) in [
        (r#"{"anthropicBaseUrl":"http://h","anthropicApiKey":"k"}"#, true),
        (r#"{"anthropicBaseUrl":"http://h","env":{"ANTHROPIC_AUTH_TOKEN":"k"}}"#, true),
        (r#"{"anthropicBaseUrl":"http://h","env":{"ANTHROPIC_AUTH_TOKEN":""}}"#, false),
        (r#"{"anthropicBaseUrl":"http://h","env":{"OPENAI_API_KEY":"k"}}"#, false),
        (r#"{"env":{"HTTPS_PROXY":"http://h","ANTHROPIC_API_KEY":"k"}}"#, true),
        (r#"{"provider":"codex","env":{"HTTPS_PROXY":"http://h","ANTHROPIC_API_KEY":"k"}}"#, false),
        (r#"{"env":{"OPENAI_BASE_URL":"http://h","CODEX_API_KEY":"k"}}"#, true),
        (r#"{"anthropicApiKey":"k","env":{"ANTHROPIC_FOUNDRY_BASE_URL":"http://h"}}"#, false),
        (r#"{"env":{"CLAUDE_CODE_USE_BEDROCK":"1","AWS_BEARER_TOKEN_BEDROCK":"k"}}"#, true),
        (r#"{"env":{"CLAUDE_CODE_USE_VERTEX":"1","AWS_BEARER_TOKEN_BEDROCK":"k"}}"#, false),
        (r#"{"anthropicApiKey":"k"}"#, true),
        (r#"{"env":{"NO_PROXY":"h","TZ":"UTC","ANTHROPIC_MODEL":"m","HTTPS_PROXY":""}}"#, true),
    ] {
        assert_eq!(check(body).is_ok(), is_allowed, "{body}: {:?}", check(body));
    }
}

#[test]
fn no_server_of_a_configuration_is_sent_the_servers_credential() {
    for (body, is_allowed) in [
        (r#"{"mcpServers":{"s":{"type":"http","url":"http://h/${ANTHROPIC_API_KEY}"}}}"#, false),
        (
            r#"{"mcpServers":{"s":{"type":"http","url":"http://h","headers":{"A":"\u0024{OPENAI_API_KEY:-x}"}}}}"#,
            false,
        ),
        (
            r#"{"agents":{"a":{"prompt":"p","mcpServers":[{"s":{"type":"sse","url":"http://${CLAUDE_CODE_OAUTH_TOKEN}"}}]}}}"#,
            false,
        ),
        (
            r#"{"anthropicApiKey":"k","mcpServers":{"s":{"type":"http","url":"http://h/${ANTHROPIC_API_KEY}"}}}"#,
            true,
        ),
        (r#"{"mcpServers":{"s":{"type":"http","url":"http://h/${USER}"}}}"#, true),
        (
            r#"{"agents":{"a":{"description":"${ANTHROPIC_API_KEY}","prompt":"${x.map(y)} ${OPENAI_API_KEY}"}}}"#,
            true,
        ),
        (
            r#"{"agents":{"prompt":{"prompt":"p","mcpServers":[{"prompt":{"type":"http","url":"http://h/${OPENAI_API_KEY}"}}]}}}"#,
            false,
        ),
        (
            r#"{"mcpServers":{"s":{"type":"http","url":"http://h/${ANTHROPIC_API_KEY}","x":1e999}}}"#,
            false,
        ),
    ] {
        assert_eq!(check(body).is_ok(), is_allowed, "{body}: {:?}", check(body));
    }
}

#[test]
fn what_is_replaced_makes_no_other_reference() {
    for (header, is_allowed) in [
        ("${NOPE:-$}{ANTHROPIC_API_KEY}", false),
        ("$${NOPE:-}{ANTHROPIC_API_KEY}", false),
        ("$${NOPE:-{ANTHROPIC_API_KEY}}", false),
        ("${NOPE:-x${ANTHROPIC_API_KEY}}", false),
        ("${A}", false),
        ("${B}{ANTHROPIC_API_KEY}", false),
        ("$${C}", false),
        ("${A${C}}", false),
        ("${NOPE", true),
        ("${NOPE%x} ${not plain}", true),
        ("$ANTHROPIC_API_KEY {ANTHROPIC_API_KEY} $", true),
        ("${USER:-nobody}@${HOST}${PATH}", true),
        ("${C} {x}", true),
    ] {
        let body = serde_json::json!({
            "mcpServers": { "s": { "type": "http", "url": "http://h", "headers": { "x": header } } },
            "env": { "A": "${ANTHROPIC_API_KEY}", "B": "$", "C": "{ANTHROPIC_API_KEY}" },
        });
        let outcome = check(&body.to_string());
        assert_eq!(outcome.is_ok(), is_allowed, "{header}: {outcome:?}");
    }
}

#[test]
fn a_hook_that_sends_a_request_puts_no_credential_of_the_server_in() {
    let own = QueryConfig::parse(br#"{"env":{"OPENAI_API_KEY":"k"}}"#, &QueryConfig::default());
    let own = own.unwrap().config;
    for (names, is_allowed) in [
        (r#"["ANTHROPIC_API_KEY"]"#, false),
        (r#"["USER","AWS_SECRET_ACCESS_KEY"]"#, false),
        (r#"["OPENAI_API_KEY","USER"]"#, true),
    ] {
        for name in NAMES_OF_VARIABLES {
            let settings = format!(r#"{{"hooks":[{{"type":"http","{name}":{names}}}]}}"#);
            let outcome = own.check_settings("settings", &settings);
            assert_eq!(outcome.is_ok(), is_allowed, "{settings}: {outcome:?}");
        }
    }
    assert!(own.check_settings("settings", r#"{"a":"\ud800"}"#).is_err());
}
