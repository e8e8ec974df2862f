mod environment;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use claude_relay_protocol::config::fields::{FIELDS, Field, Target};

use super::*;
use crate::agent::env::{REMOVED, SET};

/// The settings of the flag layer where nobody is asked.
const PINNED: &str =
    r#"--settings={"autoMemoryEnabled":false,"autoMemoryDirectory":"/dev/null/none"}"#;

/// The same in `ask`.
const PINNED_ASK: &str = r#"--settings={"autoMemoryEnabled":false,"autoMemoryDirectory":"/dev/null/none","permissions":{"ask":["Read(~/.claude/projects/*/memory/**)","Read(~/.claude/projects/*/*.jsonl)"]}}"#;

/// A workspace and the settings of a launch.
pub(super) struct Fixture {
    dir: tempfile::TempDir,
    pub(super) settings: LaunchSettings,
}

pub(super) fn fixture(mode: Mode) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("ws")).unwrap();
    fs::create_dir(dir.path().join("temp")).unwrap();
    let settings = LaunchSettings {
        claude_path: "claude".into(),
        workspace: dir.path().join("ws"),
        temp_dir: dir.path().join("temp"),
        mode,
        trusted: true,
        version: Some(Version::new(2, 1, 329)),
        prompt_tool: false,
        session_mirror: false,
        environment: Vec::new(),
        is_root: false,
        in_sandbox: false,
        session_id: None,
    };
    Fixture { dir, settings }
}

pub(super) fn config(body: &str) -> QueryConfig {
    QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config
}

fn args(mode: Mode, body: &str) -> Vec<String> {
    let launch = launch(&config(body), &fixture(mode).settings, None).unwrap();
    text(&launch.args)
}

pub(super) fn text(args: &[OsString]) -> Vec<String> {
    args.iter().map(|arg| arg.to_str().unwrap().to_owned()).collect()
}

pub(super) fn env<'a>(launch: &'a Launch, name: &str) -> Option<&'a str> {
    let found = launch.env.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.to_str().unwrap())
}

