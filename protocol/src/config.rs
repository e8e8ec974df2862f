//! The configuration of `GET /config` and `POST /config`.
//!
//! The fields have the names and meanings of the official TypeScript SDK's
//! options. [`QueryConfig::parse`] reads the body of a `POST`,
//! [`QueryConfig::patch`] that of a `PATCH`. [`QueryConfig::echo`] returns the
//! part of the result that may be shown. [`fields`] declares the fields.
//!
//! * A field that is `null` is not set. The original client leaves out
//!   undefined fields, so `null` has the same meaning here.
//! * Of duplicate names the last one counts.
//! * `"***"` ([`MASK`]) stands for the secret that was there before, so a
//!   client can edit the echo and post it back.
//! * JSON that is passed on (`agents`, `mcpServers`, a schema) keeps its order
//!   and its spelling. Only white space between tokens is removed.

mod agents;
mod canonical;
mod echo;
mod env;
pub mod fields;
mod hooks;
mod mask;
mod merge;
mod options;
mod parse;
#[cfg(test)]
mod properties;
mod raw;
pub(crate) mod servers;
pub mod uncarried;
mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

pub use self::echo::Echo;
pub use self::fields::PassedOn;
pub use self::uncarried::Uncarried;
pub use crate::secret::Secret;

/// Placeholder for a secret in a configuration that is shown. Posted back, it
/// keeps the previous secret.
pub const MASK: &str = "***";

/// Greatest nesting depth of arrays and objects. Common JSON parsers, the
/// agent's included, have a similar limit.
pub const MAX_DEPTH: usize = 128;

/// Longest value, in bytes, that becomes one argument or environment variable
/// of the agent. Linux limits the value to 128 KiB with the flag's name and the
/// final NUL (`MAX_ARG_STRLEN`); this limit leaves room for both.
pub const MAX_ARGUMENT_BYTES: usize = 120 * 1024;

/// Number of unknown fields that [`Parsed::ignored`] names; one more entry
/// counts the rest.
pub const MAX_IGNORED: usize = 32;

/// Shortest token, in bytes: a shorter one can be guessed.
pub const MIN_AUTH_TOKEN_BYTES: usize = 8;

/// Longest `authToken`, in bytes: it has to fit into a header.
pub const MAX_AUTH_TOKEN_BYTES: usize = 4096;

/// Variables of an environment, in the order given, each name once.
pub type Env = Vec<(String, Secret)>;

/// A configuration, complete: posting one replaces the one before.
///
/// Equality covers the secrets and ignores white space between JSON tokens.
/// A configuration that [is equivalent](Self::is_equivalent) to the one before
/// never restarts anything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueryConfig {
    /// Sub-agents by name: one JSON object, verbatim. Kept as a secret because
    /// an agent may bring MCP servers, with headers.
    pub agents: Option<Secret>,
    /// Tools that may be used without asking.
    pub allowed_tools: Option<Vec<String>>,
    /// The system prompt. Not set means an empty one, as in the SDK.
    pub system_prompt: Option<SystemPrompt>,
    /// The model.
    pub model: Option<String>,
    /// MCP servers by name: one JSON object, verbatim, with their headers.
    pub mcp_servers: Option<Secret>,
    /// Tools that may not be used.
    pub disallowed_tools: Option<Vec<String>>,
    /// The tools that exist.
    pub tools: Option<Tools>,
    /// The permission mode.
    pub permission_mode: Option<PermissionMode>,
    /// The maximum number of turns per message: at least 1.
    pub max_turns: Option<u64>,
    /// The maximum number of thinking tokens; 0 turns thinking off.
    pub max_thinking_tokens: Option<u64>,
    /// The maximum cost of the conversation in US dollars: finite, above 0.
    pub max_budget_usd: Option<f64>,
    /// The model that the agent uses when the first is overloaded.
    pub fallback_model: Option<String>,
    /// The effort of the model. Not checked: the set grows with the models.
    pub effort: Option<String>,
    /// Sends text while the model writes it. Default: no.
    pub include_partial_messages: Option<bool>,
    /// The settings files that the agent loads. Default: the project's.
    pub setting_sources: Option<Vec<SettingSource>>,
    /// Directories beside the working directory, absolute or relative to it.
    pub additional_directories: Option<Vec<String>>,
    /// A JSON schema for the final answer: one compact object.
    pub output_schema: Option<Json>,
    /// The id or the title of a conversation to resume.
    pub resume: Option<String>,
    /// Continues the latest conversation. Default: no.
    pub continue_latest: Option<bool>,
    /// Gives a resumed conversation a new id. Default: no.
    pub fork_session: Option<bool>,
    /// The working directory, inside the workspace and relative to it unless
    /// absolute. The server checks at the start of the agent that it is inside.
    pub cwd: Option<String>,
    /// Variables that override inherited ones.
    pub env: Option<Env>,
    /// An API key: `ANTHROPIC_API_KEY` of the agent.
    pub anthropic_api_key: Option<Secret>,
    /// An OAuth token: `CLAUDE_CODE_OAUTH_TOKEN` of the agent.
    pub claude_code_oauth_token: Option<Secret>,
    /// A bearer token: `ANTHROPIC_AUTH_TOKEN` of the agent.
    pub anthropic_auth_token: Option<Secret>,
    /// The Messages API's address: `ANTHROPIC_BASE_URL` of the agent. A secret
    /// because an address can hold a password; the echo masks only that.
    pub anthropic_base_url: Option<Secret>,
    /// The agent to run.
    pub provider: Provider,
    /// Values of the fields that have no member above, by the name of their
    /// row in [`fields::FIELDS`]. The relay passes them on as they are.
    pub other: BTreeMap<&'static str, Json>,
}

