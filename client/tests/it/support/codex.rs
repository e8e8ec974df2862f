//! A server with the real Codex behind it.

use claude_relay_testing::codex_home::{Home, variables};
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::responses_api::ResponsesApi;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools;

/// The actors of one scenario.
pub(crate) struct CodexFixture {
    pub(crate) relay: RelayProcess,
    pub(crate) api: ResponsesApi,
    _env: TestEnv,
}

impl CodexFixture {
    /// In a mode of the server.
    pub(crate) async fn start(mode: &str) -> Self {
        let (api, env) = (ResponsesApi::start(), TestEnv::new());
        Home::default().prepare(&env, &api.url());
        let mut environment = env.environment();
        environment.extend(variables(&env).map(|(name, value)| (name.to_owned(), value)));
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = tools::codex();
        let arguments = ["--codex-path", path.to_str().unwrap(), "--mode", mode];
        let relay = RelayProcess::start(&arguments, &environment).await;
        Self { relay, api, _env: env }
    }
}
