//! Tools and hooks that the program itself runs.

use std::fmt::Display;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ClientBuilder;

impl ClientBuilder {
    /// Gives the agent a tool that runs in this program: it is called with what
    /// the agent says, read as the type, and answers with a text or an error.
    /// The agent knows it as `mcp__host__NAME`, and asks before it uses it,
    /// unless that name is among the [`allowed_tools`](Self::allowed_tools). A
    /// call runs once, also when the connection breaks meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    /// use schemars::JsonSchema;
    ///
    /// #[derive(serde::Deserialize, JsonSchema)]
    /// struct Parcel {
    ///     /// The number of the parcel.
    ///     number: u32,
    /// }
    ///
    /// async fn state(parcel: Parcel) -> Result<String, std::num::TryFromIntError> {
    ///     Ok(format!("parcel {} is on its way", parcel.number))
    /// }
    ///
    /// let builder = Client::builder()
    ///     .tool("parcel_state", "Tells the state of a parcel", state)
    ///     .allowed_tools(["mcp__host__parcel_state"]);
    /// ```
    #[must_use]
    pub fn tool<T, F, R, O, E>(mut self, name: &str, description: &str, call: F) -> Self
    where
        T: DeserializeOwned + JsonSchema,
        F: Fn(T) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, E>> + Send + 'static,
        O: Display,
        E: Display,
    {
        self.callbacks.add_tool(name, description, call);
        self.options.host_tools = true;
        self
    }

    /// Runs a hook of the agent in this program, at the event of that name and,
    /// where there is a pattern, for the tools that it matches. It is given the
    /// hook's input and answers with its output, `{}` for none.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    /// use serde_json::json;
    ///
    /// let builder = Client::builder().hook("PreToolUse", Some("Bash"), |input| async move {
    ///     let command = input["tool_input"]["command"].as_str().unwrap_or_default();
    ///     match command.contains("push") {
    ///         true => json!({ "decision": "block", "reason": "nothing is pushed from here" }),
    ///         false => json!({}),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn hook<F, R>(mut self, event: &str, matcher: Option<&str>, run: F) -> Self
    where
        F: Fn(Value) -> R + Send + Sync + 'static,
        R: Future<Output = Value> + Send + 'static,
    {
        self.callbacks.add_hook(event, matcher.map(str::to_owned), run);
        self.options.hooks = true;
        self
    }
}
