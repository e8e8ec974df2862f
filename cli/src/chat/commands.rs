//! The commands of a chat, which begin with a slash.

use claude_relay_client::{Client, Error};

use crate::args::TurnArgs;
use crate::connect::fresh::{self, Begun};

pub(super) const HELP: &str = "/new          begin another conversation
/session      show the conversation's id
/model [NAME] show or change the model
/mode NAME    change the permission mode
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
    ShowModel,
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
    ShowConfig,
    Interrupt,
    NewConversation,
    /// A new conversation where one is open, at the start.
    BeginAnew,
}

/// The outcome of a [`Remote`].
pub(super) enum Done {
    Model(String),
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
            ("/session", "") => Self::ShowSession,
            ("/model", "") => Self::ShowModel,
            ("/model", model) => Self::Remote(Remote::SetModel(model.to_owned())),
            ("/mode", mode) if !mode.is_empty() => Self::Remote(Remote::SetMode(mode.to_owned())),
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
                Ok(Done::Nothing)
            }
            Self::ShowConfig => Ok(Done::Config(client.configuration().await?.get().to_owned())),
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
        for line in ["/compact", "/help me", "hello", "/mode", "/exit now"] {
            assert_eq!(Command::read(line), Command::Message(line.into()));
        }
    }
}
