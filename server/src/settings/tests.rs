//! Flags and variables, as they are read.

use super::*;

fn read(args: &[&str], environment: &[(&str, &str)]) -> Result<Settings, String> {
    let words = std::iter::once("relay").chain(args.iter().copied());
    let args = Args::read(words.map(OsString::from)).map_err(|error| error.to_string())?;
    let mut environment: BTreeMap<OsString, OsString> =
        environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    environment.entry("HOME".into()).or_insert_with(|| "/home/u".into());
    Settings::read(args, environment, false).map_err(|error| error.to_string())
}

#[test]
fn the_defaults() {
    let settings = read(&[], &[]).unwrap();
    assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", 3000));
    assert_eq!(settings.claude_path, Path::new("claude"));
    assert_eq!(settings.workspace, Path::new("/home/u/agent-workspace"));
    assert_eq!(settings.mode, Mode::Ask);
    assert_eq!(settings.replay_bytes, 16_777_216);
    assert_eq!(settings.slot_timeouts.ping_interval, Duration::from_secs(30));
    assert_eq!(settings.slot_timeouts.pong_timeout, Duration::from_secs(10));
    assert_eq!(settings.slot_timeouts.probe_timeout, Duration::from_secs(2));
    assert_eq!(settings.stop_grace, Duration::from_secs(5));
    assert_eq!(settings.permission_timeout, Duration::from_secs(600));
    assert!(!settings.demo && settings.auth_token.is_none());
}

#[test]
fn a_flag_has_precedence_and_an_empty_variable_is_unset() {
    assert_eq!(read(&["--port", "1"], &[("PORT", "2")]).unwrap().port, 1);
    assert_eq!(read(&[], &[("PORT", "2")]).unwrap().port, 2);
    assert_eq!(read(&[], &[("PORT", "")]).unwrap().port, 3000);
    assert!(read(&[], &[("RELAY_DEMO", "1")]).unwrap().demo);
    assert!(!read(&[], &[("RELAY_DEMO", "0")]).unwrap().demo);
    assert_eq!(
        read(&[], &[("RELAY_PING_INTERVAL", "500ms")]).unwrap().slot_timeouts.ping_interval,
        Duration::from_millis(500)
    );
}

#[test]
fn a_value_that_begins_with_a_dash_names_its_flag() {
    for (flag, value) in [
        ("--probe-timeout", "-1s"),
        ("--mode", "-x"),
        ("--workspace", "-x"),
        ("--allow-origin", "-h.example"),
        ("--replay-bytes", "-5"),
    ] {
        let error = read(&[flag, value], &[]).unwrap_err();
        assert!(error.contains(flag), "{error}");
    }
    assert_eq!(read(&["--workspace=-x"], &[]).unwrap().workspace, Path::new("-x"));
    let unknown = read(&["--demo", "-x"], &[]).unwrap_err();
    assert!(unknown.contains("unexpected argument '-x'"), "{unknown}");
}

