//! Sandboxes of E2B, against a fake of E2B's API that forwards a sandbox's
//! port to a real server.

mod failures;
mod files;
mod leaving;
mod life;
mod outside;
mod resuming;
mod snapshot;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use claude_relay_client::e2b::{E2b, Options};
use claude_relay_client::{
    Client, ClientBuilder, ConnectError, ConnectionError, RequestError, SandboxError, SendError,
    TurnError,
};
use claude_relay_testing::e2b::{API_KEY, Channel, FakeE2b, Fault, Recorded};

use crate::support::soon;
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::wait;

/// For what cleans up after itself at leisure.
const CLEANUP: Duration = Duration::from_secs(60);
/// Path of the claim token in a sandbox.
const TOKEN_FILE: &str = "/root/.claude-relay-token";

/// The cloud: E2B, and the server that is in its sandboxes.
struct Cloud {
    fake: FakeE2b,
    e2b: E2b,
    relay: RelayProcess,
}

impl Cloud {
    /// With the built-in agent, and nothing in the server's environment.
    async fn start() -> Self {
        Self::with(RelayProcess::demo(&["--no-auth"]).await).await
    }

    async fn with(relay: RelayProcess) -> Self {
        let fake = FakeE2b::start().await;
        let e2b = account(&fake, Options::default());
        let cloud = Self { fake, e2b, relay };
        cloud.open_the_port();
        cloud
    }

    fn open_the_port(&self) {
        self.fake.forward(3000, SocketAddr::from((Ipv4Addr::LOCALHOST, self.relay.port)));
    }

    /// A client in a fresh sandbox that takes nothing from the environment of
    /// the tests.
    fn client(&self) -> ClientBuilder {
        self.settings(Client::builder().template("claude-agent-server")).environment(false)
    }

    /// A client of a sandbox that was left.
    fn attach(&self, id: &str) -> ClientBuilder {
        self.settings(Client::attach(id))
    }

    fn settings(&self, builder: ClientBuilder) -> ClientBuilder {
        builder.e2b(self.e2b.clone()).start_timeout(crate::support::DEADLINE)
    }

    /// Nothing is under way any more, nothing lives, every request was as the
    /// specification says, and the key was seen by the API alone.
    async fn finish(self) {
        assert!(self.e2b.wait_for_cleanup(CLEANUP).await, "something is still being cleaned up");
        self.fake.finish();
    }

    /// The requests so far of a method and with a path that ends so.
    fn asked(&self, method: &str, path_ends: &str) -> Vec<Recorded> {
        let mut asked = self.fake.requests();
        asked.retain(|request| request.method == method && request.path.ends_with(path_ends));
        asked
    }

    /// The one sandbox there is.
    fn only_one(&self) -> String {
        let alive = self.fake.alive();
        assert_eq!(alive.len(), 1, "{alive:?}");
        alive[0].clone()
    }

    async fn is_empty(&self) {
        wait::until("no sandbox to live", || self.fake.alive().is_empty().then_some(())).await;
    }
}

/// An account of this fake.
fn account(fake: &FakeE2b, options: Options) -> E2b {
    let variables = variables(fake).into_iter().map(|(name, value)| (name.to_owned(), value));
    let variables: BTreeMap<_, _> = variables.collect();
    E2b::new(options.resolve_with(&variables).unwrap()).unwrap()
}

/// The variables that lead to this fake.
fn variables(fake: &FakeE2b) -> [(&'static str, String); 3] {
    [
        ("E2B_API_KEY", API_KEY.to_owned()),
        ("E2B_API_URL", fake.url()),
        ("E2B_SANDBOX_URL", fake.url()),
    ]
}

/// Answer of the sandbox proxy while nothing listens on the port.
fn closed_port() -> Fault {
    let body = serde_json::json!({
        "sandboxId": "i1", "message": "The sandbox is running but port is not open",
        "port": 3000, "code": 502,
    });
    Fault::Refuse { status: 502, body, headers: vec![] }
}

async fn failed(builder: ClientBuilder) -> ConnectError {
    soon(builder.start()).await.expect_err("it started")
}