/// Result of [`QueryConfig::parse`].
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The configuration to store.
    pub config: QueryConfig,
    /// Names of unknown fields, to be reported to the sender. At most
    /// [`MAX_IGNORED`] names, each cut, and a count of the others.
    pub ignored: Vec<String>,
    /// The known name that each of those was probably meant to be, if there is
    /// one.
    pub hints: Vec<(String, &'static str)>,
    /// Why the options of the SDK among those have no effect.
    pub reasons: Vec<(String, &'static str)>,
    /// The `authToken` of the body, which is not part of the configuration: a
    /// server without a token takes it as its own. Visible ASCII, not empty.
    pub auth_token: Option<Secret>,
}

/// A system prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemPrompt {
    /// This text.
    Text(String),
    /// These texts, one block each.
    Blocks(Vec<String>),
    /// One of the above in its long form.
    Custom {
        /// The prompt.
        prompt: Box<Self>,
        /// Whether a resumed conversation keeps the prompt it began with.
        snapshot: Option<bool>,
    },
    /// Claude Code's own prompt.
    Preset {
        /// Text that follows it.
        append: Option<String>,
        /// Leaves out the parts that differ between machines.
        exclude_dynamic_sections: Option<bool>,
        /// Whether a resumed conversation keeps the prompt it began with.
        snapshot: Option<bool>,
    },
}

/// The tools that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tools {
    /// These, and none when empty.
    List(Vec<String>),
    /// Claude Code's own.
    Preset,
}

/// JSON text, compact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(Box<str>);

impl Json {
    /// The text: valid JSON on one line.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }
}

macro_rules! names {
    ($(#[$doc:meta])* $type:ident, $expected:literal { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            pub(crate) const EXPECTED: &'static str = $expected;

            /// The name on the wire and on the agent's command line.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The one of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }

        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

names! {
    /// The permission mode. The agent exits at once on any other name.
    PermissionMode,
    r#"one of "default", "acceptEdits", "bypassPermissions", "plan", "dontAsk", "auto""# {
        /// Asks about everything that is neither allowed nor denied.
        Default = "default",
        /// Edits files without asking.
        AcceptEdits = "acceptEdits",
        /// Asks about nothing.
        BypassPermissions = "bypassPermissions",
        /// Plans and changes nothing.
        Plan = "plan",
        /// Denies every tool that is not allowed.
        DontAsk = "dontAsk",
        /// Lets a model decide.
        Auto = "auto",
    }
}

names! {
    /// A location of settings files. The agent exits at once on any other name.
    SettingSource,
    r#"one of "user", "project", "local""# {
        /// The user's settings, in the home directory.
        User = "user",
        /// The project's settings.
        Project = "project",
        /// The project's settings that are not checked in.
        Local = "local",
    }
}

names! {
    /// The agent to run.
    #[derive(Default)]
    Provider,
    r#"one of "claude", "codex""# {
        /// Claude Code.
        #[default]
        Claude = "claude",
        /// Codex.
        Codex = "codex",
    }
}

/// Reason for refusing a body. Its text is the `error` of the answer: it names
/// the field and holds no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The body is not JSON, or not UTF-8.
    #[error("Invalid JSON")]
    InvalidJson,
    /// The body is JSON and no object.
    #[error("expected a JSON object")]
    NotAnObject,
    /// Arrays and objects are nested too deeply.
    #[error("arrays and objects lie more than {MAX_DEPTH} deep inside one another")]
    TooDeep,
    /// A known field has another type or is none of the possible values.
    #[error("{path}: expected {expected}")]
    WrongType {
        /// The path of the value, such as `allowedTools[1]`.
        path: String,
        /// The expected form, such as `a string`.
        expected: &'static str,
    },
    /// A value of the right type that cannot be used.
    #[error("{path}: {reason}")]
    Refused {
        /// The path of the value.
        path: String,
        /// The reason, and the remedy.
        reason: Cow<'static, str>,
    },
}
