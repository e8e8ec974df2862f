//! An agent that writes down how it was started and what it is told, while an
//! attack goes on. Before and after it is the built-in one, so that the checks
//! around an attack have somebody who answers.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::json;

use super::AttackHarness;
use crate::support::http;
use crate::support::relay::Launch;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;

/// A server under attack whose agent records its stdin.
pub(crate) struct RecordingHarness {
    pub(crate) harness: AttackHarness,
    /// While it is there, the built-in agent answers.
    peace: PathBuf,
    arguments: PathBuf,
    input: PathBuf,
}

impl RecordingHarness {
    /// The recording agent starts with the next client.
    pub(crate) async fn begin() -> Self {
        let env = TestEnv::new();
        let [script, peace, arguments, input] =
            ["agent", "peace", "arguments", "input"].map(|name| env.file(name));
        // Descriptor 3 keeps the agent's stdout open: the server stops one that has
        // closed it. Its turns have no end, so it ends itself for the next agent.
        let text = format!(
            "#!/bin/sh\n\
             [ -e '{peace}' ] && exec '{server}' demo-agent \"$@\"\n\
             printf '%s\\0' \"$@\" > '{arguments}.new'\n\
             mv '{arguments}.new' '{arguments}'\n\
             read -r line\n\
             id=$(printf '%s' \"$line\" | sed 's/.*\"request_id\": *\"\\([^\"]*\\)\".*/\\1/')\n\
             printf '{{\"type\":\"control_response\",\"response\":{{\"subtype\":\"success\",\"request_id\":\"%s\",\"response\":{{}}}}}}\\n' \"$id\"\n\
             printf '%s\\n' \"$line\" > '{input}.first'\n\
             while [ ! -e '{peace}' ]; do sleep 0.05; done && kill $$ &\n\
             exec cat 3>&1 > '{input}'\n",
            server = env!("CARGO_BIN_EXE_claude-relay-server"),
            peace = peace.display(),
            arguments = arguments.display(),
            input = input.display(),
        );
        std::fs::write(&script, text).expect("a script in the temp directory");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))
            .expect("a mode for our own file");
        std::fs::write(&peace, "").expect("a file in the temp directory");
        let launch = Launch::new(&env).argument("--claude-path").argument(&script);
        let harness = AttackHarness::of(launch.start(), "/ws", env).await;
        let recorder = Self { harness, peace, arguments, input };
        std::fs::remove_file(&recorder.peace).expect("it is ours");
        recorder.restart("recording").await;
        recorder
    }

    /// The arguments of the agent.
    pub(crate) async fn arguments(&self) -> Vec<String> {
        let read = || std::fs::read_to_string(&self.arguments).ok();
        let text = wait::until("the agent's arguments", read).await;
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// The first line on its stdin: the request `initialize`.
    pub(crate) async fn initialize(&self) -> String {
        let mut first = self.input.clone();
        first.set_extension("first");
        let read = || std::fs::read_to_string(&first).ok().filter(|text| text.ends_with('\n'));
        wait::until("the agent's first line", read).await
    }

    /// Waits for a line that is `last`: all lines after the first up to it.
    pub(crate) async fn lines_until(&self, last: &str) -> Vec<String> {
        wait::until(&format!("`{last:.200}` on the agent's stdin"), || {
            let input = std::fs::read_to_string(&self.input).ok()?;
            let lines: Vec<_> = input.split_terminator('\n').map(str::to_owned).collect();
            (input.ends_with('\n') && lines.last().is_some_and(|line| line == last))
                .then_some(lines)
        })
        .await
    }

    /// The checks after an attack.
    pub(crate) async fn over(self) {
        std::fs::write(&self.peace, "").expect("a file in the temp directory");
        self.restart("peace").await;
        self.harness.over().await;
    }

    /// The next client gets a new agent: another configuration asks for it.
    async fn restart(&self, model: &str) {
        let body = json!({ "model": model }).to_string();
        assert_eq!(http::post(self.harness.address(), "/config", &body).await.status, 200);
    }
}
