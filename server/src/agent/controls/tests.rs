use std::fs;

use super::*;

/// A workspace with a file, beside a directory that is outside of it.
struct TestDirectories {
    _root: tempfile::TempDir,
    workspace: std::path::PathBuf,
    outside: std::path::PathBuf,
    own: QueryConfig,
}

impl TestDirectories {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().canonicalize().unwrap();
        let (workspace, outside) = (path.join("workspace"), path.join("outside"));
        fs::create_dir_all(workspace.join("below")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(workspace.join("file"), "x").unwrap();
        fs::write(outside.join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), workspace.join("link")).unwrap();
        Self { _root: root, workspace, outside, own: QueryConfig::default() }
    }

    fn ceiling(&self, mode: Mode) -> Ceiling<'_> {
        Ceiling {
            mode,
            trusted: false,
            workspace: &self.workspace,
            cwd: &self.workspace,
            own: &self.own,
        }
    }

    fn check(&self, mode: Mode, request: &str) -> Result<(), String> {
        let [subtype] = fields(request, ["subtype"]).unwrap();
        let subtype = subtype.and_then(string).unwrap();
        self.ceiling(mode).check_control(&subtype, request)
    }
}

#[test]
fn unknown_subtypes_pass_in_unrestricted_alone() {
    let directories = TestDirectories::new();
    let request = r#"{"subtype":"invented_next_week","path":"/"}"#;
    for mode in [Mode::Safe, Mode::Agentic, Mode::Ask] {
        assert_eq!(
            directories.check(mode, request).unwrap_err(),
            format!(
                "mode {mode} of the server does not allow invented_next_week: this server does not know it, and only `unrestricted` passes it on"
            )
        );
    }
    assert_eq!(directories.check(Mode::Unrestricted, request), Ok(()));
}