#[test]
fn every_field_reaches_the_cli_where_its_row_says() {
    let fixture = fixture(Mode::Unrestricted);
    fs::create_dir(fixture.settings.workspace.join("sub")).unwrap();
    let plain = launch(&config("{}"), &fixture.settings, None).unwrap();
    for Field { name, example, target, .. } in FIELDS {
        let config = config(&format!(r#"{{"{name}":{example}}}"#));
        let launch = launch(&config, &fixture.settings, None).unwrap();
        let flag = |flag: &str| {
            let prefix = format!("{flag}=");
            text(&launch.args).iter().any(|arg| arg == flag || arg.starts_with(&prefix))
                && launch.args != plain.args
        };
        let reaches = match target {
            Target::Flag(name) => flag(name),
            Target::Flags => launch.args != plain.args,
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
fn mcp_servers_are_passed_in_a_private_temporary_file() {
    let fixture = fixture(Mode::Ask);
    let body =
        r#"{"mcpServers":{"h":{"headers":{"A":"canary"}, "type":"http","url":"http://h/"}}}"#;
    let launch = launch(&config(body), &fixture.settings, None).unwrap();
    let path = launch.mcp_config.as_ref().unwrap().path().to_owned();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        r#"{"mcpServers":{"h":{"headers":{"A":"canary"},"type":"http","url":"http://h/"}}}"#
    );
    assert!(path.is_absolute() && path.starts_with(fixture.dir.path()));
    let args = text(&launch.args);
    let at = args.iter().position(|arg| arg == "--mcp-config").unwrap();
    assert_eq!(Path::new(&args[at + 1]), path);
    assert!(!args.concat().contains("canary"));
    assert!(!format!("{launch:?}").contains("canary"));
    drop(launch);
    assert!(!path.exists());
}

#[test]
fn a_failure_to_write_the_file_of_servers_is_an_error() {
    let mut fixture = fixture(Mode::Ask);
    fixture.settings.temp_dir = fixture.dir.path().join("none");
    let body = r#"{"mcpServers":{"h":{"command":"c"}}}"#;
    let error = launch(&config(body), &fixture.settings, None).unwrap_err();
    assert!(matches!(error, LaunchError::McpConfig { .. }), "{error}");
}

#[test]
fn no_value_becomes_a_flag() {
    // Every string that reaches the command line, each with the form of a flag.
    let body = r#"{"model":"--x","fallbackModel":"-y","effort":"--x","allowedTools":["--x"],
        "disallowedTools":["--x"],"tools":["--x"],"resume":"--x","additionalDirectories":["--x"],
        "systemPrompt":"--x","cwd":".","agents":{"--x":{}},"mcpServers":{"--x":{"command":"--x"}},
        "outputFormat":{"type":"json_schema","schema":{"--x":1}}}"#;
    let fixture = fixture(Mode::Ask);
    let launch = launch(&config(body), &fixture.settings, None).unwrap();
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
            "--permission-mode=default",
            PINNED_ASK,
        ]
    );
    assert!(file.starts_with('/'));
}

#[test]
fn a_restart_resumes_its_own_conversation() {
    let body = r#"{"resume":"a","continue":true,"forkSession":true,"model":"m"}"#;
    let fixture = fixture(Mode::Ask);
    let launch = launch(&config(body), &fixture.settings, Some("b")).unwrap();
    assert_eq!(text(&launch.args)[5..8], ["--model=m", "--resume=b", "--setting-sources=project"]);
    assert!(!text(&launch.args).iter().any(|arg| arg.starts_with("--fork")));
}

#[test]
fn an_id_that_cannot_be_an_argument_is_an_error() {
    let fixture = fixture(Mode::Ask);
    let none = QueryConfig::default();
    for id in ["a\0b".to_owned(), "x".repeat(128 * 1024)] {
        let error = launch(&none, &fixture.settings, Some(&id)).unwrap_err().to_string();
        assert!(error.starts_with("--resume: ") && error.len() < 100, "{error}");
    }
}

#[test]
fn a_mode_that_adds_to_a_list_cannot_make_it_too_long() {
    let list: Vec<_> = (0..2000).map(|n| format!("\"Tool{n:055}\"")).collect();
    let body = format!(r#"{{"disallowedTools":[{}]}}"#, list.join(","));
    let fixture = fixture(Mode::Agentic);
    // The longest valid list still fits with the mode's own entries.
    launch(&config(&body), &fixture.settings, None).unwrap();
}

#[test]
fn the_narrow_modes_have_a_command_line_of_their_own() {
    assert_eq!(
        args(Mode::Safe, r#"{"maxTurns":2}"#)[5..],
        [
            "--max-turns=2",
            "--tools=",
            "--setting-sources=",
            "--permission-mode=dontAsk",
            "--strict-mcp-config",
            PINNED,
            "--disable-slash-commands",
            "--restricted",
        ]
    );
    assert_eq!(
        args(Mode::Agentic, r#"{"disallowedTools":["Write"],"settingSources":[]}"#)[5..],
        [
            "--allowedTools=Read(**),Write(**),Edit(**),Glob(**),Grep(**)",
            "--disallowedTools=Bash,WebFetch,WebSearch,Edit(**/.agents/**),Edit(**/.claude/**),Edit(**/.codex/**),Edit(**/.git/**),Edit(**/.mcp.json),Edit(**/.env),Read(~/.claude/**),Edit(~/.claude/**),Write",
            "--tools=Read,Write,Edit,Glob,Grep",
            "--setting-sources=",
            "--permission-mode=dontAsk",
            "--strict-mcp-config",
            PINNED,
            "--disable-slash-commands",
            "--restricted",
        ]
    );
    let chosen = args(Mode::Agentic, r#"{"tools":["Read"],"allowedTools":["Read"]}"#);
    assert!(chosen.contains(&"--allowedTools=Read(**)".to_owned()));
    assert!(chosen.contains(&"--tools=Read".to_owned()));
}

#[test]
fn the_ceiling_is_checked_at_launch_too() {
    for mode in [Mode::Safe, Mode::Ask, Mode::Agentic] {
        let body = r#"{"permissionMode":"bypassPermissions"}"#;
        let error = launch(&config(body), &fixture(mode).settings, None).unwrap_err();
        assert!(matches!(error, LaunchError::Exceeds(_)), "{error}");
    }
}

#[test]
fn the_prompt_tool_is_for_the_modes_in_which_a_client_may_be_asked() {
    for mode in Mode::ALL {
        let mut fixture = fixture(mode);
        fixture.settings.prompt_tool = true;
        let launch = launch(&QueryConfig::default(), &fixture.settings, None).unwrap();
        let asks = text(&launch.args).contains(&"--permission-prompt-tool=stdio".to_owned());
        assert_eq!(asks, matches!(mode, Mode::Ask | Mode::Unrestricted), "{mode}");
    }
}

#[test]
fn the_working_directory_stays_in_the_workspace() {
    let fixture = fixture(Mode::Ask);
    let workspace = fixture.settings.workspace.canonicalize().unwrap();
    let (inside, outside) = (workspace.join("sub"), fixture.dir.path().join("ws-2"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(workspace.join("file"), "").unwrap();
    std::os::unix::fs::symlink(&outside, workspace.join("out")).unwrap();
    std::os::unix::fs::symlink(&inside, fixture.dir.path().join("ws-2/in")).unwrap();
    let at = |cwd: &str| {
        let body = serde_json::json!({ "cwd": cwd }).to_string();
        launch(&config(&body), &fixture.settings, None).map(|launch| launch.cwd)
    };

    assert_eq!(at("sub").unwrap(), inside);
    assert_eq!(at("./sub/../sub").unwrap(), inside);
    assert_eq!(at(inside.to_str().unwrap()).unwrap(), inside);
    assert_eq!(at(outside.join("in").to_str().unwrap()).unwrap(), inside);
    let none = launch(&QueryConfig::default(), &fixture.settings, None).unwrap();
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
fn a_missing_workspace_is_named() {
    let mut fixture = fixture(Mode::Ask);
    fixture.settings.workspace = fixture.dir.path().join("gone");
    let error = launch(&QueryConfig::default(), &fixture.settings, None).unwrap_err();
    assert!(matches!(error, LaunchError::Workspace { .. }));
    assert!(error.to_string().contains("gone"), "{error}");
}

#[test]
fn the_program_is_a_name_or_an_absolute_path() {
    let program = |path: &str| {
        let mut fixture = fixture(Mode::Ask);
        fixture.settings.claude_path = path.into();
        let launch = launch(&QueryConfig::default(), &fixture.settings, None).unwrap();
        (launch.program, text(&launch.args)[0].clone())
    };
    assert_eq!(program("claude").0, Path::new("claude"));
    assert_eq!(program("/opt/claude").0, Path::new("/opt/claude"));
    assert!(program("./bin/claude").0.is_absolute());
    assert_eq!(program("/opt/cli.js"), ("node".into(), "/opt/cli.js".to_owned()));
}

#[test]
fn long_texts_are_passed_on_stdin() {
    let prompt = "x".repeat(1 << 20);
    let body = serde_json::json!({
        "systemPrompt": prompt, "agents": {"a": {"prompt": prompt}}, "mcpServers": {"s": {"command": prompt}},
    });
    let fixture = fixture(Mode::Ask);
    let launch = launch(&config(&body.to_string()), &fixture.settings, None).unwrap();
    assert!(launch.args.iter().all(|arg| arg.len() < 200));
    assert!(launch.initialize.len() > 2 << 20);
    assert!(!launch.initialize.contains('\n'));
}
