use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use claude_relay_protocol::config::fields::{FIELDS, Field, Target};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;
use crate::agent::env::{REMOVED, SET};

const RECORDED: &str = include_str!("../../../../tests/fixtures/sdk/options.json");

#[derive(Deserialize)]
struct Recorded<'a> {
    case: &'a str,
    mode: &'a str,
    #[serde(default)]
    prompt_tool: bool,
    #[serde(borrow)]
    options: &'a RawValue,
    argv: Vec<String>,
    initialize: String,
}

/// A workspace to run in, with the settings around it.
struct Place {
    dir: tempfile::TempDir,
    settings: LaunchSettings,
}

fn place(mode: Mode) -> Place {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("ws")).unwrap();
    fs::create_dir(dir.path().join("temp")).unwrap();
    let settings = LaunchSettings {
        claude_path: "claude".into(),
        workspace: dir.path().join("ws"),
        temp_dir: dir.path().join("temp"),
        mode,
        prompt_tool: false,
        environment: Vec::new(),
        is_root: false,
        in_sandbox: false,
    };
    Place { dir, settings }
}

fn config(body: &str) -> QueryConfig {
    QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config
}

fn args(mode: Mode, body: &str) -> Vec<String> {
    let launch = launch(&config(body), &place(mode).settings, None).unwrap();
    text(&launch.args)
}

fn text(args: &[OsString]) -> Vec<String> {
    args.iter().map(|arg| arg.to_str().unwrap().to_owned()).collect()
}

fn env<'a>(launch: &'a Launch, name: &str) -> Option<&'a str> {
    let found = launch.env.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.to_str().unwrap())
}

