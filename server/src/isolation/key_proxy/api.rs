//! The APIs whose credentials the key proxy keeps.

use claude_relay_protocol::credentials::{
    BASE_URL, Credential, OPENAI_BASE_URL, logins, openai_logins,
};

/// The API of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Anthropic's, for Claude Code.
    Messages,
    /// OpenAI's, for Codex.
    Responses,
}

impl Api {
    /// Returns the default address.
    pub(super) fn default_base(self) -> &'static str {
        match self {
            Self::Messages => "https://api.anthropic.com",
            Self::Responses => "https://api.openai.com/v1",
        }
    }

    /// Returns the variable of the address.
    pub(super) fn base_variable(self) -> &'static str {
        match self {
            Self::Messages => BASE_URL,
            Self::Responses => OPENAI_BASE_URL,
        }
    }

    /// Returns the paths below the address that the agent may request.
    pub(super) fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Messages => &["/v1/messages", "/v1/messages/count_tokens", "/v1/models"],
            Self::Responses => &["/responses", "/responses/compact", "/models"],
        }
    }

    /// Returns the credentials.
    pub(super) fn logins(self) -> Vec<&'static Credential> {
        match self {
            Self::Messages => logins().collect(),
            Self::Responses => openai_logins().collect(),
        }
    }

    /// Returns the variables of the credentials, for a sentence.
    pub(super) fn names(self) -> String {
        let names: Vec<_> = self.logins().into_iter().map(|row| row.variable).collect();
        names.join(" or ")
    }
}
