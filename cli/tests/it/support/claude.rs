//! A server with the real Claude Code CLI behind it, which talks to a Messages
//! API of the tests. `scripts/test --tools` prints where the CLIs are.

use super::cli_kit::messages_api::MessagesApi;
use super::cli_kit::place::Place;
use super::cli_kit::tools::Cli;
use super::real::Relay;

/// Makes a test of each scenario for each CLI.
macro_rules! for_both_clis {
    ($($scenario:ident),* $(,)?) => {
        mod with_2_1_197 {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario($crate::support::cli_kit::tools::Cli::V2_1_197).await;
            })*
        }
        mod with_2_1_329 {
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario($crate::support::cli_kit::tools::Cli::V2_1_329).await;
            })*
        }
    };
}
pub(crate) use for_both_clis;

pub(crate) struct ClaudeFixture {
    pub(crate) relay: Relay,
    pub(crate) api: MessagesApi,
    _place: Place,
}

impl ClaudeFixture {
    pub(crate) async fn start(cli: Cli, mode: &str) -> Self {
        let (api, place) = (MessagesApi::start(), Place::new());
        let environment = place.environment_with(&api);
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = cli.path();
        let arguments = ["--claude-path", path.to_str().unwrap(), "--mode", mode];
        let relay = Relay::start(&arguments, &environment).await;
        Self { relay, api, _place: place }
    }
}
