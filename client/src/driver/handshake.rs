//! The greeting of a server, and the meaning of its close frames.

use tokio::time::timeout;

use crate::error::{ConnectError, ConnectionError};
use crate::net::http::Http;
use crate::net::socket::{self, CLOSE_WAIT, Incoming, Reader};
use crate::types::config::Configured;
use crate::types::frame::{Frame, Greeting};
use crate::types::message::ServerMessage;

/// The text that claude-agent-server, and ours, tells a second client.
const BUSY: &str = "already has an active connection";

/// The code with which the server refuses a configuration.
const CONFIG_REFUSED: u16 = 4002;

/// Waits for `connected`. Anything else that comes first is a refusal.
pub(crate) async fn greet(reader: &mut Reader, http: &Http) -> Result<Greeting, ConnectError> {
    loop {
        match reader.read().await? {
            Incoming::Ping(_) | Incoming::Pong(_) => {}
            Incoming::Close { code, reason } => return Err(closed(code, reason).into()),
            Incoming::Text(text) => {
                return match Frame::read(text) {
                    Ok(Frame::Connected(greeting)) => Ok(greeting),
                    Ok(Frame::Message(_, ServerMessage::Error { text, .. })) => {
                        Err(refused(reader, text).await.into())
                    }
                    Ok(_) => Err(http.not_a_relay("its first message is not `connected`").into()),
                    Err(error) => Err(http.not_a_relay(error).into()),
                };
            }
        }
    }
}

/// Waits for the answer to the configuration.
pub(crate) async fn read_configured(
    reader: &mut Reader,
    http: &Http,
) -> Result<Configured, ConnectError> {
    loop {
        match reader.read().await? {
            Incoming::Ping(_) | Incoming::Pong(_) => {}
            Incoming::Close { code, reason } => return Err(closed(code, reason).into()),
            Incoming::Text(text) => {
                return match Frame::read(text) {
                    Ok(Frame::Configured(configured)) => Ok(configured),
                    Ok(Frame::Message(_, ServerMessage::Error { text, .. })) => {
                        Err(match refused(reader, text).await {
                            ConnectionError::Closed { code: CONFIG_REFUSED, reason } => {
                                ConnectError::ConfigurationRefused { status: 400, message: reason }
                            }
                            other => other.into(),
                        })
                    }
                    Ok(_) => Err(http.not_a_relay("it does not answer `configure`").into()),
                    Err(error) => Err(http.not_a_relay(error).into()),
                };
            }
        }
    }
}

/// The refusal of a server that greets with an error. It is about to close the
/// connection, and the code says more.
async fn refused(reader: &mut Reader, message: String) -> ConnectionError {
    let close = timeout(CLOSE_WAIT, reader.read()).await;
    match close {
        _ if message.contains(BUSY) => ConnectionError::Busy { message },
        Ok(Ok(Incoming::Close { code, reason })) => match closed(code, reason) {
            ConnectionError::Busy { .. } => ConnectionError::Busy { message },
            ConnectionError::Closed { code, .. } => {
                ConnectionError::Closed { code, reason: message }
            }
            other => other,
        },
        _ => ConnectionError::Closed { code: socket::NO_CODE, reason: message },
    }
}

/// The error that a close frame stands for.
pub(crate) fn closed(code: u16, reason: String) -> ConnectionError {
    let or = |text: &str| if reason.is_empty() { text.to_owned() } else { reason.clone() };
    match code {
        1013 => ConnectionError::Busy { message: or("another client is connected") },
        4001 => ConnectionError::Replaced { message: or("the connection was taken over") },
        1009 => ConnectionError::TooBig { limit_bytes: crate::types::user_message::MAX_BYTES },
        code => ConnectionError::Closed { code, reason },
    }
}
