//! Agents of a few lines of shell: one prints any bytes, one records the bytes
//! that have reached it.

use crate::test_env::TestEnv;
use crate::wait;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Reads `initialize` and answers it.
const ANSWER_INITIALIZE: &str = r#"read -r line
id=$(printf '%s' "$line" | sed 's/.*"request_id": *"\([^"]*\)".*/\1/')
printf '{"type":"control_response","response":{"subtype":"success","request_id":"%s","response":{}}}\n' "$id"
"#;

/// A script for `--claude-path` that answers the first user message with
/// `output`, written in pieces of `piece_bytes`, and then waits for the end of
/// its stdin.
pub fn printing(env: &TestEnv, output: &[u8], piece_bytes: usize) -> PathBuf {
    let file = env.file("agent-output");
    std::fs::write(&file, output).expect("a file in the temp directory");
    let print = format!("read -r line\ndd if='{}' bs={piece_bytes} status=none\n", file.display());
    script(env, &format!("{ANSWER_INITIALIZE}{print}exec cat 3>&1 > /dev/null\n"))
}

/// A script for `--claude-path` that answers the first user message with these
/// lines, pauses for 200 ms at each empty one, and then waits for the end of its
/// stdin.
pub fn pausing(env: &TestEnv, lines: &str) -> PathBuf {
    let file = env.file("agent-lines");
    std::fs::write(&file, lines).expect("a file in the temp directory");
    let print = r#"if [ -n "$line" ]; then printf '%s\n' "$line"; else sleep 0.2; fi"#;
    let each = format!("while IFS= read -r line <&4; do {print}; done 4< '{}'", file.display());
    script(env, &format!("{ANSWER_INITIALIZE}read -r line\n{each}\nexec cat 3>&1 > /dev/null\n"))
}

/// A script that records its stdin after `initialize` and prints nothing.
pub struct Recorder {
    /// The script for `--claude-path`.
    pub script: PathBuf,
    input: PathBuf,
}

impl Recorder {
    /// Writes the script into the environment of a test.
    pub fn new(env: &TestEnv) -> Self {
        let input = env.file("agent-input");
        let keep = format!("exec cat > '{}'\n", input.display());
        Self { script: script(env, &format!("{ANSWER_INITIALIZE}{keep}")), input }
    }

    /// Waits for the line `last` and returns all lines up to it.
    pub async fn lines_until(&self, last: &str) -> Vec<String> {
        wait::until(&format!("`{last:.200}` on the agent's stdin"), || {
            let input = std::fs::read_to_string(&self.input).ok()?;
            let lines: Vec<_> = input.split_terminator('\n').map(str::to_owned).collect();
            (input.ends_with('\n') && lines.last().is_some_and(|line| line == last))
                .then_some(lines)
        })
        .await
    }
}

fn script(env: &TestEnv, body: &str) -> PathBuf {
    let path = env.file("scripted-agent");
    executable(&path, format!("#!/bin/sh\n{body}"));
    path
}

/// Writes a file that can be executed.
pub fn executable(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::write(path, text).expect("a file in the temp directory");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .expect("a mode for our own file");
}
