//! The environment of the agent.

use super::*;

#[test]
fn root_without_checks_needs_a_sandbox() {
    let mut fixture = fixture(Mode::Unrestricted);
    fixture.settings.is_root = true;
    let none = QueryConfig::default();
    let plan = config(r#"{"permissionMode":"plan"}"#);
    for config in [&none, &plan] {
        let error = launch(config, &fixture.settings, None).unwrap_err();
        assert!(matches!(error, LaunchError::Root) && error.to_string().contains("--mode ask"));
    }

    fixture.settings.in_sandbox = true;
    let sandboxed = launch(&none, &fixture.settings, None).unwrap();
    assert_eq!(env(&sandboxed, "IS_SANDBOX"), Some("1"));

    fixture.settings.in_sandbox = false;
    fixture.settings.environment = vec![("IS_SANDBOX".into(), "1".into())];
    assert!(launch(&none, &fixture.settings, None).is_ok());

    // The variable is set only if it is needed.
    fixture.settings = LaunchSettings { in_sandbox: true, environment: vec![], ..fixture.settings };
    for (mode, is_root) in [(Mode::Unrestricted, false), (Mode::Ask, true), (Mode::Safe, true)] {
        let settings = LaunchSettings { mode, is_root, ..fixture.settings.clone() };
        let launch = launch(&none, &settings, None).unwrap();
        assert_eq!(env(&launch, "IS_SANDBOX"), None, "{mode} {is_root}");
    }
}

#[test]
fn removed_variables_are_not_inherited() {
    let mut fixture = fixture(Mode::Ask);
    let mut names: Vec<String> =
        REMOVED.iter().map(|(pattern, _)| pattern.replace('*', "_X")).collect();
    names.push("RELAY_AUTH_TOKEN".into());
    let removed = names.iter().map(|name| (name.into(), "canary".into()));
    let kept = ["PATH", "HOME", "HTTPS_PROXY", "HOSTNAME", "ANTHROPIC_BASE_URL", "XRELAY_"];
    let kept = kept.map(|name| (OsString::from(name), OsString::from("kept")));
    fixture.settings.environment = removed.chain(kept.clone()).collect();
    let none = QueryConfig::default();
    let launched = launch(&none, &fixture.settings, None).unwrap();
    assert!(launched.env.iter().all(|(_, value)| value != "canary"), "{:?}", launched.env);
    for (name, value) in kept {
        assert_eq!(env(&launched, name.to_str().unwrap()), value.to_str());
    }
    for (name, value, _) in SET {
        assert_eq!(env(&launched, name), Some(value));
    }
    assert_eq!(env(&launched, "DISABLE_AUTOUPDATER"), Some("1"));
    // Also `CLAUDE_CODE_DISABLE_AUTO_MEMORY`.
    assert_eq!(launched.env.len(), 6 + SET.len() + 2);

    fixture.settings.environment = vec![("DISABLE_AUTOUPDATER".into(), "0".into())];
    let launched = launch(&none, &fixture.settings, None).unwrap();
    assert_eq!(env(&launched, "DISABLE_AUTOUPDATER"), Some("0"));
}

#[test]
fn a_configured_credential_replaces_the_servers() {
    let mut fixture = fixture(Mode::Ask);
    let inherited = [
        ("ANTHROPIC_API_KEY", "server"),
        ("ANTHROPIC_AUTH_TOKEN", "server"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "server"),
        ("CLAUDE_CODE_USE_BEDROCK", "1"),
        ("ANTHROPIC_BASE_URL", "http://server"),
    ];
    fixture.settings.environment =
        inherited.map(|(name, value)| (name.into(), value.into())).to_vec();
    let seen = |body: &str| {
        let launch = launch(&config(body), &fixture.settings, None).unwrap();
        inherited.map(|(name, _)| env(&launch, name).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());

    let url = some("http://server");
    assert_eq!(
        seen("{}"),
        [some("server"), some("server"), some("server"), some("1"), url.clone()]
    );
    assert_eq!(seen(r#"{"anthropicApiKey":"k"}"#), [some("k"), None, None, None, url.clone()]);
    assert_eq!(seen(r#"{"anthropicAuthToken":"k"}"#), [None, some("k"), None, None, url.clone()]);
    assert_eq!(seen(r#"{"claudeCodeOauthToken":"k"}"#), [None, None, some("k"), None, url.clone()]);
    assert_eq!(seen(r#"{"env":{"ANTHROPIC_API_KEY":"k"}}"#), [some("k"), None, None, None, url]);
    assert_eq!(
        seen(r#"{"anthropicBaseUrl":"http://mine"}"#),
        [None, None, None, None, some("http://mine")]
    );
}

#[test]
fn headers_for_the_servers_gateway_are_not_sent_elsewhere() {
    let mut fixture = fixture(Mode::Ask);
    fixture.settings.environment = vec![("ANTHROPIC_CUSTOM_HEADERS".into(), "X: server".into())];
    let seen = |body: &str| {
        let launch = launch(&config(body), &fixture.settings, None).unwrap();
        env(&launch, "ANTHROPIC_CUSTOM_HEADERS").map(str::to_owned)
    };
    assert_eq!(seen(r#"{"anthropicApiKey":"k"}"#).as_deref(), Some("X: server"));
    assert_eq!(seen(r#"{"anthropicBaseUrl":"http://mine"}"#), None);
    assert_eq!(seen(r#"{"env":{"ANTHROPIC_BASE_URL":"http://mine"}}"#), None);
}

#[test]
fn secrets_are_only_in_the_environment_and_the_file() {
    let body = r#"{
        "anthropicApiKey":"canary-1","claudeCodeOauthToken":"canary-2","anthropicAuthToken":"canary-3",
        "anthropicBaseUrl":"https://canary-4@h/","env":{"A":"canary-5"},"authToken":"canary-6",
        "mcpServers":{"h":{"type":"http","url":"http://canary-7@h","headers":{"X":"canary-8"}}}}"#;
    let fixture = fixture(Mode::Ask);
    let launch = launch(&config(body), &fixture.settings, None).unwrap();
    assert!(!text(&launch.args).concat().contains("canary"));
    assert!(!launch.initialize.contains("canary"));
    assert!(!format!("{launch:?}").contains("canary"));
    let in_env = launch.env.iter().filter(|(_, value)| value.to_string_lossy().contains("canary"));
    assert_eq!(in_env.count(), 5);
    let file = fs::read_to_string(launch.mcp_config.as_ref().unwrap()).unwrap();
    assert_eq!(file.matches("canary").count(), 2);
}

#[test]
fn configured_variables_override_all_others() {
    let mut fixture = fixture(Mode::Ask);
    fixture.settings.environment =
        vec![("A".into(), "server".into()), ("B".into(), "server".into())];
    let body = r#"{"env":{"A":"mine","C":"","CLAUDE_CODE_ENTRYPOINT":"mine"}}"#;
    let launch = launch(&config(body), &fixture.settings, None).unwrap();
    assert_eq!(env(&launch, "A"), Some("mine"));
    assert_eq!(env(&launch, "B"), Some("server"));
    assert_eq!(env(&launch, "C"), Some(""));
    assert_eq!(env(&launch, "CLAUDE_CODE_ENTRYPOINT"), Some("mine"));
    assert!(!format!("{launch:?}").contains("mine"));
}
