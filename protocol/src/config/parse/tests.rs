use super::super::MAX_ARGUMENT_BYTES;
use super::*;
use crate::config::fields::{self, FIELDS, Shown};

fn parse(body: &str) -> Result<Parsed, ConfigError> {
    QueryConfig::parse(body.as_bytes(), &QueryConfig::default())
}

fn config(body: &str) -> QueryConfig {
    parse(body).unwrap().config
}

fn error(body: &str) -> String {
    parse(body).unwrap_err().to_string()
}

fn echo(config: &QueryConfig) -> String {
    serde_json::to_string(&config.echo()).unwrap()
}

#[test]
fn text_that_is_not_json_is_invalid_json() {
    let bodies: [&[u8]; 14] = [
        b"",
        b"  ",
        b"{",
        b"{\"a\":1,}",
        b"{\"a\":NaN}",
        b"{'a':1}",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b"{\"model\":\"\xff\"}",
        b"{}{}",
        b"{} x",
        b"{\"a\":01}",
        b"{\"a\":\"\n\"}",
        b"undefined",
    ];
    for body in bodies {
        let error = QueryConfig::parse(body, &QueryConfig::default()).unwrap_err();
        assert_eq!(error.to_string(), "Invalid JSON", "{body:?}");
    }
}

#[test]
fn json_that_is_no_object_is_another_error() {
    for body in ["null", "[]", "5", "\"x\"", "true"] {
        assert_eq!(error(body), "expected a JSON object");
    }
}

#[test]
fn every_known_field_is_checked() {
    // The parser would silently take a field that is listed but not read.
    for field in FIELDS {
        let name = field.name;
        let is_object = field.kind == Kind::Object;
        let wrong = match name {
            "systemPrompt" | "settings" => "7",
            _ if is_object => "7",
            _ => "{\"type\":5}",
        };
        let text = error(&format!("{{\"{name}\":{wrong}}}"));
        let known = text.starts_with(name);
        assert!(known, "{name}: {text}");
    }
}