#[test]
fn every_field_reaches_the_cli_where_its_row_says() {
    let place = place(Mode::Unrestricted);
    fs::create_dir(place.settings.workspace.join("sub")).unwrap();
    let plain = launch(&config("{}"), &place.settings, None).unwrap();
    for Field { name, example, target, .. } in FIELDS {
        let config = config(&format!(r#"{{"{name}":{example}}}"#));
        let launch = launch(&config, &place.settings, None).unwrap();
        let flag = |flag: &str| {
            let prefix = format!("{flag}=");
            text(&launch.args).iter().any(|arg| arg == flag || arg.starts_with(&prefix))
                && launch.args != plain.args
        };
        let reaches = match target {
            Target::Flag(name) => flag(name),
            Target::File(name) => flag(name) && launch.mcp_config.is_some(),
            Target::Initialize(key) => {
                let request: serde_json::Value = serde_json::from_str(&launch.initialize).unwrap();
                request.get(key).is_some() && launch.initialize != plain.initialize
            }
            Target::Environment => launch.env != plain.env,
            Target::WorkingDirectory => launch.cwd != plain.cwd,
            Target::Relay => launch.args == plain.args && launch.env == plain.env,
        };
        assert!(reaches, "{name} does not reach the CLI by {target}");
    }
}

#[test]
fn every_recorded_option_makes_what_the_sdk_makes() {
    let recorded: Vec<Recorded<'_>> = serde_json::from_str(RECORDED).unwrap();
    assert!(recorded.len() > 50);
    for case in recorded {
        let mut place = place(case.mode.parse().unwrap());
        place.settings.prompt_tool = case.prompt_tool;
        let config = config(case.options.get());
        let launch = launch(&config, &place.settings, None).unwrap();
        let mut args = text(&launch.args);
        // The one deliberate difference: the servers go through a file.
        if let Some(at) = args.iter().position(|arg| arg == "--mcp-config") {
            args[at + 1] = fs::read_to_string(&args[at + 1]).unwrap();
        }
        assert_eq!(args, case.argv, "{}", case.case);
        assert_eq!(launch.initialize, case.initialize, "{}", case.case);
    }
}

#[test]
fn mcp_servers_go_through_a_private_file_that_goes_away() {
    let place = place(Mode::Ask);
    let body =
        r#"{"mcpServers":{"h":{"headers":{"A":"canary"}, "type":"http","url":"http://h/"}}}"#;
    let launch = launch(&config(body), &place.settings, None).unwrap();
    let path = launch.mcp_config.as_ref().unwrap().path().to_owned();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        r#"{"mcpServers":{"h":{"headers":{"A":"canary"},"type":"http","url":"http://h/"}}}"#
    );
    assert!(path.is_absolute() && path.starts_with(place.dir.path()));
    let args = text(&launch.args);
    let at = args.iter().position(|arg| arg == "--mcp-config").unwrap();
    assert_eq!(Path::new(&args[at + 1]), path);
    assert!(!args.concat().contains("canary"));
    assert!(!format!("{launch:?}").contains("canary"));
    drop(launch);
    assert!(!path.exists());
}

#[test]
fn a_file_for_the_servers_that_cannot_be_made_is_an_error() {
    let mut place = place(Mode::Ask);
    place.settings.temp_dir = place.dir.path().join("none");
    let body = r#"{"mcpServers":{"h":{"command":"c"}}}"#;
    let error = launch(&config(body), &place.settings, None).unwrap_err();
    assert!(matches!(error, LaunchError::McpConfig { .. }), "{error}");
}

#[test]
fn no_value_becomes_a_flag() {
    // Every string that reaches the command line, each trying to be a flag.
    let body = r#"{"model":"--x","fallbackModel":"-y","effort":"--x","allowedTools":["--x"],
        "disallowedTools":["--x"],"tools":["--x"],"resume":"--x","additionalDirectories":["--x"],
        "systemPrompt":"--x","cwd":".","agents":{"--x":{}},"mcpServers":{"--x":{"command":"--x"}},
        "outputFormat":{"type":"json_schema","schema":{"--x":1}}}"#;
    let place = place(Mode::Ask);
    let launch = launch(&config(body), &place.settings, None).unwrap();
    let file = launch.mcp_config.as_ref().unwrap().path().to_str().unwrap();
    assert_eq!(
        text(&launch.args)[5..],
        [
            "--effort=--x",
            "--model=--x",
            r#"--json-schema={"--x":1}"#,
            "--resume=--x",
            "--allowedTools=--x",
            "--disallowedTools=--x",
            "--tools=--x",
            "--mcp-config",
            file,
            "--setting-sources=project",
            "--fallback-model=-y",
            "--add-dir=--x",
        ]
    );
    assert!(file.starts_with('/'));
}

#[test]
fn a_restart_goes_on_with_its_own_conversation() {
    let body = r#"{"resume":"a","continue":true,"forkSession":true,"model":"m"}"#;
    let place = place(Mode::Ask);
    let launch = launch(&config(body), &place.settings, Some("b")).unwrap();
    assert_eq!(text(&launch.args)[5..], ["--model=m", "--resume=b", "--setting-sources=project"]);
}

#[test]
fn an_id_that_no_program_can_be_given_is_an_error() {
    let place = place(Mode::Ask);
    let none = QueryConfig::default();
    for id in ["a\0b".to_owned(), "x".repeat(128 * 1024)] {
        let error = launch(&none, &place.settings, Some(&id)).unwrap_err().to_string();
        assert!(error.starts_with("--resume: ") && error.len() < 100, "{error}");
    }
}