#[test]
fn a_bad_value_names_its_flag_or_variable() {
    for (args, environment, expected) in [
        (&["--port", "x"][..], &[][..], "--port: expected a number from 0 to 65535, got \"x\""),
        (&[], &[("PORT", "70000")], "PORT: expected a number from 0 to 65535, got \"70000\""),
        (
            &["--mode", "wild"],
            &[],
            "--mode: expected safe, ask, agentic or unrestricted, got \"wild\"",
        ),
        (
            &["--stop-grace", "5"],
            &[],
            "--stop-grace: expected a duration with a unit, got \"5\": did you mean 5s?",
        ),
        (&["--ping-interval", "0s"], &[], "--ping-interval: expected a duration above 0"),
        (&[], &[("RELAY_DEMO", "maybe")], "RELAY_DEMO: expected true or false, got \"maybe\""),
        (&["--log-format", "xml"], &[], "--log-format: expected text or json"),
        (&["--replay-bytes", "-1"], &[], "--replay-bytes: "),
        (&["--port", "-1"], &[], "--port: "),
        (&["--stop-grace", "-1"], &[], "--stop-grace: "),
    ] {
        let error = read(args, environment).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_drawn_token_is_another_one_each_time() {
    let drawn = || read(&["--auth-token", "auto"], &[]).unwrap();
    let token = |settings: &Settings| settings.auth_token.clone().unwrap().expose().to_owned();
    assert!(drawn().token_is_drawn && token(&drawn()).len() == 32);
    assert_ne!(token(&drawn()), token(&drawn()));
    assert!(read(&[], &[("RELAY_AUTH_TOKEN", "auto")]).unwrap().token_is_drawn);
    assert!(!read(&["--auth-token", "01234567"], &[]).unwrap().token_is_drawn);
    let error = read(&["--auth-token", "auto"], &[("E2B_SANDBOX", "true")]);
    let error = error.map(|_| ()).unwrap_err();
    assert!(error.contains("--auth-token: ") && error.contains("template"), "{error}");
}

#[test]
fn a_host_is_a_name_or_an_address_with_or_without_brackets() {
    for (given, host) in
        [("[::1]", "::1"), ("::1", "::1"), ("0.0.0.0", "0.0.0.0"), ("localhost", "localhost")]
    {
        assert_eq!(read(&["--host", given], &[]).unwrap().host, host);
    }
    for given in ["[::1]:3000", "127.0.0.1:80", "http://localhost", "[localhost]", "[::1", "a b"] {
        let error = read(&["--host", given], &[]).map(|_| ()).unwrap_err();
        assert!(error.starts_with("--host: ") && error.contains("--port"), "{error}");
    }
}

#[test]
fn the_keys_of_a_bucket_are_taken_out_of_the_environment() {
    let own = [
        ("RELAY_STORE_ACCESS_KEY_ID", "own"),
        ("RELAY_STORE_SECRET_ACCESS_KEY", "own-secret"),
        ("AWS_ACCESS_KEY_ID", "bedrock"),
        ("AWS_SECRET_ACCESS_KEY", "bedrock-secret"),
        ("AWS_SESSION_TOKEN", "bedrock-token"),
        ("AWS_REGION", "eu-central-1"),
    ];
    let store = ["--store", "s3://bucket/prefix"];
    for (environment, id, left) in [(&own[..], "own", 3), (&own[2..], "bedrock", 0)] {
        let settings = read(&store, environment).unwrap();
        let access = settings.store_access.as_ref().unwrap();
        assert_eq!((access.key_id.as_str(), access.region.as_str()), (id, "eu-central-1"));
        assert_eq!(access.token.is_some(), id == "bedrock");
        assert!(!format!("{settings:?}").contains(&format!("{id}-secret")));
        let is_key =
            |name: &OsStr| name.to_string_lossy().contains("KEY") || name == "AWS_SESSION_TOKEN";
        let kept = settings.environment.iter().filter(|(name, _)| is_key(name)).count();
        assert_eq!(kept, left);
    }
    let error = read(&store, &own[..1]).map(|_| ()).unwrap_err();
    assert!(error.contains("RELAY_STORE_SECRET_ACCESS_KEY"), "{error}");
    assert!(read(&["--store", "/var/lib/x"], &[]).unwrap().store_access.is_none());
}

#[test]
fn a_weak_token_is_refused_and_not_shown() {
    for token in ["", "short", "with space in the middle", "fünf und mehr"] {
        let error = read(&["--auth-token", token], &[]).map(|_| ()).unwrap_err();
        assert!(error.starts_with("--auth-token: a token has at least 8"), "{error}");
        assert!(token.is_empty() || !error.contains(token));
        let error = read(&[], &[("RELAY_AUTH_TOKEN", token)]).map(|_| ()).unwrap_err();
        assert!(error.starts_with("RELAY_AUTH_TOKEN: "), "{error}");
    }
    assert!(read(&["--auth-token", "01234567"], &[]).unwrap().auth_token.is_some());
}
