//! E2B's cloud for the program: a fake of its API, and the server that is in its
//! sandboxes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use claude_relay_client::e2b::{E2b, Options};
use claude_relay_testing::e2b::{API_KEY, FakeE2b, Recorded};
use claude_relay_testing::relay_process::RelayProcess;
use serde_json::Value;
use tokio::process::Command;

use super::program::{Told, bare, run};
use super::soon;

/// The program, E2B's API, and the server that is in its sandboxes.
pub(crate) struct CloudFixture {
    pub(crate) fake: FakeE2b,
    pub(crate) relay: RelayProcess,
    pub(crate) folder: tempfile::TempDir,
}

impl CloudFixture {
    pub(crate) async fn start() -> Self {
        Self::with(&["--no-auth"]).await
    }

    /// With a server of these arguments.
    pub(crate) async fn with(arguments: &[&str]) -> Self {
        let relay = RelayProcess::demo(arguments).await;
        Self::around(relay, FakeE2b::start().await)
    }

    /// Sandboxes of this fake with this server in them.
    pub(crate) fn around(relay: RelayProcess, fake: FakeE2b) -> Self {
        fake.forward(3000, SocketAddr::from((Ipv4Addr::LOCALHOST, relay.port)));
        Self { fake, relay, folder: tempfile::tempdir().unwrap() }
    }

    /// The variables that lead to the fake.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("E2B_API_KEY", API_KEY.to_owned()),
            ("E2B_API_URL", self.fake.url()),
            ("E2B_SANDBOX_URL", self.fake.url()),
        ]
    }

    pub(crate) fn account(&self) -> E2b {
        let variables = self.variables().map(|(name, value)| (name.to_owned(), value));
        let variables = BTreeMap::from(variables);
        E2b::new(Options::default().resolve_with(&variables).unwrap()).unwrap()
    }

    /// The program, with what leads to the fake and nothing else.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare();
        command
            .args(arguments)
            .envs(self.variables())
            .env("ANTHROPIC_API_KEY", "sk-ant-made-up")
            .current_dir(self.folder.path());
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Told {
        run(&mut self.command(arguments)).await
    }

    /// Runs what must succeed and gives its stdout.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        stdout
    }

    /// The requests so far of a method and with a path that ends so.
    pub(crate) fn asked(&self, method: &str, path_ends: &str) -> Vec<Recorded> {
        let mut asked = self.fake.requests();
        asked.retain(|request| request.method == method && request.path.ends_with(path_ends));
        asked
    }

    /// The last configuration of a server.
    pub(crate) fn configured(&self) -> String {
        let asked = self.asked("POST", "/config");
        String::from_utf8(asked.last().unwrap().body.clone()).unwrap()
    }

    /// The names of the server's secrets, and its configuration.
    pub(crate) async fn server_has(&self, id: &str) -> (Vec<String>, String) {
        let token = self.fake.file(id, "/root/.claude-relay-token").unwrap();
        let direct = claude_relay_client::Client::builder()
            .connection_url(&self.relay.url)
            .environment(false)
            .token(String::from_utf8(token).unwrap());
        let nothing = claude_relay_client::RawJson::new("{}").unwrap();
        let answer = soon(direct.patch_configuration(nothing)).await.unwrap();
        (answer.secrets, answer.config.get().to_owned())
    }

    /// The network settings of the last sandbox.
    pub(crate) fn network(&self) -> Value {
        let asked = self.asked("POST", "/sandboxes");
        let body: Value = serde_json::from_slice(&asked.last().unwrap().body).unwrap();
        body["network"].clone()
    }

    pub(crate) fn only_sandbox(&self) -> String {
        let alive = self.fake.alive();
        assert_eq!(alive.len(), 1, "{alive:?}");
        alive[0].clone()
    }

    /// Nothing lives, every request was as the specification says, and the
    /// key was seen by the API alone.
    pub(crate) fn finish(self) {
        self.fake.finish();
    }
}
