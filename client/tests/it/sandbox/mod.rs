//! Sandboxes of E2B, against a fake of E2B's API that forwards a sandbox's
//! port to a real server.

mod life;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use claude_relay_client::e2b::{E2b, Options};
use claude_relay_client::{Client, ClientBuilder};
use claude_relay_e2b_fake::{API_KEY, Fake};

use crate::support::PATIENCE;
use crate::support::real::Relay;

/// The cloud: E2B and the server that its sandboxes hold.
struct Cloud {
    fake: Fake,
    e2b: E2b,
    relay: Relay,
}

impl Cloud {
    /// With the built-in agent.
    async fn start() -> Self {
        Self::with(Relay::demo(&["--no-auth"]).await).await
    }

    async fn with(relay: Relay) -> Self {
        let fake = Fake::start().await;
        fake.forward(3000, SocketAddr::from((Ipv4Addr::LOCALHOST, relay.port)));
        let variables = BTreeMap::from([
            ("E2B_API_KEY".to_owned(), API_KEY.to_owned()),
            ("E2B_API_URL".to_owned(), fake.url()),
            ("E2B_SANDBOX_URL".to_owned(), fake.url()),
        ]);
        let e2b = E2b::new(Options::default().resolve_with(&variables).unwrap()).unwrap();
        Self { fake, e2b, relay }
    }

    /// A client in a fresh sandbox that takes nothing from the environment of
    /// the tests.
    fn client(&self) -> ClientBuilder {
        Client::builder()
            .template("claude-agent-server")
            .e2b(self.e2b.clone())
            .environment(false)
            .start_timeout(PATIENCE)
    }

    /// Nothing is under way any more, nothing lives, and the key was seen by
    /// the API alone.
    async fn finish(self) {
        assert!(self.e2b.settled(PATIENCE).await, "something is still being cleaned up");
        self.fake.finish();
    }

    /// How many requests of this route E2B's API, envd and the server got.
    fn count(&self, method: &str, path_ends: &str) -> usize {
        let fits = |request: &&claude_relay_e2b_fake::Recorded| {
            request.method == method && request.path.ends_with(path_ends)
        };
        self.fake.requests().iter().filter(fits).count()
    }
}
