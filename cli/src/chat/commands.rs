//! The commands of a chat, which begin with a slash.

use std::time::Duration;

use claude_relay_client::{Client, Error, Health, ModelInfo};

use crate::args::TurnArgs;
use crate::connect::fresh::{self, Begun};
use crate::health::State;

/// The time for an agent that was just started to tell its models.
const OFFER_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) const HELP: &str = "/new          begin another conversation
/session      show the conversation's id
/model [NAME] show the model and those there are, or change it
/mode [NAME]  show or change the permission mode
/cost         show what the conversation has cost
/status       show the state of the server
/config       show the server's configuration
/interrupt    stop what the agent is doing
/exit         leave (also /quit, or the end of input)
Any other /command goes to the agent. Ctrl-C stops a turn; twice leaves.";

/// One line, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Leave,
    Help,
    ShowSession,
    ShowCost,
    /// One that the server or the agent has to answer.
    Remote(Remote),
    /// A message for the agent.
    Message(String),
}

/// A command that takes time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remote {
    SetModel(String),
    SetMode(String),
    ShowModel,
    ShowMode,
    ShowStatus,
    ShowConfig,
    /// What a chat at a terminal begins with.
    Greet,
    Interrupt,
    NewConversation,
    /// A new conversation where one is open, at the start.
    BeginAnew,
}

/// The outcome of a [`Remote`].
pub(super) enum Done {
    Model(String),
    Mode(String),
    Models { state: Box<State>, models: Vec<ModelInfo> },
    Modes(Box<State>),
    Status(Box<(State, Health)>),
    Greeting(Box<(State, Health)>),
    Config(String),
    Conversation(Begun),
    Nothing,
}

impl Command {
    pub(super) fn read(line: &str) -> Self {
        let line = line.trim();
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match (command, rest.trim()) {
            ("/exit" | "/quit", "") => Self::Leave,
            ("/help", "") => Self::Help,
            // The second is what codex_ws_client calls it.
            ("/session" | "/thread", "") => Self::ShowSession,
            ("/cost", "") => Self::ShowCost,
            ("/model", "") => Self::Remote(Remote::ShowModel),
            ("/mode", "") => Self::Remote(Remote::ShowMode),
            ("/status", "") => Self::Remote(Remote::ShowStatus),
            ("/model", model) => Self::Remote(Remote::SetModel(model.to_owned())),
            ("/mode", mode) => Self::Remote(Remote::SetMode(mode.to_owned())),
            ("/config", "") => Self::Remote(Remote::ShowConfig),
            ("/interrupt", "") => Self::Remote(Remote::Interrupt),
            ("/new", "") => Self::Remote(Remote::NewConversation),
            _ => Self::Message(line.to_owned()),
        }
    }
}

impl Remote {
    pub(super) async fn run(self, client: Client) -> Result<Done, Error> {
        match self {
            Self::SetModel(model) => {
                client.set_model(Some(&model)).await?;
                Ok(Done::Model(model))
            }
            Self::SetMode(mode) => {
                client.set_permission_mode(&mode).await?;
                Ok(Done::Mode(mode))
            }
            Self::ShowModel => {
                let (state, _) = look(&client).await?;
                Ok(Done::Models { state: Box::new(state), models: models(&client).await })
            }
            Self::ShowMode => Ok(Done::Modes(Box::new(look(&client).await?.0))),
            Self::ShowStatus => Ok(Done::Status(Box::new(look(&client).await?))),
            Self::Greet => Ok(Done::Greeting(Box::new(look(&client).await?))),
            Self::ShowConfig => {
                let config = client.configuration().await?;
                let pretty = config
                    .parse::<serde_json::Value>()
                    .and_then(|value| serde_json::to_string_pretty(&value));
                Ok(Done::Config(pretty.unwrap_or_else(|_| config.get().to_owned())))
            }
            Self::Interrupt => {
                client.interrupt().await?;
                Ok(Done::Nothing)
            }
            Self::NewConversation => fresh::begin(&client).await.map(Done::Conversation),
            Self::BeginAnew => Ok(match fresh::is_wanted(&client, &TurnArgs::default()).await? {
                true => Done::Conversation(fresh::begin(&client).await?),
                false => Done::Nothing,
            }),
        }
    }
}

/// The state of the server.
async fn look(client: &Client) -> Result<(State, Health), Error> {
    let health = client.health().await?;
    Ok((State::of(&health), health))
}

/// The models that the agent offers; none where it does not say at once.
async fn models(client: &Client) -> Vec<ModelInfo> {
    let offered = tokio::time::timeout(OFFER_TIMEOUT, client.supported_models()).await;
    offered.ok().and_then(Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_only_where_it_is_one_of_ours() {
        assert_eq!(Command::read(" /quit "), Command::Leave);
        assert_eq!(
            Command::read("/model  opus "),
            Command::Remote(Remote::SetModel("opus".into()))
        );
        for line in ["/compact", "/help me", "hello", "/cost now", "/exit now"] {
            assert_eq!(Command::read(line), Command::Message(line.into()));
        }
    }
}
