//! A server with the real Claude Code CLI behind it, which talks to a Messages
//! API of the tests. `scripts/test --tools` prints where the CLIs are.

use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;

/// Makes a test of each scenario for each CLI.
macro_rules! for_both_clis {
    ($($scenario:ident),* $(,)?) => {
        mod with_2_1_197 {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(claude_relay_testing::tools::Cli::V2_1_197).await;
            })*
        }
        mod with_2_1_329 {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(claude_relay_testing::tools::Cli::V2_1_329).await;
            })*
        }
    };
}
pub(crate) use for_both_clis;

pub(crate) struct ClaudeFixture {
    pub(crate) relay: RelayProcess,
    pub(crate) api: MessagesApi,
    _env: TestEnv,
}

impl ClaudeFixture {
    pub(crate) async fn start(cli: Cli, mode: &str) -> Self {
        let (api, env) = (MessagesApi::start(), TestEnv::new());
        let environment = env.environment_with(&api);
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = cli.path();
        let arguments = ["--claude-path", path.to_str().unwrap(), "--mode", mode];
        let relay = RelayProcess::start(&arguments, &environment).await;
        Self { relay, api, _env: env }
    }
}
