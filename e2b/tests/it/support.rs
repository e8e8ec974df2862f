//! Setup of the tests.

use std::collections::BTreeMap;
use std::time::Duration;

use claude_relay_e2b::http::E2b;
use claude_relay_e2b::sandbox::NewSandbox;
use claude_relay_e2b::settings::Options;
use claude_relay_testing::e2b::{API_KEY, FakeE2b};

/// Time limit of everything that should not have to wait.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Starts a fake and a client of it.
pub(crate) async fn fake() -> (FakeE2b, E2b) {
    let fake = FakeE2b::start().await;
    let e2b = client(&fake, Options::default());
    (fake, e2b)
}

/// Returns a client of a fake, with the other options as given.
pub(crate) fn client(fake: &FakeE2b, options: Options) -> E2b {
    let variables = BTreeMap::from([
        ("E2B_API_KEY".to_owned(), API_KEY.to_owned()),
        ("E2B_API_URL".to_owned(), fake.url()),
        ("E2B_SANDBOX_URL".to_owned(), fake.url()),
    ]);
    E2b::new(options.resolve_with(&variables).unwrap()).unwrap()
}

/// Returns the options of a sandbox as the official SDK requests it: its ports
/// are open to the internet.
pub(crate) fn public(template: &str) -> NewSandbox {
    NewSandbox { public_traffic: true, ..NewSandbox::new(template) }
}
