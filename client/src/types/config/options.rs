//! Values of a configuration that have a form of their own.

use serde::Serialize;

/// The model's thinking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Thinking {
    /// As much as the model thinks right.
    Adaptive {
        /// The part of it that is sent: `summarized` or `omitted`.
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<String>,
    },
    /// Up to a number of tokens.
    Enabled {
        /// The most tokens, at least 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        budget_tokens: Option<u64>,
        /// The part of it that is sent: `summarized` or `omitted`.
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<String>,
    },
    /// None.
    Disabled,
}

/// Tokens that the model is told to get along with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TaskBudget {
    /// The number, at least 1.
    pub total: u64,
}

/// The skills of the main conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Skills {
    /// All.
    #[serde(serialize_with = "all")]
    All,
    /// Those of these names.
    Named(Vec<String>),
}

fn all<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("all")
}

/// A plugin: commands, agents, skills, hooks and MCP servers of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Plugin {
    /// A directory of the server's machine.
    Local {
        /// Its path.
        path: String,
        /// Leaves its MCP servers out.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        skip_mcp_discovery: bool,
    },
}

impl Plugin {
    /// The plugin in a directory of the server's machine.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Configuration, Plugin};
    ///
    /// let plugins = Some(vec![Plugin::local("./plugins/review")]);
    /// let configuration = Configuration { plugins, ..Default::default() };
    /// ```
    #[must_use]
    pub fn local(path: impl Into<String>) -> Self {
        Self::Local { path: path.into(), skip_mcp_discovery: false }
    }
}
