//! An agent that answers `initialize` and then writes a file as it is: for
//! lines that no CLI of today prints.

use super::place::Place;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A script for `--claude-path` that answers the first user message with
/// `output`, written in pieces of `piece_bytes`, and then waits for the end of
/// its stdin.
pub(crate) fn printing(place: &Place, output: &[u8], piece_bytes: usize) -> PathBuf {
    let file = place.file("agent-output");
    std::fs::write(&file, output).expect("a file in the temp directory");
    let script = format!(
        "#!/bin/sh\n\
         read -r line\n\
         id=$(printf '%s' \"$line\" | sed 's/.*\"request_id\": *\"\\([^\"]*\\)\".*/\\1/')\n\
         printf '{{\"type\":\"control_response\",\"response\":{{\"subtype\":\"success\",\
         \"request_id\":\"%s\",\"response\":{{}}}}}}\\n' \"$id\"\n\
         read -r line\n\
         dd if='{}' bs={piece_bytes} status=none\n\
         exec cat > /dev/null\n",
        file.display(),
    );
    let path = place.file("scripted-agent");
    std::fs::write(&path, script).expect("a script in the temp directory");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        .expect("a mode for our own file");
    path
}
