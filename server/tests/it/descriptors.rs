//! The agent's stdin and stdout belong to the agent: what it starts can
//! neither answer its questions nor speak in its name.

use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use std::os::unix::fs::PermissionsExt;

/// Starts a tool that writes to the agent's stdin and stdout, tells what came
/// of it, and gives back every line that it reads.
const AGENT: &str = r#"#!/bin/bash
tool() {
    for fd in 0 1; do
        for how in '>' '<'; do
            if eval "echo '{\"type\":\"forged\"}' $how /proc/$1/fd/$fd" 2>/dev/null; then echo "open $fd"; else echo "closed $fd"; fi
        done
    done
}
said=$(tool $$ < /dev/null 2>/dev/null | tr '\n' ' ')
printf '{"type":"said","said":"%s"}\n' "$said"
while read -r line; do printf '{"type":"read","line":%s}\n' "$line"; done
"#;

#[tokio::test]
async fn no_tool_can_open_the_agents_stdin_and_stdout() {
    for mode in ["safe", "agentic", "ask"] {
        let env = TestEnv::new();
        let script = env.file("agent");
        std::fs::write(&script, AGENT).expect("a script");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        let relay =
            Launch::new(&env).mode(mode).argument("--claude-path").argument(&script).start();
        let mut client = Client::connect(relay.address()).await;
        let frames = client.until(|frame| frame["data"]["type"] == "said").await;
        let said = frames.last().expect("the line")["data"]["said"].as_str().expect("text");
        assert_eq!(said, "closed 0 closed 0 closed 1 closed 1 ", "{mode}");
        client.say("Hello").await;
        let frames = client.until(|frame| frame["data"]["line"]["type"] == "user").await;
        assert!(
            frames.iter().all(|frame| !frame.to_string().contains("forged")),
            "{mode}: {frames:?}"
        );
        client.close().await;
        relay.stop();
    }
}
