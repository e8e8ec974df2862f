//! The one place of the library that reads the environment.

use claude_relay_protocol::proxy::ProxyVariables;

use crate::types::Secret;

/// The variables that stand in for settings.
pub(crate) struct Environment;

impl Environment {
    /// A variable; empty counts as unset.
    #[allow(
        clippy::disallowed_methods,
        reason = "the client has no settings file; this is its one reader of the environment"
    )]
    fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    pub(crate) fn anthropic_api_key() -> Option<Secret> {
        Self::variable("ANTHROPIC_API_KEY").map(Secret::from)
    }

    /// The variables that name a proxy.
    pub(crate) fn proxies() -> ProxyVariables {
        ProxyVariables::read(Self::variable)
    }

    /// The credential for an agent in a fresh sandbox, which has none of its
    /// own: found where E2B's key is found, in a `.env` file too.
    #[cfg(feature = "e2b")]
    pub(crate) fn credential_for_sandbox(configuration: &mut crate::Configuration) {
        use claude_relay_e2b::settings::{Environment as _, ProcessEnvironment};

        // The reason why a file is refused has been told with the E2B key.
        let environment =
            ProcessEnvironment::read().unwrap_or_else(|_| ProcessEnvironment::without_file());
        let secret = |name| environment.get(name).map(Secret::from);
        if configuration.provider.as_deref() == Some("codex") {
            let key = secret("OPENAI_API_KEY").map(|key| ("OPENAI_API_KEY".to_owned(), key));
            configuration.env = key.map(|key| [key].into());
            return;
        }
        configuration.anthropic_api_key = secret("ANTHROPIC_API_KEY");
        configuration.claude_code_oauth_token = secret("CLAUDE_CODE_OAUTH_TOKEN");
        configuration.anthropic_auth_token = secret("ANTHROPIC_AUTH_TOKEN");
        // The API that these are for, unless it was configured otherwise.
        if configuration.anthropic_base_url.is_none() {
            configuration.anthropic_base_url = environment.get("ANTHROPIC_BASE_URL");
        }
    }
}
