//! A server with the real Codex behind it.

use super::cli_kit::codex_home::{Home, variables};
use super::cli_kit::place::Place;
use super::cli_kit::responses_api::ResponsesApi;
use super::cli_kit::tools;
use super::real::Relay;

/// The actors of one scenario.
pub(crate) struct Scene {
    pub(crate) relay: Relay,
    pub(crate) api: ResponsesApi,
    _place: Place,
}

impl Scene {
    /// In a mode of the server.
    pub(crate) async fn start(mode: &str) -> Self {
        let (api, place) = (ResponsesApi::start(), Place::new());
        Home::default().prepare(&place, &api.url());
        let mut environment = place.environment();
        environment.extend(variables(&place).map(|(name, value)| (name.to_owned(), value)));
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = tools::codex();
        let arguments = ["--codex-path", path.to_str().unwrap(), "--mode", mode];
        let relay = Relay::start(&arguments, &environment).await;
        Self { relay, api, _place: place }
    }
}
