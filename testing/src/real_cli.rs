//! A relay with the real Claude Code CLI behind it, which talks to a Messages
//! API of the tests. `scripts/test --tools` prints where the CLIs are.

use crate::messages_api::MessagesApi;
use crate::relay_process::RelayProcess;
use crate::test_env::TestEnv;
use crate::tools::Cli;

/// Makes a test of each scenario for each pinned CLI.
#[macro_export]
macro_rules! for_both_clis {
    ($($scenario:ident),* $(,)?) => {
        mod newest_cli {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario($crate::tools::Cli::Newest).await;
            })*
        }
        mod oldest_cli {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario($crate::tools::Cli::Oldest).await;
            })*
        }
    };
}

/// A relay with one of the CLIs behind it.
pub struct CliFixture {
    /// The relay.
    pub relay: RelayProcess,
    /// The API that the CLI asks.
    pub api: MessagesApi,
    /// Its home and the state of the CLI.
    pub env: TestEnv,
}

impl CliFixture {
    /// Starts a relay in `mode`.
    pub async fn start(cli: Cli, mode: &str) -> Self {
        Self::start_with(cli, &["--mode", mode], &[]).await
    }

    /// Starts a relay with these arguments, and these variables besides those of
    /// every test.
    pub async fn start_with(cli: Cli, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let (api, env) = (MessagesApi::start(), TestEnv::new());
        let environment = env.environment_with(&api);
        let environment = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let environment: Vec<_> = environment.chain(variables.iter().copied()).collect();
        let path = cli.path();
        let path = path.to_str().expect("a path in UTF-8");
        let arguments = [&["--claude-path", path], arguments].concat();
        let relay = RelayProcess::start(&arguments, &environment).await;
        Self { relay, api, env }
    }
}
