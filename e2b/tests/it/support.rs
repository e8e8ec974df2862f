//! Setup of the tests.

use std::collections::BTreeMap;
use std::time::Duration;

use claude_relay_e2b::http::E2b;
use claude_relay_e2b::sandbox::NewSandbox;
use claude_relay_e2b::settings::Options;
use claude_relay_testing::e2b::{API_KEY, FakeE2b};

/// Longest time of anything that does not have to wait.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A fake and a client of it.
pub(crate) async fn fake() -> (FakeE2b, E2b) {
    let fake = FakeE2b::start().await;
    let e2b = client(&fake, Options::default());
    (fake, e2b)
}

/// A client of a fake, with the rest of the options as given.
pub(crate) fn client(fake: &FakeE2b, options: Options) -> E2b {
    let variables = BTreeMap::from([
        ("E2B_API_KEY".to_owned(), API_KEY.to_owned()),
        ("E2B_API_URL".to_owned(), fake.url()),
        ("E2B_SANDBOX_URL".to_owned(), fake.url()),
    ]);
    E2b::new(options.resolve_with(&variables).unwrap()).unwrap()
}

/// A sandbox as the official SDK asks for one: its ports open to the world.
pub(crate) fn public(template: &str) -> NewSandbox {
    NewSandbox { public_traffic: true, ..NewSandbox::new(template) }
}
