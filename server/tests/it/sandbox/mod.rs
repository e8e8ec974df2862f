//! The OS sandbox: attempts to get out of it, what must still work in it, and
//! the starts that it ends.
//!
//! Most agents here are a few lines of shell, so that an attempt is exactly
//! the one that is named. The real CLI follows in `sandbox_cli`.

mod escapes;
mod kernel;
mod start;
mod works;

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::{Client, Seen};
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use serde_json::{Value, json};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const TOKEN: &str = "token-of-the-server";

/// A server with `--sandbox bwrap` and an agent that does as a test says.
struct Cell {
    env: TestEnv,
    relay: Relay,
    script: PathBuf,
}

impl Cell {
    fn start() -> Self {
        Self::launched(|launch| launch)
    }

    fn launched(adjust: impl FnOnce(Launch) -> Launch) -> Self {
        let env = TestEnv::new();
        let script = env.file("agent-of-shell");
        write_script(&script, "exec cat 3>&1 > /dev/null");
        let launch = Launch::new(&env)
            .argument("--claude-path")
            .argument(&script)
            .argument("--sandbox=bwrap")
            .argument(format!("--auth-token={TOKEN}"));
        let relay = adjust(launch).start();
        Self { env, relay, script }
    }

    /// Lets the agent be `body`, and connects.
    async fn agent(&self, body: &str) -> Client {
        write_script(&self.script, body);
        let mut client = Client::open(self.relay.address(), &format!("/ws?token={TOKEN}")).await;
        assert_eq!(client.frame().await["type"], "connected");
        client
    }

    /// Output of `commands` in the sandbox: stdout and stderr together.
    async fn run(&self, commands: &str) -> String {
        let mut client = self
            .agent(&format!(
                "say() {{ od -An -tx1 -v | tr -d ' \\n'; }}\n\
                 said=$( {{ {commands}\n}} 2>&1 | say )\n\
                 printf '{{\"type\":\"said\",\"said\":\"%s\"}}\\n' \"$said\"\n\
                 exec cat 3>&1 > /dev/null"
            ))
            .await;
        let frames = client.until(|frame| frame["data"]["type"] == "said").await;
        let said = frames.last().and_then(|frame| frame["data"]["said"].as_str());
        let said = unhex(said.expect("hexadecimal digits"));
        client.close().await;
        said
    }

    async fn configure(&self, config: &Value) -> http::Response {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Content-Type", "application/json"), ("Authorization", &*bearer)];
        http::request(self.relay.address(), "POST", "/config", &headers, &config.to_string()).await
    }

    fn secret(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.env.file(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, "the secret").expect("a file of the test");
        path
    }
}

fn write_script(path: &Path, body: &str) {
    // The server asks the executable for its version first.
    let version = "[ \"$1\" = --version ] && { echo '2.1.329 (Claude Code)'; exit; }";
    executable(path, format!("#!/bin/bash\n{version}\n{body}\n"));
}

fn unhex(digits: &str) -> String {
    let bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("two digits"))
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
