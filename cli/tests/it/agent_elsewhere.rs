//! Programs with the official Agent SDKs whose agent has another filesystem, home
//! and working directory: they see the same as with an agent beside them.

use claude_relay_testing::tools::Cli;

use crate::agent_sdk::{Fixture, assert_same, outcomes};

/// Scenarios that name no file of the program's machine, but for those that are
/// read there.
const TYPESCRIPT: [&str; 13] = [
    "text",
    "options_by_argv",
    "partial_messages",
    "structured_output",
    "tool_allowed",
    "hooks",
    "host_tools",
    "interrupt",
    "servers_set_later",
    "resumed",
    "sub_agent",
    "environment",
    "started_before_its_prompt",
];

const PYTHON: [&str; 6] =
    ["text", "options_by_argv", "client_with_callbacks", "host_tools", "interrupt", "methods"];

#[tokio::test]
async fn an_agent_on_another_filesystem_makes_no_difference() {
    let fixture = Fixture::elsewhere().await;
    let (direct, agent, relay) = (Cli::Newest.path(), fixture.agent(), &fixture.relay.url);
    let (typescript, relayed_typescript, python, relayed_python) = tokio::join!(
        outcomes(fixture.typescript(&direct, relay, &TYPESCRIPT)),
        outcomes(fixture.typescript(&agent, relay, &TYPESCRIPT)),
        outcomes(fixture.python(&direct, relay, &PYTHON)),
        outcomes(fixture.python(&agent, relay, &PYTHON)),
    );
    for (direct, relayed, count) in
        [(typescript, relayed_typescript, TYPESCRIPT.len()), (python, relayed_python, PYTHON.len())]
    {
        assert_eq!((direct.len(), relayed.len()), (count, count));
        assert_same(&direct, &relayed);
    }
}
