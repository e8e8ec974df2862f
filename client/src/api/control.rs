//! The control requests of the SDK: whatever its query object can do, by name
//! for the common ones and as JSON for all others.

use claude_relay_protocol::json::fields;
use serde_json::{Value, json};

use crate::api::client::Client;
use crate::error::ControlError;
use crate::types::raw_json::{RawJson, text_of};

impl Client {
    /// Sends a control request, such as `{"subtype":"mcp_status"}`, and waits
    /// for the agent's answer: the `response` in it, or `{}`.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::RawJson;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = RawJson::new(r#"{"subtype":"mcp_status"}"#)?;
    /// println!("{}", client.control(&request).await?.get());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ControlError::Refused`] with the agent's words;
    /// [`SendError::DeliveryUnknown`](crate::SendError::DeliveryUnknown) if the connection broke before the answer.
    pub async fn control(&self, request: &RawJson) -> Result<RawJson, ControlError> {
        let answer = self.control_raw(request).await?;
        let [subtype, response, error] =
            fields(answer.get(), ["subtype", "response", "error"]).unwrap_or([None; 3]);
        if text_of(subtype).as_deref() == Some("success") {
            return Ok(match response {
                Some(response) => RawJson::from_raw(response),
                None => RawJson::from_value(&json!({})),
            });
        }
        let [asked] = fields(request.get(), ["subtype"]).unwrap_or([None]);
        Err(ControlError::Refused {
            subtype: text_of(asked).unwrap_or_default().into(),
            message: text_of(error).map_or_else(|| answer.get().to_owned(), Into::into),
        })
    }

    async fn control_value(&self, request: &Value) -> Result<RawJson, ControlError> {
        self.control(&RawJson::from_value(request)).await
    }

    /// Changes the model for the turns to come; `None` for the agent's default.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.set_model(Some("opus")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`control`](Self::control), here and below.
    pub async fn set_model(&self, model: Option<&str>) -> Result<(), ControlError> {
        let request = match model {
            Some(model) => json!({ "subtype": "set_model", "model": model }),
            None => json!({ "subtype": "set_model" }),
        };
        self.control_value(&request).await.map(drop)
    }

    /// Changes the permission mode: `default`, `acceptEdits`, `plan`,
    /// `bypassPermissions`. The server's mode is the ceiling.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.set_permission_mode("plan").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_permission_mode(&self, mode: &str) -> Result<(), ControlError> {
        self.control_value(&json!({ "subtype": "set_permission_mode", "mode": mode }))
            .await
            .map(drop)
    }

    /// Begins another conversation with Codex, in the same process. Claude Code
    /// does not know it: there the message `/clear` does this.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.new_conversation().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn new_conversation(&self) -> Result<(), ControlError> {
        self.control_value(&json!({ "subtype": "new_conversation" })).await.map(drop)
    }

    /// Bounds the tokens for thinking; `None` for the model's default.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.set_max_thinking_tokens(Some(4096)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_max_thinking_tokens(&self, tokens: Option<u64>) -> Result<(), ControlError> {
        let request =
            json!({ "subtype": "set_max_thinking_tokens", "max_thinking_tokens": tokens });
        self.control_value(&request).await.map(drop)
    }

    /// The state of the MCP servers, as JSON.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{}", client.mcp_status().await?.get());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn mcp_status(&self) -> Result<RawJson, ControlError> {
        self.control_value(&json!({ "subtype": "mcp_status" })).await
    }

    /// Connects an MCP server anew.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.mcp_reconnect("database").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn mcp_reconnect(&self, server: &str) -> Result<(), ControlError> {
        self.control_value(&json!({ "subtype": "mcp_reconnect", "serverName": server }))
            .await
            .map(drop)
    }

    /// Turns an MCP server on or off.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.mcp_toggle("database", false).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn mcp_toggle(&self, server: &str, enabled: bool) -> Result<(), ControlError> {
        let request = json!({ "subtype": "mcp_toggle", "serverName": server, "enabled": enabled });
        self.control_value(&request).await.map(drop)
    }

    /// Puts the files back to where they were at a user message, given by its
    /// id; with `dry_run` only says what that would change. Needs the agent's
    /// file checkpoints.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::UserMessage;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let message = UserMessage::text("Rename the module.");
    /// client.send(message).await?;
    /// let changes = client.rewind_files("id-of-a-user-message", true).await?;
    /// println!("{}", changes.get());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rewind_files(
        &self,
        user_message_id: &str,
        dry_run: bool,
    ) -> Result<RawJson, ControlError> {
        let mut request = json!({ "subtype": "rewind_files", "user_message_id": user_message_id });
        if dry_run {
            request["dry_run"] = Value::Bool(true);
        }
        self.control_value(&request).await
    }

    /// The contents of the model's context, as JSON.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{}", client.context_usage().await?.get());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn context_usage(&self) -> Result<RawJson, ControlError> {
        self.control_value(&json!({ "subtype": "get_context_usage" })).await
    }

    /// Ends a task in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.stop_task("id-of-a-task").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stop_task(&self, task_id: &str) -> Result<(), ControlError> {
        self.control_value(&json!({ "subtype": "stop_task", "task_id": task_id })).await.map(drop)
    }
}