#[test]
fn each_mode_takes_what_the_narrower_ones_take_and_its_own() {
    let directories = TestDirectories::new();
    for (request, from) in [
        (r#"{"subtype":"interrupt","cancel_queued":true}"#, Mode::Safe),
        (r#"{"subtype":"set_model","model":"m"}"#, Mode::Safe),
        (r#"{"subtype":"set_model","model":null}"#, Mode::Safe),
        (r#"{"subtype":"set_permission_mode","mode":"dontAsk"}"#, Mode::Safe),
        (r#"{"subtype":"read_file","path":"file"}"#, Mode::Agentic),
        (r#"{"subtype":"rewind_files","user_message_id":"u","dry_run":true}"#, Mode::Agentic),
        (r#"{"subtype":"mcp_set_servers","servers":{}}"#, Mode::Ask),
        (r#"{"subtype":"mcp_call","tool":"t","arguments":{}}"#, Mode::Ask),
        (r#"{"subtype":"apply_flag_settings","settings":{"model":"m"}}"#, Mode::Ask),
        (r#"{"subtype":"set_cwd","path":"below"}"#, Mode::Ask),
        (r#"{"subtype":"set_cwd","path":"/","trust_accepted":true}"#, Mode::Unrestricted),
        (r#"{"subtype":"update_settings","source":"userSettings"}"#, Mode::Unrestricted),
        (r#"{"subtype":"reload_plugins","add_plugins":[{"path":"p"}]}"#, Mode::Unrestricted),
        (r#"{"subtype":"start_shell_task","command":"id"}"#, Mode::Unrestricted),
        (r#"{"subtype":"initialize"}"#, Mode::Unrestricted),
    ] {
        for mode in Mode::ALL {
            let taken = directories.check(mode, request);
            assert_eq!(taken.is_ok(), mode.includes(from), "{mode}: {request}: {taken:?}");
        }
    }
}

#[test]
fn arguments_that_are_not_known_are_refused_by_name() {
    let directories = TestDirectories::new();
    for request in [
        r#"{"subtype":"set_model","model":"m","system_prompt":"s"}"#,
        r#"{"subtype":"set_permission_mode","mode":"plan","answers_bypass_switch_back":"bypass_now"}"#,
        r#"{"subtype":"reload_plugins","add_plugins":[]}"#,
        r#"{"subtype":"set_cwd","path":"below","trust_accepted":true}"#,
        r#"{"subtype":"mcp_call","tool":"t","output_files":[]}"#,
    ] {
        let reason = directories.check(Mode::Ask, request).unwrap_err();
        assert!(reason.starts_with("mode ask of the server does not allow \""), "{reason}");
    }
}

#[test]
fn paths_stay_in_the_workspace_links_followed() {
    let directories = TestDirectories::new();
    let outside = directories.outside.join("secret");
    for (path, inside) in [
        ("file", true),
        ("below/../file", false),
        (directories.workspace.join("below/../file").to_str().unwrap(), true),
        (directories.workspace.join("file").to_str().unwrap(), true),
        ("../outside/secret", false),
        (outside.to_str().unwrap(), false),
        ("link", false),
        ("~/file", false),
        ("/", false),
        ("not-there", false),
        ("file\\u0000", false),
    ] {
        let request = format!(r#"{{"subtype":"read_file","path":"{path}"}}"#);
        for mode in [Mode::Agentic, Mode::Ask] {
            assert_eq!(directories.check(mode, &request).is_ok(), inside, "{mode}: {path}");
        }
    }
    for (query, below) in
        [("fi", true), ("", true), ("../", false), ("/etc/", false), ("~/", false)]
    {
        let request = format!(r#"{{"subtype":"file_suggestions","query":"{query}"}}"#);
        assert_eq!(directories.check(Mode::Ask, &request).is_ok(), below, "{query}");
    }
}

#[test]
fn the_last_of_two_equal_names_is_judged_as_the_agent_reads_it() {
    let directories = TestDirectories::new();
    for (modes, taken) in
        [(r#""mode":"auto","mode":"plan""#, true), (r#""mode":"plan","mo\u0064e":"auto""#, false)]
    {
        let request = format!(r#"{{"subtype":"set_permission_mode",{modes}}}"#);
        assert_eq!(directories.check(Mode::Ask, &request).is_ok(), taken, "{modes}");
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let directories = TestDirectories::new();
    let surrogate = r#"{"subtype":"set_permission_mode","\ud800":1,"mode":"auto"}"#;
    assert!(
        directories.ceiling(Mode::Ask).check_control("set_permission_mode", surrogate).is_err()
    );
    let surrogate = r#"{"subtype":"set_permission_mode","mode":"\ud800"}"#;
    assert!(
        directories.ceiling(Mode::Ask).check_control("set_permission_mode", surrogate).is_err()
    );
    for updates in [r#"{}"#, r#"[{"\ud800":1,"type":"setMode","mode":"auto"}]"#, "[7]"] {
        let updates = RawValue::from_string(updates.to_owned()).unwrap();
        assert!(directories.ceiling(Mode::Ask).check_updates(&updates).is_err(), "{updates}");
    }
}

#[test]
fn no_request_and_no_approval_leads_past_the_ceiling() {
    let directories = TestDirectories::new();
    for permission in ["bypassPermissions", "auto", "newMode"] {
        let set = format!(r#"{{"subtype":"set_permission_mode","mode":"{permission}"}}"#);
        let pin = format!(
            r#"{{"subtype":"set_mcp_permission_mode_override","serverName":"s","mode":"{permission}"}}"#
        );
        let flags = format!(
            r#"{{"subtype":"apply_flag_settings","settings":{{"permissions":{{"defaultMode":"plan","defaultMode":"{permission}"}}}}}}"#
        );
        let updates = RawValue::from_string(format!(
            r#"[{{"mode":"{permission}","type":"setMode","destination":"session"}}]"#
        ))
        .unwrap();
        for mode in Mode::ALL {
            let unrestricted = mode == Mode::Unrestricted;
            for request in [&set, &pin, &flags] {
                assert_eq!(
                    directories.check(mode, request).is_ok(),
                    unrestricted,
                    "{mode}: {request}"
                );
            }
            let updates = directories.ceiling(mode).check_updates(&updates);
            assert_eq!(updates.is_ok(), unrestricted, "{mode}: {updates:?}");
        }
    }
}

#[test]
fn settings_at_run_time_cannot_name_programs() {
    let directories = TestDirectories::new();
    for (settings, taken) in [
        (r#"{"model":"m","permissions":{"allow":["Read"],"deny":["Bash"]}}"#, true),
        (r#"{"hooks":{}}"#, false),
        (r#"{"env":{"A":"b"}}"#, false),
        (r#"{"apiKeyHelper":"sh"}"#, false),
        (r#"{"enabledPlugins":{}}"#, false),
        (r#"{"autoMemoryDirectory":"/"}"#, false),
        (r#"{"sandbox":{}}"#, false),
        (r#"{"permissions":{"disableBypassPermissionsMode":null}}"#, false),
    ] {
        let request = format!(r#"{{"subtype":"apply_flag_settings","settings":{settings}}}"#);
        assert_eq!(directories.check(Mode::Ask, &request).is_ok(), taken, "{settings}");
    }
}

#[test]
fn an_approval_keeps_nothing_for_good_and_brings_nothing_unknown() {
    let directories = TestDirectories::new();
    let check = |updates: &str| {
        let updates = RawValue::from_string(updates.to_owned()).unwrap();
        directories.ceiling(Mode::Ask).check_updates(&updates)
    };
    for taken in [
        r#"[{"type":"addRules","rules":[],"behavior":"allow","destination":"session"}]"#,
        r#"[{"type":"addDirectories","directories":["d"],"destination":"localSettings"}]"#,
        r#"[{"type":"setMode","mode":"acceptEdits","destination":"session"}]"#,
        r#"[{"type":"removeRules","rules":[],"behavior":"deny","destination":"session"}]"#,
        r#"[{"type":"replaceRules","rules":[],"behavior":"ask","destination":"localSettings"}]"#,
        "[]",
    ] {
        assert_eq!(check(taken), Ok(()), "{taken}");
    }
    for refused in [
        r#"[{"type":"addRules","rules":[],"behavior":"allow","destination":"userSettings"}]"#,
        r#"[{"type":"addRules","rules":[],"behavior":"allow","destination":"policySettings"}]"#,
        r#"[{"type":"removeRules","rules":[],"behavior":"deny","destination":"cliArg"}]"#,
        r#"[{"type":"removeRules","rules":[{"toolName":"Read"}],"behavior":"ask"}]"#,
        r#"[{"type":"replaceRules","rules":[],"behavior":"deny","destination":"cliArg"}]"#,
        r#"[{"type":"removeDirectories","directories":["d"],"destination":"cliArg"}]"#,
        r#"[{"type":"removeRules","rules":[],"behavior":"deny","destination":"flagSettings"}]"#,
        r#"[{"type":"addRules","rules":[],"behavior":"allow","destination":["userSettings"]}]"#,
        r#"[{"type":"addRules","rules":[],"behavior":"allow","destination":null}]"#,
        r#"[{"type":"addPlugins"}]"#,
        r#"[{"type":7}]"#,
    ] {
        assert!(check(refused).is_err(), "{refused}");
    }
}

#[test]
fn a_diff_of_the_workspace_needs_trust() {
    let directories = TestDirectories::new();
    let request = r#"{"subtype":"get_workspace_diff"}"#;
    assert!(directories.check(Mode::Ask, request).unwrap_err().contains("--trust-workspace"));
    let trusted = Ceiling { trusted: true, ..directories.ceiling(Mode::Ask) };
    assert_eq!(trusted.check_control("get_workspace_diff", request), Ok(()));
}
