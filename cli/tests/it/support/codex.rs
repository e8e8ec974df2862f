//! A server with the real Codex behind it, and the command line in front.

use tokio::process::Command;

use super::program::{self, Told};
use claude_relay_testing::codex_home::{Home, variables};
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::responses_api::ResponsesApi;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools;

/// A server with Codex behind it, and Codex's API.
pub(crate) struct CodexFixture {
    pub(crate) relay: RelayProcess,
    pub(crate) api: ResponsesApi,
    env: TestEnv,
}

impl CodexFixture {
    /// In a mode of the server.
    pub(crate) async fn start(mode: &str) -> Self {
        let api = ResponsesApi::start();
        let url = api.url();
        Self::with(api, &url, &["--mode", mode]).await
    }

    /// With a model that nobody answers for, which is given up in a second.
    pub(crate) async fn out_of_reach() -> Self {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", gone.local_addr().unwrap());
        drop(gone);
        Self::with(ResponsesApi::start(), &url, &["--codex-retry-limit", "1s"]).await
    }

    async fn with(api: ResponsesApi, url: &str, arguments: &[&str]) -> Self {
        let env = TestEnv::new();
        Home::default().prepare(&env, url);
        let mut environment = env.environment();
        environment.extend(variables(&env).map(|(name, value)| (name.to_owned(), value)));
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = tools::codex();
        let arguments = [&["--codex-path", path.to_str().unwrap()], arguments].concat();
        let relay = RelayProcess::start(&arguments, &environment).await;
        Self { relay, api, env }
    }

    /// Returns true if the agent has made this file in its workspace.
    pub(crate) fn has_made(&self, file: &str) -> bool {
        self.relay.workspace().join(file).exists()
    }

    /// A file of the test's own.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.env.file(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The directory with Codex's state.
    pub(crate) fn home(&self) -> std::path::PathBuf {
        self.env.file("codex-home")
    }

    /// The command line, asking Codex.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.plain(arguments);
        command.args(["--provider", "codex"]);
        command
    }

    /// The command line with these arguments alone.
    pub(crate) fn plain(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(&self.relay.url);
        command.args(arguments);
        command
    }

    /// Exit code, stdout and stderr of the command line.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Told {
        program::run(&mut self.command(arguments)).await
    }
}
