//! Shared parts of the tests. Parts that other crates' tests use too are in
//! `claude-relay-testing`.

pub(crate) mod codex;
pub(crate) mod proxy;

use claude_relay_client::{
    Client, ClientBuilder, ConnectError, Messages, SdkMessage, ServerMessage,
};

#[cfg(feature = "e2b")]
pub(crate) use claude_relay_testing::wait::DEADLINE;
pub(crate) use claude_relay_testing::wait::soon;

/// A client of `url` that takes nothing from the environment of the tests.
pub(crate) fn client(url: &str) -> ClientBuilder {
    Client::builder().connection_url(url).environment(false)
}

pub(crate) async fn refused(builder: ClientBuilder) -> ConnectError {
    soon(builder.start()).await.expect_err("it was let in")
}

/// The next line of the agent, which states of the agent may precede; anything
/// else is a failure.
pub(crate) async fn line(messages: &mut Messages) -> SdkMessage {
    loop {
        match soon(messages.next()).await {
            Some(Ok(ServerMessage::Sdk(message))) => return message,
            Some(Ok(ServerMessage::AgentState(_))) => {}
            other => panic!("expected a line, got {other:?}"),
        }
    }
}

/// The field `n` of a line.
pub(crate) fn n(message: &SdkMessage) -> u64 {
    #[derive(serde::Deserialize)]
    struct Line {
        n: u64,
    }
    message.parse::<Line>().expect("a line with n").n
}
