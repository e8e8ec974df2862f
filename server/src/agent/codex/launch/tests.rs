use super::*;
use crate::agent::codex::fence::Fence;

fn config(text: &str) -> QueryConfig {
    QueryConfig::parse(text.as_bytes(), &QueryConfig::default()).unwrap().config
}

fn location() -> Location {
    Location { workspace: "/w".into(), cwd: "/w".into(), fence: Fence::Own(Vec::new()) }
}

fn asked(text: &str, mode: Mode) -> String {
    let is_trusted = mode == Mode::Unrestricted;
    Value::from(thread(&config(text), mode, is_trusted, &location())).to_string()
}

#[test]
fn the_configuration_becomes_a_thread() {
    assert_eq!(
        asked("{}", Mode::Ask),
        r#"{"cwd":"/w","config":{"projects":{"/w":{"trust_level":"untrusted"},"/":{"trust_level":"untrusted"}}}}"#
    );
    assert_eq!(
        asked(
            r#"{"model":"m","systemPrompt":"be brief","effort":"low","permissionMode":"plan",
                "mcpServers":{"a":{"command":"x","args":["y"],"env":{"K":"v"}},
                              "b":{"type":"http","url":"http://h/","headers":{"H":"v"}},
                              "c":{"type":"sse","url":"http://h/"}}}"#,
            Mode::Unrestricted
        ),
        r#"{"cwd":"/w","model":"m","baseInstructions":"be brief","config":{"projects":{"/w":{"trust_level":"trusted"}},"model_reasoning_effort":"low","mcp_servers":{"a":{"command":"x","args":["y"],"env":{"K":"v"}},"b":{"url":"http://h/","http_headers":{"H":"v"}}}}}"#
    );
    let narrow = asked(
        r#"{"systemPrompt":{"type":"preset","preset":"claude_code","append":"more"}}"#,
        Mode::Safe,
    );
    let expected = r#"{"cwd":"/w","developerInstructions":"more","environments":[],"config":{"#;
    assert!(narrow.starts_with(expected), "{narrow}");
}

#[test]
fn ignored_fields_have_reasons() {
    let mapped = r#"{"model":"m","env":{"A":"b"},"persistSession":false}"#;
    assert!(ignored(&config(mapped)).is_empty());
    assert_eq!(
        ignored(&config(r#"{"maxTurns":3,"anthropicApiKey":"sk-secret"}"#)),
        [
            "maxTurns: Codex does not count the steps of a turn",
            "anthropicApiKey: a credential for Claude; Codex logs in with its own"
        ]
    );
    assert_eq!(
        ignored(&config(r#"{"mcpServers":{"c":{"type":"sse","url":"http://h/"}}}"#)).len(),
        1
    );
}

#[test]
fn the_environment_excludes_variables_of_claude_and_the_relay() {
    let inherited = [
        ("ANTHROPIC_API_KEY", "a"),
        ("RELAY_AUTH_TOKEN", "b"),
        ("E2B_API_KEY", "c"),
        ("OPENAI_API_KEY", "d"),
        ("HOME", "/h"),
    ]
    .map(|(name, value)| (name.into(), value.into()));
    let env = variables(&config(r#"{"env":{"EDITOR":"ed"}}"#), &inherited);
    let expected = [("EDITOR", "ed"), ("HOME", "/h"), ("NO_COLOR", "1"), ("OPENAI_API_KEY", "d")];
    assert_eq!(env, expected.map(|(name, value)| (name.into(), value.into())));
}

#[test]
fn commands_do_not_inherit_secrets() {
    assert_eq!(
        arguments(false, &location())[1],
        r#"shell_environment_policy.exclude=["*KEY*","*TOKEN*","*SECRET*","*PASSWORD*","*PASSWD*","*CREDENTIAL*"]"#
    );
}
