//! A new conversation for a program that does not go on with an old one.

use std::time::Duration;

use claude_relay_client::{Client, ControlError, Error, RequestError};
use serde::Deserialize;

use crate::args::TurnArgs;
use crate::exit::Exit;

/// The most time that beginning a conversation may take. The agent may have to
/// start first.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Details of `/health` about the agent.
#[derive(Deserialize)]
struct Health {
    agent: Option<Agent>,
}

#[derive(Deserialize)]
struct Agent {
    provider: Option<String>,
    #[serde(default)]
    demo: bool,
    session_id: Option<String>,
    #[serde(default)]
    in_turn: bool,
    #[serde(default)]
    waiting_messages: u64,
}

impl Agent {
    /// Returns true if it is in a conversation, or about to begin one for another
    /// client.
    fn has_begun(&self) -> bool {
        self.session_id.is_some() || self.in_turn || self.waiting_messages > 0
    }
}

/// The outcome of [`begin`].
pub(crate) enum Begun {
    /// The next message begins a conversation.
    Yes,
    /// The server cannot do it. The message `/clear` to Claude Code can.
    ByClear,
    /// The server cannot do it, and the agent cannot either.
    No,
}

/// Returns true if a conversation is open that is not the one to go on with.
pub(crate) async fn is_wanted(client: &Client, args: &TurnArgs) -> Result<bool, Error> {
    if args.goes_on() {
        return Ok(false);
    }
    Ok(agent(client).await?.is_some_and(|agent| agent.has_begun()))
}

/// Asks the server to begin another conversation with the next message.
pub(crate) async fn begin(client: &Client) -> Result<Begun, Error> {
    match client.new_conversation().await {
        Ok(()) => Ok(Begun::Yes),
        Err(error @ ControlError::Refused { .. }) => match agent(client).await? {
            // The built-in agent remembers nothing.
            Some(Agent { demo: true, .. }) => Ok(Begun::Yes),
            Some(Agent { provider, .. }) if provider.as_deref() == Some("claude") => {
                Ok(Begun::ByClear)
            }
            Some(_) => Err(error.into()),
            None => Ok(Begun::No),
        },
        Err(error) => Err(error.into()),
    }
}

/// Begins another conversation before the one message of this program.
pub(crate) async fn begin_before_message(client: &Client, args: &TurnArgs) -> Result<(), Exit> {
    let begin = async {
        if !is_wanted(client, args).await? {
            return Ok::<_, Error>(true);
        }
        match begin(client).await? {
            Begun::Yes => Ok(true),
            Begun::ByClear => Ok(!client.ask("/clear").await?.is_error),
            Begun::No => Ok(false),
        }
    };
    match tokio::time::timeout(TIMEOUT, begin).await {
        Ok(Ok(true)) => Ok(()),
        Ok(Ok(false)) => Err(Exit::failed(
            "a conversation is open, and this server is too old to begin another: go on with it by -c",
        )),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Exit::timeout(
            "the agent did not begin a new conversation: go on with the open one by -c",
        )),
    }
}

async fn agent(client: &Client) -> Result<Option<Agent>, RequestError> {
    let health = client.health().await?;
    // Servers of other kinds tell less.
    Ok(health.details.parse::<Health>().ok().and_then(|health| health.agent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_another_client_has_begun_a_conversation() {
        let begun = |agent: &str| serde_json::from_str::<Agent>(agent).unwrap().has_begun();
        assert!(!begun(r#"{"session_id":null,"in_turn":false,"waiting_messages":0}"#));
        assert!(!begun("{}"), "of a server that tells less");
        assert!(begun(r#"{"session_id":"s"}"#));
        assert!(begun(r#"{"session_id":null,"in_turn":true}"#));
        assert!(begun(r#"{"session_id":null,"waiting_messages":1}"#));
    }
}
