//! Every option of the official SDK: what it gives to the CLI, this server
//! gives it too. The SDK itself is driven, and its declarations are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::config::Uncarried;
use claude_relay_protocol::config::fields::Field;
use claude_relay_server::agent::Version;
use claude_relay_server::agent::claude::launch::{Launch, LaunchSettings, launch};
use claude_relay_server::agent::mode::Mode;
use claude_relay_testing::tools;
use serde_json::Value;

const CASES: &str = include_str!("../sdk/cases.json");

fn cases() -> Vec<Value> {
    serde_json::from_str(CASES).expect("cases")
}

/// The names of the options that the SDK declares.
fn declared() -> BTreeSet<String> {
    let text = fs::read_to_string(tools::agent_sdk().join("sdk.d.ts")).expect("declarations");
    let text = text.replace("\r\n", "\n");
    let (_, options) = text.split_once("export declare type Options = {\n").expect("Options");
    let (options, _) = options.split_once("\n};\n").expect("the end of Options");
    // Names of its own stand four columns in; comments have a star there.
    let name = |line: &str| {
        let line = line.strip_prefix("    ")?;
        let (name, _) = line.split_once(':')?;
        let name = name.strip_suffix('?').unwrap_or(name);
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
        plain.then(|| name.to_owned())
    };
    options.lines().filter_map(name).collect()
}

#[test]
fn every_declared_option_is_a_field_or_is_known_not_to_be_carried() {
    let declared = declared();
    assert!(declared.len() >= 70, "{declared:?}");
    let (mut unknown, mut undriven) = (Vec::new(), Vec::new());
    let driven: BTreeSet<String> = cases()
        .iter()
        .flat_map(|case| case["options"].as_object().expect("options").keys().cloned())
        .collect();
    for name in &declared {
        match (Field::by_name(name), Uncarried::by_name(name)) {
            (None, None) => unknown.push(name),
            (None, Some(_)) => {}
            // Its value holds functions; the relay's own form is another.
            (Some(_), _) if name == "hooks" => {}
            (Some(_), _) if !driven.contains(name) => undriven.push(name),
            (Some(_), _) => {}
        }
    }
    assert!(unknown.is_empty(), "new options of the SDK, without a decision here: {unknown:?}");
    assert!(undriven.is_empty(), "options without a case in cases.json: {undriven:?}");
}

/// What the SDK gave to the program in the CLI's place, by case.
#[expect(
    clippy::disallowed_methods,
    reason = "the rule is about the server's own children; this one is the test's"
)]
fn driven(directory: &Path) -> BTreeMap<String, Value> {
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk");
    let mut node = Command::new("node");
    node.arg(format!("{files}/drive.mjs")).arg(tools::agent_sdk());
    node.arg(format!("{files}/cases.json")).arg(format!("{files}/recorder")).arg(directory);
    let output = node.output().expect("node runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let error = String::from_utf8_lossy(&output.stderr);
    let said = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let said: BTreeMap<_, _> =
        said.map(|case| (case["case"].as_str().expect("a name").to_owned(), case)).collect();
    assert!(!said.is_empty(), "{error}");
    said
}

/// An argument in which JSON has one spelling.
fn spelled(argument: &str) -> String {
    let (flag, value) = match argument.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => (format!("{flag}="), value),
        _ => (String::new(), argument),
    };
    match serde_json::from_str::<Value>(value) {
        Ok(json @ Value::Object(_)) => format!("{flag}{}", sorted(json)),
        _ => argument.to_owned(),
    }
}

/// The same value with the names of objects in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<_, _> =
                map.into_iter().map(|(name, value)| (name, sorted(value))).collect();
            map.into_iter().collect()
        }
        Value::Array(list) => list.into_iter().map(sorted).collect(),
        other => other,
    }
}

