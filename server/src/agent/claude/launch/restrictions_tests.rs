//! What stands on the command line and in the environment beyond the SDK's.

use super::tests::{config, env, fixture, text};
use super::*;

/// The arguments and the environment of a start in an untrusted workspace.
fn untrusted(mode: Mode, version: Option<Version>, body: &str) -> (Vec<String>, Launch) {
    let mut place = fixture(mode);
    place.settings.trusted = mode == Mode::Unrestricted;
    place.settings.version = version;
    if mode == Mode::Unrestricted {
        place.settings.in_sandbox = true;
    }
    let launch = launch(&config(body), &place.settings, None).unwrap();
    (text(&launch.args), launch)
}

const NEW: Option<Version> = Some(Version::new(2, 1, 332));

#[test]
fn the_settings_of_an_untrusted_workspace_are_left_out() {
    for mode in [Mode::Safe, Mode::Agentic, Mode::Ask] {
        let (args, launch) = untrusted(mode, NEW, "{}");
        assert!(args.contains(&"--setting-sources=".to_owned()), "{mode}: {args:?}");
        assert!(args.contains(&"--strict-mcp-config".to_owned()), "{mode}: {args:?}");
        let reads = mode != Mode::Safe;
        let directory = format!("--add-dir={}", launch.cwd.display());
        assert_eq!(args.contains(&directory), reads, "{mode}: {args:?}");
        let variable = env(&launch, "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD");
        assert_eq!(variable.is_some(), reads, "{mode}");
    }
    let ask = |sources: &str| {
        let body = format!(r#"{{"settingSources":{sources}}}"#);
        let (args, launch) = untrusted(Mode::Ask, NEW, &body);
        let reads = env(&launch, "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD").is_some();
        (args.into_iter().find(|arg| arg.starts_with("--setting-sources")).unwrap(), reads)
    };
    assert_eq!(ask(r#"["user","project","local"]"#), ("--setting-sources=user".into(), true));
    assert_eq!(ask(r#"["user"]"#), ("--setting-sources=user".into(), false));
    assert_eq!(ask("[]"), ("--setting-sources=".into(), false));
}

#[test]
fn a_trusted_workspace_has_the_cli_s_own_behaviour() {
    let place = fixture(Mode::Ask);
    let launch = launch(&config("{}"), &place.settings, None).unwrap();
    let args = text(&launch.args);
    assert!(args.contains(&"--setting-sources=project".to_owned()), "{args:?}");
    assert!(!args.contains(&"--strict-mcp-config".to_owned()), "{args:?}");
    assert!(!args.iter().any(|arg| arg.starts_with("--add-dir")), "{args:?}");
}

#[test]
fn a_permission_mode_is_always_said_once() {
    for (mode, body, said) in [
        (Mode::Safe, "{}", "dontAsk"),
        (Mode::Agentic, "{}", "dontAsk"),
        (Mode::Ask, "{}", "default"),
        (Mode::Ask, r#"{"permissionMode":"plan"}"#, "plan"),
        (Mode::Unrestricted, "{}", "bypassPermissions"),
        (Mode::Unrestricted, r#"{"permissionMode":"default"}"#, "default"),
    ] {
        let (args, _) = untrusted(mode, NEW, body);
        let modes: Vec<_> =
            args.iter().filter_map(|arg| arg.strip_prefix("--permission-mode=")).collect();
        assert_eq!(modes, [said], "{mode}: {body}");
    }
}

#[test]
fn a_message_can_do_nothing_by_itself_where_nobody_is_asked() {
    for mode in Mode::ALL {
        let narrow = matches!(mode, Mode::Safe | Mode::Agentic);
        let body = r#"{"env":{}}"#;
        let (args, launch) = untrusted(mode, NEW, body);
        assert_eq!(args.contains(&"--disable-slash-commands".to_owned()), narrow, "{mode}");
        assert_eq!(args.contains(&"--restricted".to_owned()), narrow, "{mode}");
        let attachments = env(&launch, "CLAUDE_CODE_DISABLE_ATTACHMENTS");
        assert_eq!(attachments, narrow.then_some("1"), "{mode}");
        // A flag that it does not know would end an older CLI.
        for old in [Some(Version::new(2, 1, 197)), None] {
            let (args, _) = untrusted(mode, old, body);
            assert!(!args.contains(&"--restricted".to_owned()), "{mode}");
        }
    }
}

#[test]
fn no_memory_is_kept_below_unrestricted_whatever_the_configuration_says() {
    let body = r#"{"env":{"CLAUDE_CODE_DISABLE_AUTO_MEMORY":"0"}}"#;
    for mode in [Mode::Ask, Mode::Unrestricted] {
        let (args, launch) = untrusted(mode, NEW, body);
        let off = mode == Mode::Ask;
        let variable = env(&launch, "CLAUDE_CODE_DISABLE_AUTO_MEMORY");
        assert_eq!(variable, Some(if off { "1" } else { "0" }), "{mode}");
        let pinned = args.iter().any(|arg| arg.contains("autoMemoryDirectory"));
        assert_eq!(pinned, off, "{mode}: {args:?}");
    }
}

#[test]
fn the_state_of_the_cli_is_out_of_reach_of_the_file_tools() {
    let mut place = fixture(Mode::Agentic);
    place.settings.environment = vec![("CLAUDE_CONFIG_DIR".into(), "/srv/a,b(c)/state".into())];
    let launch = launch(&config("{}"), &place.settings, None).unwrap();
    let args = text(&launch.args);
    let denied = args.iter().find(|arg| arg.starts_with("--disallowedTools=")).unwrap();
    for rule in [
        "Read(~/.claude/**)",
        "Edit(~/.claude/**)",
        "Read(//srv/a?b?c?/state/**)",
        "Edit(**/.codex/**)",
        "Edit(**/.env)",
        "Edit(**/.git/**)",
        "Edit(**/.mcp.json)",
    ] {
        assert!(denied.contains(rule), "{rule}: {denied}");
    }
}

#[test]
fn a_cli_that_runs_git_by_itself_is_told_not_to() {
    const NAME: &str = "CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS";
    for (version, told) in [(NEW, false), (Some(Version::OLDEST), true), (None, true)] {
        let (_, launch) = untrusted(Mode::Ask, version, "{}");
        assert_eq!(env(&launch, NAME).is_some(), told, "{version:?}");
    }
}
