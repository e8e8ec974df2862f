//! What the tests share.

#[allow(dead_code, reason = "the server's tests use more of it")]
pub(crate) mod cli_kit;
pub(crate) mod codex;
pub(crate) mod fake;
pub(crate) mod proxy;
pub(crate) mod real;

use std::time::Duration;

use claude_relay_client::{Client, ClientBuilder, Error, Messages, SdkMessage, ServerMessage};

/// A bound for what takes a moment, so that a test fails and does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it took too long")
}

/// A client of `url` that takes nothing from the environment of the tests.
pub(crate) fn client(url: &str) -> ClientBuilder {
    Client::builder().connection_url(url).environment(false)
}

pub(crate) async fn refused(builder: ClientBuilder) -> Error {
    soon(builder.start()).await.expect_err("it was let in")
}

/// The next line of the agent; anything else is a failure.
pub(crate) async fn line(messages: &mut Messages) -> SdkMessage {
    match soon(messages.next()).await {
        Some(Ok(ServerMessage::Sdk(message))) => message,
        other => panic!("expected a line, got {other:?}"),
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