#[test]
fn a_mode_that_adds_to_a_list_cannot_make_it_too_long() {
    let list: Vec<_> = (0..2000).map(|n| format!("\"Tool{n:055}\"")).collect();
    let body = format!(r#"{{"disallowedTools":[{}]}}"#, list.join(","));
    let place = place(Mode::Agentic);
    // Whatever the configuration may hold still fits with the mode's own.
    launch(&config(&body), &place.settings, None).unwrap();
}

#[test]
fn the_narrow_modes_have_a_command_line_of_their_own() {
    assert_eq!(
        args(Mode::Safe, r#"{"maxTurns":2}"#)[5..],
        ["--max-turns=2", "--tools=", "--setting-sources=", "--strict-mcp-config"]
    );
    assert_eq!(
        args(Mode::Agentic, r#"{"disallowedTools":["Write"],"settingSources":[]}"#)[5..],
        [
            "--allowedTools=Read(**),Write(**),Edit(**),Glob(**),Grep(**)",
            "--disallowedTools=Bash,WebFetch,WebSearch,Edit(**/.git/**),Edit(**/.claude/**),Edit(**/.mcp.json),Write",
            "--tools=Read,Write,Edit,Glob,Grep",
            "--setting-sources=",
            "--strict-mcp-config",
            "--permission-mode=dontAsk",
        ]
    );
    let chosen = args(Mode::Agentic, r#"{"tools":["Read"],"allowedTools":["Read"]}"#);
    assert!(chosen.contains(&"--allowedTools=Read(**)".to_owned()));
    assert!(chosen.contains(&"--tools=Read".to_owned()));
}

#[test]
fn the_ceiling_holds_whatever_was_checked_before() {
    for mode in [Mode::Safe, Mode::Ask, Mode::Agentic] {
        let body = r#"{"permissionMode":"bypassPermissions"}"#;
        let error = launch(&config(body), &place(mode).settings, None).unwrap_err();
        assert!(matches!(error, LaunchError::Exceeds(_)), "{error}");
    }
}

#[test]
fn the_prompt_tool_is_for_the_mode_that_asks() {
    for mode in Mode::ALL {
        let mut place = place(mode);
        place.settings.prompt_tool = true;
        let launch = launch(&QueryConfig::default(), &place.settings, None).unwrap();
        let asks = text(&launch.args).contains(&"--permission-prompt-tool=stdio".to_owned());
        assert_eq!(asks, mode == Mode::Ask);
    }
}

#[test]
fn root_without_checks_needs_a_sandbox() {
    let mut place = place(Mode::Unrestricted);
    place.settings.is_root = true;
    let none = QueryConfig::default();
    let plan = config(r#"{"permissionMode":"plan"}"#);
    for config in [&none, &plan] {
        let error = launch(config, &place.settings, None).unwrap_err();
        assert!(matches!(error, LaunchError::Root) && error.to_string().contains("--mode ask"));
    }

    place.settings.in_sandbox = true;
    let sandboxed = launch(&none, &place.settings, None).unwrap();
    assert_eq!(env(&sandboxed, "IS_SANDBOX"), Some("1"));

    place.settings.in_sandbox = false;
    place.settings.environment = vec![("IS_SANDBOX".into(), "1".into())];
    assert!(launch(&none, &place.settings, None).is_ok());

    // It is said only where it has to be.
    place.settings = LaunchSettings { in_sandbox: true, environment: vec![], ..place.settings };
    for (mode, is_root) in [(Mode::Unrestricted, false), (Mode::Ask, true), (Mode::Safe, true)] {
        let settings = LaunchSettings { mode, is_root, ..place.settings.clone() };
        let launch = launch(&none, &settings, None).unwrap();
        assert_eq!(env(&launch, "IS_SANDBOX"), None, "{mode} {is_root}");
    }
}

#[test]
fn the_working_directory_stays_in_the_workspace() {
    let place = place(Mode::Ask);
    let workspace = place.settings.workspace.canonicalize().unwrap();
    let (inside, outside) = (workspace.join("sub"), place.dir.path().join("ws-2"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(workspace.join("file"), "").unwrap();
    std::os::unix::fs::symlink(&outside, workspace.join("out")).unwrap();
    std::os::unix::fs::symlink(&inside, place.dir.path().join("ws-2/in")).unwrap();
    let at = |cwd: &str| {
        let body = serde_json::json!({ "cwd": cwd }).to_string();
        launch(&config(&body), &place.settings, None).map(|launch| launch.cwd)
    };

    assert_eq!(at("sub").unwrap(), inside);
    assert_eq!(at("./sub/../sub").unwrap(), inside);
    assert_eq!(at(inside.to_str().unwrap()).unwrap(), inside);
    assert_eq!(at(outside.join("in").to_str().unwrap()).unwrap(), inside);
    let none = launch(&QueryConfig::default(), &place.settings, None).unwrap();
    assert_eq!(none.cwd, workspace);
    for cwd in ["..", "/", "out", "../ws-2", outside.to_str().unwrap()] {
        assert!(
            matches!(at(cwd), Err(LaunchError::Workspace(WorkspaceError::Outside { .. }))),
            "{cwd}"
        );
    }
    assert!(matches!(at("none"), Err(LaunchError::Workspace(WorkspaceError::Directory { .. }))));
    assert!(matches!(at("file/x"), Err(LaunchError::Workspace(WorkspaceError::Directory { .. }))));
    assert!(matches!(
        at("file"),
        Err(LaunchError::Workspace(WorkspaceError::NotADirectory { .. }))
    ));
    let long = "x".repeat(5000);
    assert!(matches!(at(&long), Err(LaunchError::Workspace(WorkspaceError::Directory { .. }))));
}

#[test]
fn a_workspace_that_is_gone_is_named() {
    let mut place = place(Mode::Ask);
    place.settings.workspace = place.dir.path().join("gone");
    let error = launch(&QueryConfig::default(), &place.settings, None).unwrap_err();
    assert!(matches!(error, LaunchError::Workspace { .. }));
    assert!(error.to_string().contains("gone"), "{error}");
}

#[test]
fn the_program_is_a_name_or_an_absolute_path() {
    let program = |path: &str| {
        let mut place = place(Mode::Ask);
        place.settings.claude_path = path.into();
        let launch = launch(&QueryConfig::default(), &place.settings, None).unwrap();
        (launch.program, text(&launch.args)[0].clone())
    };
    assert_eq!(program("claude").0, Path::new("claude"));
    assert_eq!(program("/opt/claude").0, Path::new("/opt/claude"));
    assert!(program("./bin/claude").0.is_absolute());
    assert_eq!(program("/opt/cli.js"), ("node".into(), "/opt/cli.js".to_owned()));
}

#[test]
fn what_must_not_leak_or_breaks_the_agent_is_not_inherited() {
    let mut place = place(Mode::Ask);
    let mut names: Vec<String> =
        REMOVED.iter().map(|(pattern, _)| pattern.replace('*', "_X")).collect();
    names.push("RELAY_AUTH_TOKEN".into());
    let removed = names.iter().map(|name| (name.into(), "canary".into()));
    let kept = ["PATH", "HOME", "HTTPS_PROXY", "HOSTNAME", "ANTHROPIC_BASE_URL", "XRELAY_"];
    let kept = kept.map(|name| (OsString::from(name), OsString::from("kept")));
    place.settings.environment = removed.chain(kept.clone()).collect();
    let none = QueryConfig::default();
    let launched = launch(&none, &place.settings, None).unwrap();
    assert!(launched.env.iter().all(|(_, value)| value != "canary"), "{:?}", launched.env);
    for (name, value) in kept {
        assert_eq!(env(&launched, name.to_str().unwrap()), value.to_str());
    }
    for (name, value, _) in SET {
        assert_eq!(env(&launched, name), Some(value));
    }
    assert_eq!(env(&launched, "DISABLE_AUTOUPDATER"), Some("1"));
    assert_eq!(launched.env.len(), 6 + SET.len() + 1);

    place.settings.environment = vec![("DISABLE_AUTOUPDATER".into(), "0".into())];
    let launched = launch(&none, &place.settings, None).unwrap();
    assert_eq!(env(&launched, "DISABLE_AUTOUPDATER"), Some("0"));
}

#[test]
fn a_configured_credential_beats_the_servers() {
    let mut place = place(Mode::Ask);
    let inherited = [
        ("ANTHROPIC_API_KEY", "server"),
        ("ANTHROPIC_AUTH_TOKEN", "server"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "server"),
        ("CLAUDE_CODE_USE_BEDROCK", "1"),
        ("ANTHROPIC_BASE_URL", "http://server"),
    ];
    place.settings.environment =
        inherited.map(|(name, value)| (name.into(), value.into())).to_vec();
    let seen = |body: &str| {
        let launch = launch(&config(body), &place.settings, None).unwrap();
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
        [some("server"), some("server"), some("server"), some("1"), some("http://mine")]
    );
}

#[test]
fn headers_for_the_servers_gateway_go_nowhere_else() {
    let mut place = place(Mode::Ask);
    place.settings.environment = vec![("ANTHROPIC_CUSTOM_HEADERS".into(), "X: server".into())];
    let seen = |body: &str| {
        let launch = launch(&config(body), &place.settings, None).unwrap();
        env(&launch, "ANTHROPIC_CUSTOM_HEADERS").map(str::to_owned)
    };
    assert_eq!(seen(r#"{"anthropicApiKey":"k"}"#).as_deref(), Some("X: server"));
    assert_eq!(seen(r#"{"anthropicBaseUrl":"http://mine"}"#), None);
    assert_eq!(seen(r#"{"env":{"ANTHROPIC_BASE_URL":"http://mine"}}"#), None);
}

#[test]
fn secrets_are_in_the_environment_and_in_the_file_and_nowhere_else() {
    let body = r#"{
        "anthropicApiKey":"canary-1","claudeCodeOauthToken":"canary-2","anthropicAuthToken":"canary-3",
        "anthropicBaseUrl":"https://canary-4@h/","env":{"A":"canary-5"},"authToken":"canary-6",
        "mcpServers":{"h":{"type":"http","url":"http://canary-7@h","headers":{"X":"canary-8"}}}}"#;
    let place = place(Mode::Ask);
    let launch = launch(&config(body), &place.settings, None).unwrap();
    assert!(!text(&launch.args).concat().contains("canary"));
    assert!(!launch.initialize.contains("canary"));
    assert!(!format!("{launch:?}").contains("canary"));
    let in_env = launch.env.iter().filter(|(_, value)| value.to_string_lossy().contains("canary"));
    assert_eq!(in_env.count(), 5);
    let file = fs::read_to_string(launch.mcp_config.as_ref().unwrap()).unwrap();
    assert_eq!(file.matches("canary").count(), 2);
}

#[test]
fn configured_variables_go_over_everything() {
    let mut place = place(Mode::Ask);
    place.settings.environment = vec![("A".into(), "server".into()), ("B".into(), "server".into())];
    let body = r#"{"env":{"A":"mine","C":"","CLAUDE_CODE_ENTRYPOINT":"mine"}}"#;
    let launch = launch(&config(body), &place.settings, None).unwrap();
    assert_eq!(env(&launch, "A"), Some("mine"));
    assert_eq!(env(&launch, "B"), Some("server"));
    assert_eq!(env(&launch, "C"), Some(""));
    assert_eq!(env(&launch, "CLAUDE_CODE_ENTRYPOINT"), Some("mine"));
    assert!(!format!("{launch:?}").contains("mine"));
}

#[test]
fn long_texts_go_over_standard_input() {
    let prompt = "x".repeat(1 << 20);
    let body = serde_json::json!({
        "systemPrompt": prompt, "agents": {"a": {"prompt": prompt}}, "mcpServers": {"s": {"command": prompt}},
    });
    let place = place(Mode::Ask);
    let launch = launch(&config(&body.to_string()), &place.settings, None).unwrap();
    assert!(launch.args.iter().all(|arg| arg.len() < 200));
    assert!(launch.initialize.len() > 2 << 20);
    assert!(!launch.initialize.contains('\n'));
}