fn arguments(launch: &Launch) -> Vec<String> {
    let mut args: Vec<_> =
        launch.args.iter().map(|arg| arg.to_str().expect("text").to_owned()).collect();
    // Intended difference: the servers are passed in a file.
    if let Some(at) = args.iter().position(|arg| arg == "--mcp-config") {
        args[at + 1] = fs::read_to_string(&args[at + 1]).expect("the file of the servers");
    }
    args.iter().map(|arg| spelled(arg)).collect()
}

#[test]
fn the_command_and_the_first_request_are_the_sdk_s() {
    let (sdk, workspace) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let driven = driven(sdk.path());
    let mut differences = Vec::new();
    for case in cases() {
        let name = case["case"].as_str().expect("a name");
        let theirs = &driven[name];
        assert!(theirs["error"].is_null(), "{name}: {}", theirs["error"]);
        let mode: Mode = case["mode"].as_str().expect("a mode").parse().unwrap();
        let settings = LaunchSettings {
            claude_path: "claude".into(),
            workspace: workspace.path().to_owned(),
            temp_dir: workspace.path().to_owned(),
            mode,
            trusted: true,
            version: Version::parse(tools::Cli::Newest.version()),
            prompt_tool: case["prompt_tool"] == true,
            session_mirror: false,
            environment: Vec::new(),
            is_root: false,
            in_sandbox: false,
            session_id: None,
        };
        let body = case["options"].to_string();
        let parsed = QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap();
        assert!(parsed.ignored.is_empty(), "{name}: {:?}", parsed.ignored);
        let launch = launch(&parsed.config, &settings, None).unwrap();

        let ours = arguments(&launch);
        let argv = theirs["argv"].as_array().expect("arguments");
        let argv: Vec<_> = argv.iter().map(|arg| spelled(arg.as_str().expect("text"))).collect();
        // What keeps the mode stands behind the SDK's arguments.
        let behind = ours.strip_prefix(&*argv).map(|rest| {
            mode != Mode::Unrestricted
                && rest.iter().all(|arg| {
                    arg.starts_with("--permission-mode=") || arg.starts_with("--settings=")
                })
                || rest.is_empty()
        });
        if behind != Some(true) {
            differences.push(format!("{name}: arguments\n ours  {ours:?}\n theirs {argv:?}"));
        }

        let mut first: Value = serde_json::from_str(&launch.initialize).unwrap();
        // Intended difference: a changed prompt counts in a conversation that
        // goes on, unless the client says otherwise.
        let says = body.contains("snapshot");
        if !says && (body.contains("\"resume\"") || body.contains("\"continue\":true")) {
            let snapshot = first.as_object_mut().unwrap().remove("systemPromptSnapshot");
            let resumes = !body.contains("\"resume\":\"\"");
            assert_eq!(snapshot, resumes.then_some(Value::Bool(false)), "{name}");
        }
        if first != theirs["initialize"] {
            let theirs = &theirs["initialize"];
            differences.push(format!("{name}: initialize\n ours   {first}\n theirs {theirs}"));
        }

        let env: BTreeSet<_> = launch
            .env
            .iter()
            .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value.to_str()?)))
            .filter(|line| line.starts_with("CLAUDE_"))
            .collect();
        // The version has a test of its own, and the SDK may be a newer one.
        let version = "CLAUDE_AGENT_SDK_VERSION=";
        let mut env: BTreeSet<_> =
            env.into_iter().filter(|line| !line.starts_with(version)).collect();
        let variables = theirs["env"].as_array().expect("variables");
        let variables: BTreeSet<_> =
            variables.iter().map(|line| line.as_str().expect("text").to_owned()).collect();
        let variables: BTreeSet<_> =
            variables.into_iter().filter(|line| !line.starts_with(version)).collect();
        if mode != Mode::Unrestricted {
            // What keeps the mode.
            env.retain(|line| !line.contains("_AUTO_MEMORY="));
        }
        if env != variables {
            differences.push(format!("{name}: variables\n ours   {env:?}\n theirs {variables:?}"));
        }
        let verbatim = theirs["user"]["client_composed"] == true;
        assert_eq!(verbatim, body.contains("verbatimPrompts"), "{name}");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
