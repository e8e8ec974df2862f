//! The one place of the library that reads the environment.

use crate::secret::Secret;

/// The variables that stand in for settings.
pub(crate) struct Environment;

impl Environment {
    /// `ANTHROPIC_API_KEY`; empty counts as unset.
    #[allow(
        clippy::disallowed_methods,
        reason = "the client has no settings file; this is its one reader of the environment"
    )]
    pub(crate) fn anthropic_api_key() -> Option<Secret> {
        std::env::var("ANTHROPIC_API_KEY").ok().filter(|key| !key.is_empty()).map(Secret::from)
    }
}
