//! A real CLI, a scripted API, a server and one client: what every scenario
//! with the real CLI begins with and ends with.

use super::http;
use super::relay::{Launch, Relay};
use super::tee::Tee;
use super::ws::Client;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::process::Process;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::{Value, json};

/// The actors of one scenario.
pub(crate) struct CliFixture {
    pub(crate) env: TestEnv,
    pub(crate) api: MessagesApi,
    pub(crate) relay: Relay,
    pub(crate) client: Client,
    tee: Tee,
}

impl CliFixture {
    /// A CLI that may use its tools, nothing configured.
    pub(crate) async fn start(cli: Cli) -> Self {
        Self::configured(cli, json!({})).await
    }

    /// The same with `config` posted before the agent starts.
    pub(crate) async fn configured(cli: Cli, config: Value) -> Self {
        Self::launched(cli, config, |launch| launch).await
    }

    /// The same with a say in how the server is started.
    pub(crate) async fn launched(
        cli: Cli,
        config: Value,
        adjust: impl FnOnce(Launch) -> Launch,
    ) -> Self {
        Self::opened(cli, config, adjust, "/ws").await
    }

    /// The same with a client that opens `path`.
    pub(crate) async fn opened(
        cli: Cli,
        config: Value,
        adjust: impl FnOnce(Launch) -> Launch,
        path: &str,
    ) -> Self {
        let (env, api) = (TestEnv::new(), MessagesApi::start());
        let tee = Tee::wrap(&env, &cli.path());
        let relay = adjust(Launch::unrestricted(&env, tee.script(), &api)).start();
        let answer = http::post(relay.address(), "/config", &config.to_string()).await;
        assert_eq!((answer.status, &answer.json()["applies"]), (200, &json!("now")), "{answer:?}");
        let mut client = Client::open(relay.address(), path).await;
        assert_eq!(client.frame().await["type"], "connected");
        Self { env, api, relay, client, tee }
    }

    /// The same fixture with a new client in place of the old one.
    pub(crate) async fn reconnect(mut self) -> Self {
        // The old client's messages are compared while it is there; the new
        // one gets the lines that the CLI prints from now on.
        self.tee.assert_verbatim(&mut self.client).await;
        self.client.close().await;
        self.tee.forget();
        self.client = Client::connect(self.relay.address()).await;
        self
    }

    /// The agent's part of `/health`.
    pub(crate) async fn agent(&self) -> Value {
        http::get(self.relay.address(), "/health").await.json()["agent"].take()
    }

    /// The pid of the running agent.
    pub(crate) async fn agent_pid(&self) -> i32 {
        let agent = self.agent().await;
        let pid = agent["pid"].as_i64().unwrap_or_else(|| panic!("a running agent, not {agent}"));
        i32::try_from(pid).expect("a process id fits")
    }

    /// Waits for a process of the server's offspring whose command line holds
    /// `words`.
    pub(crate) async fn process(&self, words: &str) -> Process {
        wait::until(&format!("a process `{words}`"), || {
            self.relay.offspring().into_iter().find(|process| process.command == words)
        })
        .await
    }

    /// A scenario's end: the client has got what the CLI printed, the server goes
    /// without leaving anything, and the recording of it plays to the same frames.
    pub(crate) async fn end(mut self) {
        self.tee.assert_verbatim(&mut self.client).await;
        self.client.close().await;
        self.relay.stop();
    }

    /// The end for a scenario that goes on with another server on the same
    /// place: this one is stopped while its client is there.
    pub(crate) async fn stop_server(self) -> (TestEnv, MessagesApi, Option<u16>) {
        let Self { env, api, relay, mut client, .. } = self;
        relay.stop();
        let code = client.closed().await;
        (env, api, code)
    }
}
