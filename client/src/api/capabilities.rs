//! Commands and models of the agent, as it told the relay
//! when it started.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::client::Client;
use crate::error::{ConnectionError, ControlError, SendError};
use crate::types::message::ServerMessage;

/// The waits for an agent that was just started.
const ATTEMPTS: u32 = 100;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);

/// A command that the agent understands when a message begins with it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct SlashCommand {
    /// Its name, without the slash.
    pub name: String,
    /// A description.
    #[serde(default)]
    pub description: String,
    /// Its arguments.
    #[serde(default, rename = "argumentHint")]
    pub argument_hint: String,
}

/// A model that the agent can use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The value that [`Client::set_model`] takes.
    pub value: String,
    /// Its name for people.
    #[serde(default, rename = "displayName")]
    pub display_name: String,
    /// A description.
    #[serde(default)]
    pub description: String,
}

impl Client {
    /// The commands that the agent has. An agent that was just started is
    /// waited for, up to 20 s.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for command in client.supported_commands().await? {
    ///     println!("/{}: {}", command.name, command.description);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ControlError::Refused`] when the agent does not tell: Codex does not;
    /// the rest is about the connection.
    pub async fn supported_commands(&self) -> Result<Vec<SlashCommand>, ControlError> {
        self.offered("commands").await
    }

    /// The models that the agent can use. Waits as
    /// [`supported_commands`](Self::supported_commands) does.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for model in client.supported_models().await? {
    ///     println!("{}: {}", model.value, model.display_name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`supported_commands`](Self::supported_commands).
    pub async fn supported_models(&self) -> Result<Vec<ModelInfo>, ControlError> {
        self.offered("models").await
    }

    async fn offered<T: DeserializeOwned>(
        &self,
        what: &'static str,
    ) -> Result<Vec<T>, ControlError> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            }
            let mut told = self.capabilities().await?;
            let list = told["agent"][what].take();
            if list.is_array() {
                return serde_json::from_value(list).map_err(|error| malformed(what, error));
            }
            if told["agent"]["provider"] != "claude" {
                break;
            }
        }
        Err(ControlError::Refused {
            subtype: "initialize".into(),
            message: format!("the agent does not tell its {what}"),
        })
    }

    /// Asks for the server's capabilities and waits for them.
    async fn capabilities(&self) -> Result<serde_json::Value, ControlError> {
        let mut messages = self.messages();
        self.request_capabilities().await?;
        loop {
            let message = messages.next().await.unwrap_or(Err(ConnectionError::Stopped));
            let message = message.map_err(|source| SendError::DeliveryUnknown { source })?;
            if let ServerMessage::Capabilities(told) = message {
                return serde_json::from_str(told.get())
                    .map_err(|error| malformed("capabilities", error));
            }
        }
    }
}

fn malformed(what: &'static str, error: serde_json::Error) -> ControlError {
    ControlError::Malformed { what, source: Arc::new(error) }
}
