//! A CLI whose stdout is also kept in a file, byte for byte: what a relay must
//! have passed on is then known from the source and not from the relay.

use super::ws::{Client, Seen};
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The wrapper script and the file it writes.
pub(crate) struct Tee {
    script: PathBuf,
    lines: PathBuf,
}

impl Tee {
    /// Wraps `program`.
    ///
    /// The program replaces the wrapper and so keeps its pid, its stdin and
    /// its exit status; only its stdout goes through `tee`, which writes what
    /// it has read at once and in order. `tee` ignores the signals that end
    /// the program, so that it lives to pass on the last line. A call that is
    /// no conversation (`--version`) is not kept.
    pub(crate) fn wrap(env: &TestEnv, program: &Path) -> Self {
        let tee = Self { script: env.file("claude-teed"), lines: env.file("claude-stdout") };
        let script = format!(
            "#!/bin/bash\n\
             case \" $* \" in\n\
             *stream-json*) exec '{program}' \"$@\" > >(trap '' HUP INT TERM; exec tee -a '{lines}') ;;\n\
             *) exec '{program}' \"$@\" ;;\n\
             esac\n",
            program = program.display(),
            lines = tee.lines.display(),
        );
        executable(&tee.script, script);
        tee
    }

    /// The script to start in place of the program.
    pub(crate) fn script(&self) -> &Path {
        &self.script
    }

    /// Lines that a client must get: all but those on the deny-list.
    fn expected(&self) -> Vec<String> {
        let lines = std::fs::read_to_string(&self.lines).expect("the CLI prints UTF-8");
        lines.split_terminator('\n').filter(|line| is_relayed(line)).map(str::to_owned).collect()
    }

    /// Forgets what has been printed so far.
    pub(crate) fn forget(&self) {
        // `tee` appends, so a file cut to nothing goes on from its beginning.
        std::fs::write(&self.lines, "").expect("a file in the temp directory");
    }

    /// Reads on until `client` has seen as many messages as were printed, and
    /// compares them with what the CLI printed, byte for byte and in order.
    ///
    /// Good only for a client that has been there from the first line on.
    pub(crate) async fn assert_verbatim(&self, client: &mut Client) {
        while client.data().len() < self.expected().len() {
            if let Seen::Closed(code) = client.see().await {
                panic!("the connection ended ({code:?}) before all lines had come");
            }
        }
        // `tee` writes to the relay first and to the file after that.
        let seen = client.data().len();
        let expected = wait::until("the file to hold what the client has seen", || {
            Some(self.expected()).filter(|expected| expected.len() >= seen)
        })
        .await;
        assert!(!expected.is_empty(), "the comparison has something to compare");
        for (number, (seen, expected)) in client.data().iter().zip(&expected).enumerate() {
            assert!(
                *seen == expected,
                "message {number} differs:\nsaid {expected:.2000}\nseen {seen:.2000}"
            );
        }
        assert_eq!(client.data().len(), expected.len());
    }
}

/// The deny-list of the official SDK, written a second time and by other
/// means than the server's.
fn is_relayed(line: &str) -> bool {
    let line: Value = serde_json::from_str(line).expect("the CLI prints JSON");
    match line["type"].as_str() {
        Some(
            "control_response"
            | "control_request"
            | "control_cancel_request"
            | "keep_alive"
            | "transcript_mirror",
        ) => false,
        Some("system") => {
            !(line["subtype"] == "session_state_changed" && line["sdk_host_only"] == true)
        }
        _ => true,
    }
}
