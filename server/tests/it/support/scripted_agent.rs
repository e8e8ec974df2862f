//! Agents of a few lines of shell, for what no CLI of today does: print any
//! bytes at all, or show which bytes have reached it.

use super::place::Place;
use super::wait;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Reads `initialize` and answers it.
const ANSWER_INITIALIZE: &str = r#"read -r line
id=$(printf '%s' "$line" | sed 's/.*"request_id": *"\([^"]*\)".*/\1/')
printf '{"type":"control_response","response":{"subtype":"success","request_id":"%s","response":{}}}\n' "$id"
"#;

/// A script for `--claude-path` that answers the first user message with
/// `output`, written in pieces of `piece_bytes`, and then waits for the end of
/// its stdin.
pub(crate) fn printing(place: &Place, output: &[u8], piece_bytes: usize) -> PathBuf {
    let file = place.file("agent-output");
    std::fs::write(&file, output).expect("a file in the temp directory");
    let print = format!("read -r line\ndd if='{}' bs={piece_bytes} status=none\n", file.display());
    script(place, &format!("{ANSWER_INITIALIZE}{print}exec cat > /dev/null\n"))
}

/// A script that keeps what comes after `initialize` and says nothing.
pub(crate) struct Recorder {
    pub(crate) script: PathBuf,
    input: PathBuf,
}

impl Recorder {
    pub(crate) fn new(place: &Place) -> Self {
        let input = place.file("agent-input");
        let keep = format!("exec cat > '{}'\n", input.display());
        Self { script: script(place, &format!("{ANSWER_INITIALIZE}{keep}")), input }
    }

    /// Waits for a line that is `last`: all lines up to it.
    pub(crate) async fn lines_until(&self, last: &str) -> Vec<String> {
        wait::until(&format!("`{last:.200}` on the agent's stdin"), || {
            let input = std::fs::read_to_string(&self.input).ok()?;
            let lines: Vec<_> = input.split_terminator('\n').map(str::to_owned).collect();
            (input.ends_with('\n') && lines.last().is_some_and(|line| line == last))
                .then_some(lines)
        })
        .await
    }
}

fn script(place: &Place, body: &str) -> PathBuf {
    let path = place.file("scripted-agent");
    std::fs::write(&path, format!("#!/bin/sh\n{body}")).expect("a script in the temp directory");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .expect("a mode for our own file");
    path
}