#[test]
fn every_field_is_parsed_and_echoed_as_its_row_says() {
    for field in FIELDS {
        let Field { name, example, .. } = field;
        let body = format!(r#"{{"{name}":{example}}}"#);
        let parsed = parse(&body).unwrap();
        assert!(parsed.ignored.is_empty(), "{name} is not read");
        if *name == "authToken" {
            assert!(parsed.auth_token.is_some());
            continue;
        }
        assert_ne!(parsed.config, QueryConfig::default(), "{name} is not kept");
        let echo = echo(&parsed.config);
        match field.echo {
            Shown::Whole => assert_eq!(echo, body, "{name} is not echoed"),
            Shown::Nothing => assert_eq!(echo, "{}", "{name} is echoed"),
            Shown::Masked => {
                assert!(echo.contains(name), "{name} is not echoed");
                assert!(!echo.contains("pw"), "{name} is echoed with its secret");
            }
        }
        let null = format!(r#"{{"{name}":null}}"#);
        let after = QueryConfig::patch(null.as_bytes(), &parsed.config).unwrap().config;
        assert_eq!(after, QueryConfig::default(), "{name} is not removed by a patch");
        let same = QueryConfig::patch(b"{}", &parsed.config).unwrap().config;
        assert_eq!(same, parsed.config, "{name} is lost by a patch");
    }
}

#[test]
fn the_documentation_has_the_table_of_fields() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once("<!-- fields -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- end of fields -->").unwrap();
    let expected = fields::markdown_table();
    assert!(table == expected, "docs/configuration.md needs this table:\n{expected}");
}

#[test]
fn the_names_of_a_choice_are_those_that_are_read() {
    for field in FIELDS {
        let Kind::OneOf(names) = field.kind else { continue };
        for name in names {
            let body = format!(r#"{{"{}":"{name}"}}"#, field.name);
            assert!(parse(&body).is_ok(), "{body}");
        }
    }
}

#[test]
fn a_value_that_is_passed_on_is_checked_by_its_kind() {
    for (body, text) in [
        (r#"{"betas":["a",1]}"#, "betas[1]: expected a string"),
        (r#"{"betas":["\u0000"]}"#, "betas: holds a NUL character"),
        (r#"{"includeHookEvents":"yes"}"#, "includeHookEvents: expected true or false"),
    ] {
        assert_eq!(error(body), text);
    }
}

#[test]
fn errors_name_the_field_by_its_path() {
    for (body, text) in [
        (r#"{"allowedTools":["a",5]}"#, "allowedTools[1]: expected a string"),
        (r#"{"allowedTools":"x"}"#, "allowedTools: expected an array of strings"),
        (r#"{"agents":[]}"#, "agents: expected an object"),
        (r#"{"agents":{"a":"x"}}"#, "agents.a: expected an object"),
        (
            r#"{"agents":{"a":{"mcpServers":[{"s":{"type":"http"}}]}}}"#,
            "agents.a.mcpServers[0].s.url: expected a string",
        ),
        (
            r#"{"systemPrompt":{"type":"preset","preset":"claude_code","append":1}}"#,
            "systemPrompt.append: expected a string",
        ),
        (r#"{"systemPrompt":{"type":"bad"}}"#, "systemPrompt.type: expected \"preset\""),
        (
            r#"{"mcpServers":{"x":{"type":"http","url":"http://h","headers":{"A":1}}}}"#,
            "mcpServers.x.headers.A: expected a string",
        ),
        (r#"{"mcpServers":{"x":{}}}"#, "mcpServers.x.command: expected a string"),
        (r#"{"mcpServers":{"x":{"type":"ws"}}}"#, "mcpServers.x.url: expected a string"),
        (
            r#"{"mcpServers":{"x":{"type":"of-tomorrow","url":5}}}"#,
            "mcpServers.x.url: expected a string",
        ),
        (r#"{"maxTurns":0}"#, "maxTurns: expected a whole number of at least 1"),
        (r#"{"maxThinkingTokens":-1}"#, "maxThinkingTokens: expected a whole number of at least 0"),
        (r#"{"maxBudgetUsd":1e400}"#, "maxBudgetUsd: expected a number above 0"),
        (r#"{"outputFormat":{"type":"text"}}"#, "outputFormat.type: expected \"json_schema\""),
        (
            r#"{"outputFormat":{"type":"json_schema","schema":[]}}"#,
            "outputFormat.schema: expected an object",
        ),
        (
            r#"{"settingSources":["managed"]}"#,
            "settingSources[0]: expected one of \"user\", \"project\", \"local\"",
        ),
        (r#"{"cwd":""}"#, "cwd: a path cannot be empty"),
        (r#"{"model":"a\u0000b"}"#, "model: holds a NUL character"),
        (r#"{"agents":{"a":{"prompt":"\u0000"}}}"#, "agents: holds a NUL character"),
        (
            r#"{"agents":{"a":{"model":"\ud800"}}}"#,
            "agents: holds half of a surrogate pair, which is no character",
        ),
        (r#"{"model":"a","fallbackModel":"a"}"#, "fallbackModel: must be another model than model"),
        (
            r#"{"anthropicApiKey":"***"}"#,
            "anthropicApiKey: \"***\" keeps the value that is set already, and none is",
        ),
        (
            r#"{"anthropicApiKey":"k","env":{"ANTHROPIC_API_KEY":"l"}}"#,
            "env.ANTHROPIC_API_KEY: anthropicApiKey sets the same variable; give one of the two",
        ),
        (
            r#"{"anthropicBaseUrl":"ftp://h"}"#,
            "anthropicBaseUrl: expected an http or https address",
        ),
    ] {
        assert_eq!(error(body), text, "{body}");
    }
}

#[test]
fn the_originals_example_is_echoed_without_its_key() {
    let body = r#"{"systemPrompt":"You are a helpful assistant.",
        "allowedTools":["read_file","write_file"],"anthropicApiKey":"sk-ant-1",
        "model":"m","agents":{"myAgent":{"name":"My Custom Agent","description":"A custom agent"}}}"#;
    assert_eq!(
        echo(&config(body)),
        r#"{"agents":{"myAgent":{"name":"My Custom Agent","description":"A custom agent"}},"allowedTools":["read_file","write_file"],"systemPrompt":"You are a helpful assistant.","model":"m"}"#
    );
}

#[test]
fn the_originals_client_posts_more_than_is_kept() {
    let body =
        r#"{"e2bApiKey":"e2b_1","template":"t","timeoutMs":300000,"debug":true,"model":"m"}"#;
    let parsed = parse(body).unwrap();
    assert_eq!(parsed.ignored, ["e2bApiKey", "template", "timeoutMs", "debug"]);
    assert_eq!(echo(&parsed.config), r#"{"model":"m"}"#);
}

#[test]
fn ignored_names_are_bounded() {
    let fields: Vec<_> = (0..100).map(|n| format!("\"{n}{}\":0", "x".repeat(100))).collect();
    let ignored = parse(&format!("{{{}}}", fields.join(","))).unwrap().ignored;
    assert_eq!(ignored.len(), MAX_IGNORED + 1);
    assert_eq!(ignored[MAX_IGNORED], "and 68 more");
    assert!(ignored.iter().all(|name| name.chars().count() <= 51));
}

#[test]
fn null_is_not_set_and_the_last_of_duplicates_counts() {
    let all: Vec<_> = FIELDS.iter().map(|Field { name, .. }| format!("\"{name}\":null")).collect();
    assert_eq!(parse(&format!("{{{}}}", all.join(","))).unwrap(), parse("{}").unwrap());
    assert_eq!(config(r#"{"model":5,"model":"b"}"#).model.as_deref(), Some("b"));
    assert_eq!(config(r#"{"model":"a","\u006dodel":null}"#).model, None);
}

#[test]
fn depth_is_bounded() {
    let nested = |n: usize| format!("{{\"x\":{}{}}}", "[".repeat(n), "]".repeat(n));
    assert!(parse(&nested(MAX_DEPTH - 1)).is_ok());
    assert_eq!(parse(&nested(MAX_DEPTH)).unwrap_err(), ConfigError::TooDeep);
    assert_eq!(parse(&nested(400_000)).unwrap_err(), ConfigError::TooDeep);
}

#[test]
fn a_value_for_the_command_line_must_fit_there() {
    let long = "x".repeat(MAX_ARGUMENT_BYTES + 1);
    for (body, path) in [
        (format!(r#"{{"model":"{long}"}}"#), "model: "),
        (format!(r#"{{"allowedTools":["{long}"]}}"#), "allowedTools[0]: "),
        (format!(r#"{{"allowedTools":["{}","{}"]}}"#, &long[1..], &long[1..]), "allowedTools: "),
        (
            format!(r#"{{"outputFormat":{{"type":"json_schema","schema":{{"a":"{long}"}}}}}}"#),
            "outputFormat.schema: ",
        ),
        (format!(r#"{{"env":{{"A":"{long}"}}}}"#), "env.A: "),
    ] {
        let text = error(&body);
        assert!(text.starts_with(path) && text.len() < 200, "{text}");
    }
    // These go over standard input or a file.
    assert!(parse(&format!(r#"{{"systemPrompt":"{long}"}}"#)).is_ok());
    assert!(parse(&format!(r#"{{"agents":{{"a":{{"prompt":"{long}"}}}}}}"#)).is_ok());
}

#[test]
fn variables_that_would_undo_something_are_refused() {
    for name in [
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "PATH",
        "NODE_OPTIONS",
        "BUN_OPTIONS",
        "RELAY_MODE",
        "HOST",
        "PORT",
        "CLAUDE_PATH",
        "CODEX_PATH",
        "IS_SANDBOX",
        "CLAUDECODE",
        "A=B",
        "",
        "a b",
        "\\n",
    ] {
        let text = error(&format!(r#"{{"env":{{"{name}":"hunter2"}}}}"#));
        assert!(text.starts_with("env."), "{name}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    assert!(parse(r#"{"env":{"HTTPS_PROXY":"http://p","PORTAL":"x","LDFLAGS":""}}"#).is_ok());
}

#[test]
fn server_of_a_type_that_is_not_known_is_passed_on() {
    for server in [
        r#"{"type":"streamable-http","url":"http://h/mcp"}"#,
        r#"{"type":"ws","url":"ws://h/mcp"}"#,
        r#"{"type":"of-tomorrow","place":"x","headers":{"A":"canary"}}"#,
    ] {
        let config = config(&format!(r#"{{"mcpServers":{{"x":{server}}}}}"#));
        assert_eq!(config.mcp_servers.as_ref().unwrap().expose(), format!(r#"{{"x":{server}}}"#));
        assert!(!echo(&config).contains("canary"));
    }
}

#[test]
fn nested_json_keeps_its_order_and_spelling() {
    let body = "{\"agents\":{\"b\":{\"z\": 1.0,\n\"a\":[1e400,\"\\u2028\"]},\"a\":{}},
        \"outputFormat\":{\"schema\":{\"b\": 1.50, \"a\":\"\\/\"},\"type\":\"json_schema\"}}";
    let config = config(body);
    assert_eq!(
        config.agents.as_ref().unwrap().expose(),
        "{\"b\":{\"z\":1.0,\"a\":[1e400,\"\\u2028\"]},\"a\":{}}"
    );
    assert_eq!(config.output_schema.as_ref().unwrap().get(), r#"{"b":1.50,"a":"\/"}"#);
    assert!(echo(&config).contains(r#""schema":{"b":1.50,"a":"\/"}"#));
}

/// Every place of a secret, each with the mark `canary-`.
const SECRETS: &str = r#"{
    "anthropicApiKey":"canary-1","claudeCodeOauthToken":"canary-2","anthropicAuthToken":"canary-3",
    "anthropicBaseUrl":"https://u:canary-4@h.example/x?k=canary-5","authToken":"canary-6",
    "env":{"A":"canary-7"},
    "mcpServers":{
        "h":{"type":"http","url":"https://canary-8@h/?t=canary-9","headers":{"X":"canary-10"},"timeout":1},
        "s":{"command":"run","args":["x"],"env":{"K":"canary-11"}}},
    "agents":{"a":{"prompt":"p","mcpServers":["h",{"i":{"type":"sse","url":"http://i","headers":{"Y":"canary-12"}}}]}}}"#;

#[test]
fn no_secret_is_shown() {
    let parsed = parse(SECRETS).unwrap();
    let shown = echo(&parsed.config);
    assert!(!shown.contains("canary"), "{shown}");
    assert!(!format!("{parsed:?}").contains("canary"));
    assert_eq!(
        shown,
        r#"{"agents":{"a":{"prompt":"p","mcpServers":["h",{"i":{"type":"sse","url":"http://i","headers":{"Y":"***"}}}]}},"mcpServers":{"h":{"type":"http","url":"https://***@h/?t=***","headers":{"X":"***"},"timeout":1},"s":{"command":"run","args":["x"],"env":{"K":"***"}}},"env":{"A":"***"},"anthropicBaseUrl":"https://***@h.example/x?k=***"}"#
    );
}

#[test]
fn masked_secrets_posted_back_change_nothing() {
    let before = config(SECRETS);
    let mut body: serde_json::Value = serde_json::from_str(&echo(&before)).unwrap();
    for field in ["anthropicApiKey", "claudeCodeOauthToken", "anthropicAuthToken", "authToken"] {
        body[field] = MASK.into();
    }
    let after = QueryConfig::parse(body.to_string().as_bytes(), &before).unwrap();
    assert_eq!(after.config, before);
    assert_eq!(after.auth_token, None);
    // A secret that is left out is removed: a POST replaces the whole
    // configuration.
    let after = QueryConfig::parse(b"{}", &before).unwrap();
    assert_eq!(after.config, QueryConfig::default());
}

#[test]
fn a_mask_sends_no_secret_to_another_address() {
    let before = config(SECRETS);
    for body in [
        r#"{"anthropicApiKey":"***","anthropicBaseUrl":"https://evil.example"}"#,
        r#"{"anthropicApiKey":"***","env":{"ANTHROPIC_BASE_URL":"https://evil.example"}}"#,
        r#"{"anthropicApiKey":"***"}"#,
        r#"{"anthropicBaseUrl":"https://***@evil.example/x?k=***"}"#,
        r#"{"mcpServers":{"h":{"type":"http","url":"https://evil.example","headers":{"X":"***"}}}}"#,
        r#"{"mcpServers":{"h":{"type":"http","url":"https://***@evil.example/?t=***","headers":{"X":"***"}}}}"#,
        r#"{"mcpServers":{"s":{"command":"evil","args":["x"],"env":{"K":"***"}}}}"#,
        r#"{"mcpServers":{"s":{"command":"run","args":["y"],"env":{"K":"***"}}}}"#,
        r#"{"mcpServers":{"t":{"command":"run","env":{"K":"***"}}}}"#,
        r#"{"env":{"B":"***"}}"#,
    ] {
        let error = QueryConfig::parse(body.as_bytes(), &before).unwrap_err().to_string();
        assert!(error.contains("***") && !error.contains("canary"), "{body}: {error}");
    }
}

#[test]
fn equality_sees_secrets_and_no_white_space() {
    assert_eq!(
        config(r#"{"agents":{"a":{"prompt":"x y"}}}"#),
        config("{\n \"agents\" : { \"a\": {\"prompt\":\"x y\"} } }")
    );
    assert_ne!(config(r#"{"env":{"A":"1"}}"#), config(r#"{"env":{"A":"2"}}"#));
    assert_ne!(config(r#"{"anthropicApiKey":"1"}"#), config(r#"{"anthropicApiKey":"2"}"#));
}

#[test]
fn an_auth_token_is_no_part_of_the_configuration() {
    let parsed = parse(r#"{"authToken":"t0ken-of-8"}"#).unwrap();
    assert_eq!(parsed.auth_token.unwrap().expose(), "t0ken-of-8");
    assert_eq!(parsed.config, QueryConfig::default());
    assert!(parsed.ignored.is_empty());
    for token in ["", "a b", "ä", "a\\n"] {
        let text = error(&format!(r#"{{"authToken":"{token}"}}"#));
        assert!(text.starts_with("authToken: must be"), "{text}");
    }
}
