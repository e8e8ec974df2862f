//! Watch of a directory in a sandbox: a stream of its changes.

use std::time::Duration;

use serde::Deserialize;

use crate::connect::{Decoder, Envelope};
use crate::error::{Cause, Error, Refusal};

/// Longest silence of a live stream.
const WATCH_IDLE: Duration = Duration::from_secs(130);

/// Kind of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum ChangeKind {
    /// It was created.
    #[serde(rename = "EVENT_TYPE_CREATE")]
    Created,
    /// Its content was written.
    #[serde(rename = "EVENT_TYPE_WRITE")]
    Written,
    /// It was removed.
    #[serde(rename = "EVENT_TYPE_REMOVE")]
    Removed,
    /// It was moved away or here.
    #[serde(rename = "EVENT_TYPE_RENAME")]
    Renamed,
    /// Its permissions were changed.
    #[serde(rename = "EVENT_TYPE_CHMOD")]
    PermissionsChanged,
    /// A kind newer than this library.
    #[serde(other)]
    Other,
}

/// A change below a watched directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Change {
    /// The path, relative to the watched directory.
    pub name: String,
    /// The kind of the change.
    #[serde(rename = "type")]
    pub kind: ChangeKind,
}

/// A watched directory. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch {
    operation: String,
    response: reqwest::Response,
    decoder: Decoder,
    idle: Duration,
    ended: bool,
}

#[derive(Deserialize)]
struct WatchMessage {
    start: Option<serde::de::IgnoredAny>,
    filesystem: Option<Change>,
}

impl Watch {
    /// Takes ownership of a stream and waits for its first message.
    pub(crate) async fn begin(
        operation: &str,
        response: reqwest::Response,
        lifetime: Option<Duration>,
    ) -> Result<Self, Error> {
        let mut watch = Self {
            operation: operation.to_owned(),
            response,
            decoder: Decoder::default(),
            idle: lifetime.map_or(WATCH_IDLE, |lifetime| lifetime.max(WATCH_IDLE)),
            ended: false,
        };
        match watch.message().await? {
            Some(WatchMessage { start: Some(_), .. }) => Ok(watch),
            _ => Err(watch.malformed("it does not begin with a start message")),
        }
    }

    /// Returns the next change, `None` after the end of the watch.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if the stream is silent for too long,
    /// [`Error::Unreachable`] if it was cut, otherwise envd's error.
    pub async fn next(&mut self) -> Result<Option<Change>, Error> {
        loop {
            match self.message().await? {
                None => return Ok(None),
                Some(WatchMessage { filesystem: Some(change), .. }) => return Ok(Some(change)),
                // A keep-alive, or a message newer than this library.
                Some(_) => {}
            }
        }
    }

    async fn message(&mut self) -> Result<Option<WatchMessage>, Error> {
        while !self.ended {
            match self.decoder.next().map_err(|error| self.malformed(error))? {
                Some(Envelope::Message(message)) => {
                    return serde_json::from_slice(&message)
                        .map(Some)
                        .map_err(|error| self.malformed(error));
                }
                Some(Envelope::End(trailer)) => {
                    self.ended = true;
                    self::trailer(&self.operation, &trailer)?;
                }
                None => {
                    let chunk = tokio::time::timeout(self.idle, self.response.chunk()).await;
                    let chunk = chunk.map_err(|_| Error::TimedOut {
                        operation: self.operation.clone(),
                        after: self.idle,
                    })?;
                    match chunk {
                        Ok(Some(chunk)) => self.decoder.push(&chunk),
                        Ok(None) => return Err(self.malformed("it ends without a last message")),
                        Err(error) => {
                            return Err(Error::Unreachable {
                                operation: self.operation.clone(),
                                proxy: None,
                                host: self.response.url().host_str().unwrap_or_default().to_owned(),
                                sent: true,
                                source: error.without_url(),
                            });
                        }
                    }
                }
            }
        }
        Ok(None)
    }

    fn malformed(&self, cause: impl Into<Cause>) -> Error {
        Error::Malformed { operation: self.operation.clone(), source: cause.into() }
    }
}

/// Reads the last message of a stream: a normal end, or an error with envd's
/// code.
pub(crate) fn trailer(operation: &str, trailer: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Trailer {
        error: Option<Reason>,
    }
    #[derive(Deserialize)]
    struct Reason {
        code: String,
        #[serde(default)]
        message: String,
    }
    let trailer: Trailer = serde_json::from_slice(trailer).map_err(|error| Error::Malformed {
        operation: operation.to_owned(),
        source: error.into(),
    })?;
    let Some(Reason { code, message }) = trailer.error else {
        return Ok(());
    };
    let status = match code.as_str() {
        // The requested lifetime is over.
        "deadline_exceeded" => return Ok(()),
        "not_found" => 404,
        "unauthenticated" => 401,
        "permission_denied" => 403,
        "invalid_argument" => 400,
        _ => 500,
    };
    let operation = operation.to_owned();
    let error_code = Some(code);
    let refusal = Refusal { operation, status, error_code, message, should_retry: None };
    Err(match status {
        404 => Error::NotFound(refusal),
        401 => Error::SandboxUnauthorized(refusal),
        403 => Error::Forbidden(refusal),
        400 => Error::Rejected(refusal),
        _ => Error::Failed(refusal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_newer_than_this_library_is_no_error() {
        let text = r#"{"name":"a","type":"EVENT_TYPE_SOMETHING_NEW"}"#;
        assert_eq!(serde_json::from_str::<Change>(text).unwrap().kind, ChangeKind::Other);
    }
}
