//! The layout against the official Agent SDK: its conformance suite, and its view
//! of what a relay has kept.

use super::Machine;
use claude_relay_testing::tools::{self, Cli};
use serde_json::{Value, json};
use std::path::Path;

#[expect(clippy::disallowed_methods, reason = "the rule is about the server's own children")]
fn python(arguments: &[&Path]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testing/agent-sdk/directory_store.py");
    let output = std::process::Command::new(tools::agent_sdk_python())
        .arg(script)
        .args(arguments)
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("it prints text")
}

#[test]
fn the_layout_passes_the_sdk_s_conformance_suite() {
    assert_eq!(python(&[]).trim(), "conforms");
}

#[tokio::test]
async fn the_sdk_loads_what_a_relay_has_kept() {
    let store = tempfile::tempdir().unwrap();
    let mut machine = Machine::start(Cli::Newest, store.path(), json!({})).await;
    let id = machine.turn("One?", "One.").await["session_id"].as_str().unwrap().to_owned();
    let workspace = machine.env.workspace().canonicalize().unwrap();
    let found: Value = serde_json::from_str(&python(&[store.path()])).unwrap();
    let project: String = workspace
        .to_str()
        .unwrap()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    assert_eq!(found[&id]["project"], json!(project));
    let entries = found[&id]["entries"].to_string();
    assert!(entries.contains("One?") && entries.contains("One."), "{entries}");
    machine.end().await;
}
