//! Transcripts as Claude Code keeps them, without a Claude Code.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// Name of the folder of a directory, whose path is short.
pub fn folder_name(cwd: &Path) -> String {
    let cwd = cwd.to_str().expect("a path of the test");
    cwd.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// The text of a transcript of `cwd`, a path without links: a question in `words`,
/// and an answer.
pub fn text(cwd: &Path, id: &str, words: &str) -> String {
    let line = |uuid: &str, parent: Value, kind: &str, text: &str| {
        json!({
            "parentUuid": parent, "isSidechain": false, "type": kind, "uuid": uuid, "cwd": cwd,
            "timestamp": "2026-11-28T13:10:04.224Z", "message": { "role": kind, "content": text },
        })
    };
    let lines = [
        line("u1", Value::Null, "user", words),
        line("a1", json!("u1"), "assistant", "Well."),
        json!({ "type": "cost-state", "sessionId": id, "totalCostUSD": 0.25 }),
    ];
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Puts one where Claude Code, whose directory is `state`, keeps those of `cwd`.
/// Returns its path.
pub fn keep(state: &Path, cwd: &Path, id: &str, words: &str) -> PathBuf {
    let cwd = cwd.canonicalize().expect("a directory of the test");
    let folder = state.join("projects").join(folder_name(&cwd));
    std::fs::create_dir_all(&folder).expect("a directory of the test");
    let file = folder.join(format!("{id}.jsonl"));
    std::fs::write(&file, text(&cwd, id, words)).expect("a file of the test");
    file
}

/// The `number`th id of a conversation.
pub fn id(number: usize) -> String {
    format!("{number:08x}-2222-4333-8444-555555555555")
}
