//! Commands in a sandbox, through envd.

use std::time::Duration;

use base64::Engine as _;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::connect::{Decoder, Envelope, envelope};
use crate::error::{Cause, Error};
use crate::files::Files;
use crate::http::read;
use crate::retry::Operation;
use crate::watch::trailer;

/// Longest answer to a command that was not started.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Interval of the keep-alive messages of a command.
const KEEPALIVE_SECONDS: u16 = 50;
/// Longest silence of a command that runs: twice the interval, and a little.
const IDLE: Duration = Duration::from_secs(130);

/// A command that runs in a sandbox. Dropping it does not end the command.
#[derive(Debug)]
pub struct Running {
    operation: String,
    response: reqwest::Response,
    decoder: Decoder,
    ended: bool,
}

/// An event of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecEvent {
    /// It runs, under this number.
    Started {
        /// The number of its process.
        pid: u32,
    },
    /// It wrote to its stdout.
    Stdout(Vec<u8>),
    /// It wrote to its stderr.
    Stderr(Vec<u8>),
    /// It has ended.
    Ended {
        /// Its exit code.
        code: i32,
        /// The reason, such as the signal that ended it.
        status: String,
    },
}

#[derive(Deserialize)]
struct Message {
    event: Option<Event>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    start: Option<Start>,
    data: Option<Data>,
    end: Option<End>,
}

#[derive(Deserialize)]
struct Start {
    pid: u32,
}

#[derive(Deserialize)]
struct Data {
    stdout: Option<String>,
    stderr: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct End {
    // Left out when it is 0.
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    status: String,
}

impl Files {
    /// Runs a command line in a login shell, as the user of these files.
    ///
    /// # Errors
    /// See [`Error`]. A command that was started and fails is no error.
    pub async fn exec(&self, command: &str, cwd: Option<&str>) -> Result<Running, Error> {
        let operation = "run a command".to_owned();
        let mut process = serde_json::json!({
            "cmd": "/bin/bash", "args": ["-l", "-c", command], "envs": {},
        });
        if let Some(cwd) = cwd {
            process["cwd"] = cwd.into();
        }
        let body = serde_json::json!({ "process": process, "stdin": false });
        let mut request =
            self.service(Operation::Execute, operation.clone(), "process.Process/Start", &body)?;
        request.body = request.body.map(|body| envelope(&body));
        let content_type = HeaderValue::from_static("application/connect+json");
        request.headers.insert(CONTENT_TYPE, content_type);
        let keepalive = HeaderName::from_static("keepalive-ping-interval");
        request.headers.insert(keepalive, HeaderValue::from(KEEPALIVE_SECONDS));
        let response = self.e2b().open(&request).await?;
        let status = response.status().as_u16();
        if status >= 300 {
            let headers = response.headers().clone();
            let body = read(response, MAX_ANSWER_BYTES, &operation).await?;
            return Err(Error::of_answer(&operation, status, &headers, &body));
        }
        Ok(Running { operation, response, decoder: Decoder::default(), ended: false })
    }
}

impl Running {
    /// Returns the next event, `None` after the last.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if nothing is heard for too long,
    /// [`Error::Unreachable`] if the connection was cut, otherwise envd's error.
    pub async fn next(&mut self) -> Result<Option<ExecEvent>, Error> {
        while !self.ended {
            match self.decoder.next().map_err(|error| self.malformed(error))? {
                Some(Envelope::Message(message)) => {
                    let message: Message =
                        serde_json::from_slice(&message).map_err(|error| self.malformed(error))?;
                    if let Some(event) = message.event
                        && let Some(event) = self.event(event)?
                    {
                        return Ok(Some(event));
                    }
                }
                Some(Envelope::End(last)) => {
                    self.ended = true;
                    trailer(&self.operation, &last)?;
                }
                None => {
                    let timed_out =
                        |_| Error::TimedOut { operation: self.operation.clone(), after: IDLE };
                    let chunk = tokio::time::timeout(IDLE, self.response.chunk()).await;
                    match chunk.map_err(timed_out)? {
                        Ok(Some(chunk)) => self.decoder.push(&chunk),
                        Ok(None) => return Err(self.malformed("it ends in the middle")),
                        Err(error) => {
                            return Err(Error::Unreachable {
                                operation: self.operation.clone(),
                                proxy: None,
                                host: "the sandbox".to_owned(),
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

    fn event(&self, event: Event) -> Result<Option<ExecEvent>, Error> {
        let decode = |text: String| {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|error| self.malformed(error))
        };
        Ok(match event {
            Event { start: Some(Start { pid }), .. } => Some(ExecEvent::Started { pid }),
            Event { data: Some(Data { stdout: Some(text), .. }), .. } => {
                Some(ExecEvent::Stdout(decode(text)?))
            }
            Event { data: Some(Data { stderr: Some(text), .. }), .. } => {
                Some(ExecEvent::Stderr(decode(text)?))
            }
            Event { end: Some(End { exit_code, status }), .. } => {
                Some(ExecEvent::Ended { code: exit_code, status })
            }
            // A keep-alive, or an event newer than this library.
            _ => None,
        })
    }

    fn malformed(&self, cause: impl Into<Cause>) -> Error {
        Error::Malformed { operation: self.operation.clone(), source: cause.into() }
    }
}
