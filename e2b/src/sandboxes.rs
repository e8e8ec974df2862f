//! Calls of the control plane for sandboxes, and their answers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::generation::{Generation, has_no_such_path};
use crate::http::{Answer, E2b, NO_BODY, Request};
use crate::network::Egress;
use crate::retry::Operation;
use crate::sandbox::{NewSandbox, Sandbox, whole_seconds};
use crate::sandbox_id::SandboxId;

/// Header of the key by which a repeated create request is recognized.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Number of entries on one page of a list.
const PAGE_SIZE: &str = "100";
/// Maximum number of pages of a list.
const MAX_PAGES: usize = 1000;

/// State of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxState {
    /// It runs.
    Running,
    /// It is paused; [`E2b::connect`] resumes it.
    Paused,
}

/// Description of a sandbox by the API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SandboxInfo {
    /// Its id.
    #[serde(rename = "sandboxID")]
    pub id: SandboxId,
    /// The id of its template.
    #[serde(rename = "templateID")]
    pub template: String,
    /// The name of its template.
    pub alias: Option<String>,
    /// The time of its start.
    #[serde(rename = "startedAt", deserialize_with = "timestamp")]
    pub started_at: SystemTime,
    /// The time of its end.
    #[serde(rename = "endAt", deserialize_with = "timestamp")]
    pub end_at: SystemTime,
    /// The number of its processors.
    #[serde(rename = "cpuCount")]
    pub cpus: u32,
    /// Its memory in MiB.
    #[serde(rename = "memoryMB")]
    pub memory_mb: u32,
    /// Its state.
    pub state: SandboxState,
    /// Its metadata.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// Filter of a list of sandboxes.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only sandboxes with all of this metadata.
    pub metadata: BTreeMap<String, String>,
    /// Only sandboxes in one of these states; empty means any.
    pub states: Vec<SandboxState>,
}

impl Filter {
    /// Returns true if a sandbox is one of those that are asked for. A server
    /// that ignores the filter must not lead to the end of other people's
    /// sandboxes.
    fn matches(&self, info: &SandboxInfo) -> bool {
        let mut marks = self.metadata.iter();
        let has = |(name, value): (&String, &String)| info.metadata.get(name) == Some(value);
        marks.all(has) && (self.states.is_empty() || self.states.contains(&info.state))
    }
}

/// Result of a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// This kill ended the sandbox.
    Now,
    /// The sandbox did not exist any more.
    AlreadyGone,
}

/// Result of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// It was running and is now paused.
    Now,
    /// It was already paused.
    Already,
}

/// A line of a sandbox's log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SandboxLog {
    /// The time of the line.
    #[serde(deserialize_with = "timestamp")]
    pub timestamp: SystemTime,
    /// The severity: `debug`, `info`, `warn`, `error`.
    pub level: String,
    /// The line.
    pub message: String,
}

impl std::fmt::Display for SandboxLog {
    /// Writes one line, or more if the message has more, without terminal
    /// control sequences.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = humantime::format_rfc3339_millis(self.timestamp);
        let message = crate::strip_ansi::strip_ansi(&self.message);
        write!(f, "{time} {:5} {}", crate::strip_ansi::strip_ansi(&self.level), message.trim_end())
    }
}

impl E2b {
    /// Creates a sandbox. Where the server knows idempotency keys, the request
    /// is repeated after a lost answer; otherwise the sandbox may exist then and
    /// run until its time ends. Add metadata to find it again, or use
    /// [`E2b::create_guarded`].
    ///
    /// # Errors
    /// See [`Error`]; a template that does not exist is [`Error::NotFound`].
    pub async fn create(&self, new: &NewSandbox) -> Result<Sandbox, Error> {
        self.create_once(new, &claude_relay_random::hexadecimal::<16>()).await
    }

    /// Creates a sandbox under this idempotency key: lower-case letters, digits
    /// and hyphens.
    pub(crate) async fn create_once(&self, new: &NewSandbox, key: &str) -> Result<Sandbox, Error> {
        if self.settings().debug {
            return Ok(self.debug_sandbox());
        }
        let operation = format!("create a sandbox of {:?}", new.template);
        let name = new.template.split(':').next().unwrap_or_default();
        let created = self.first_or_second(name, |generation| {
            let (kind, path): (_, &[&str]) = match generation {
                Generation::First => (Operation::Create, &["sandboxes"]),
                Generation::Second => (Operation::CreateOnce, &["v2", "sandboxes"]),
            };
            let body = new.body(generation);
            let operation = operation.clone();
            let mut request =
                self.api_request(kind, operation, Method::POST, path, &[], Some(&body))?;
            if kind == Operation::CreateOnce
                && let Ok(key) = HeaderValue::from_str(key)
            {
                request.headers.insert(IDEMPOTENCY_KEY, key);
            }
            Ok(request)
        });
        self.sandbox(&created.await?, &operation)
    }

    /// Sends a request about what is called `name` in the generation that the
    /// server has.
    async fn first_or_second(
        &self,
        name: &str,
        request: impl Fn(Generation) -> Result<Request, Error>,
    ) -> Result<Answer, Error> {
        let known = self.generation();
        let preferred = known.preferred();
        let answer = self.send(request(preferred)?).await;
        let Err(error) = answer else {
            known.is(preferred);
            return answer;
        };
        if !known.is_unknown() || !has_no_such_path(&error, name) {
            return Err(error);
        }
        match self.send(request(Generation::First)?).await {
            Err(first) if has_no_such_path(&first, name) => Err(error),
            answer => {
                known.is(Generation::First);
                answer
            }
        }
    }

    /// Connects to a sandbox and resumes it if it is paused. Its time is
    /// extended to `timeout` from now, never shortened.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone; [`Error::GuestUnresponsive`] if only
    /// [`E2b::reboot`] can resume it.
    pub async fn connect(&self, id: &SandboxId, timeout: Duration) -> Result<Sandbox, Error> {
        self.resume(id, timeout, None).await
    }

    /// Resumes a paused sandbox from its disk alone: it boots, and what was in
    /// its memory is lost. Otherwise as [`E2b::connect`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn reboot(&self, id: &SandboxId, timeout: Duration) -> Result<Sandbox, Error> {
        self.resume(id, timeout, Some(false)).await
    }

    async fn resume(
        &self,
        id: &SandboxId,
        timeout: Duration,
        memory: Option<bool>,
    ) -> Result<Sandbox, Error> {
        #[derive(Serialize)]
        struct Body {
            timeout: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            memory: Option<bool>,
        }
        if self.settings().debug {
            return Ok(self.debug_sandbox());
        }
        let operation = format!("connect to sandbox {id}");
        let body = Body { timeout: whole_seconds(timeout), memory };
        let connected = self.first_or_second(id.as_str(), |generation| {
            let path = ["v2", "sandboxes", id.as_str(), "connect"];
            let path = match generation {
                Generation::First => &path[1..],
                Generation::Second => &path[..],
            };
            let operation = operation.clone();
            self.api_request(Operation::Connect, operation, Method::POST, path, &[], Some(&body))
        });
        self.sandbox(&connected.await?, &operation)
    }

    /// Returns the API's description of a sandbox.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn info(&self, id: &SandboxId) -> Result<SandboxInfo, Error> {
        let operation = format!("look up sandbox {id}");
        let path = ["sandboxes", id.as_str()];
        let answer =
            self.api(Operation::Read, operation.clone(), Method::GET, &path, &[], NO_BODY).await?;
        answer.json(&operation)
    }

    /// Lists all matching sandboxes of the account, page after page.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn list(&self, filter: &Filter) -> Result<Vec<SandboxInfo>, Error> {
        let operation = "list the sandboxes".to_owned();
        let states = match filter.states.as_slice() {
            [] => "running,paused".to_owned(),
            some => some.iter().map(|state| state.word()).collect::<Vec<_>>().join(","),
        };
        let metadata = metadata_query(&filter.metadata);
        let mut query = vec![("state", states.as_str())];
        if !metadata.is_empty() {
            query.push(("metadata", &metadata));
        }
        let mut found: Vec<SandboxInfo> =
            self.all_pages(operation, &["v2", "sandboxes"], &query).await?;
        found.retain(|info| filter.matches(info));
        Ok(found)
    }

    /// Returns all entries of a list, page after page.
    pub(crate) async fn all_pages<T: serde::de::DeserializeOwned>(
        &self,
        operation: String,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Vec<T>, Error> {
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = query.to_vec();
            query.push(("limit", PAGE_SIZE));
            if let Some(token) = &next {
                query.push(("nextToken", token));
            }
            let answer = self
                .api(Operation::Read, operation.clone(), Method::GET, path, &query, NO_BODY)
                .await?;
            found.extend(answer.json::<Vec<T>>(&operation)?);
            let token = answer.headers.get("x-next-token").and_then(|value| value.to_str().ok());
            match token.filter(|token| !token.is_empty()) {
                Some(token) => next = Some(token.to_owned()),
                None => return Ok(found),
            }
        }
        Err(Error::Malformed {
            operation,
            source: format!("it has more than {MAX_PAGES} pages").into(),
        })
    }

    /// Sets the remaining lifetime of a sandbox; this may shorten it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn set_timeout(&self, id: &SandboxId, timeout: Duration) -> Result<(), Error> {
        if self.settings().debug {
            return Ok(());
        }
        let operation = format!("set the time of sandbox {id}");
        let path = ["sandboxes", id.as_str(), "timeout"];
        let body = serde_json::json!({ "timeout": whole_seconds(timeout) });
        self.api(Operation::Set, operation, Method::POST, &path, &[], Some(&body)).await.map(drop)
    }

    /// Pauses a sandbox with its memory. Its connections are closed.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn pause(&self, id: &SandboxId) -> Result<Paused, Error> {
        let operation = format!("pause sandbox {id}");
        let path = ["sandboxes", id.as_str(), "pause"];
        let body = serde_json::json!({});
        match self.api(Operation::Pause, operation, Method::POST, &path, &[], Some(&body)).await {
            Ok(_) => Ok(Paused::Now),
            Err(Error::Conflict(_)) => Ok(Paused::Already),
            Err(error) => Err(error),
        }
    }

    /// Kills a sandbox. Repeated after a lost answer, because a sandbox that
    /// lives on costs money and a second kill does no harm.
    ///
    /// # Errors
    /// See [`Error`]; an already killed sandbox is no error.
    pub async fn kill(&self, id: &SandboxId) -> Result<Killed, Error> {
        if self.settings().debug {
            return Ok(Killed::Now);
        }
        let operation = format!("kill sandbox {id}");
        let path = ["sandboxes", id.as_str()];
        let killed =
            match self.api(Operation::Kill, operation, Method::DELETE, &path, &[], NO_BODY).await {
                Ok(_) => Killed::Now,
                Err(Error::NotFound(_)) => Killed::AlreadyGone,
                Err(error) => return Err(error),
            };
        self.cleanup().is_gone(id);
        Ok(killed)
    }

    /// Replaces the rules for outgoing connections of a sandbox.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn set_egress(&self, id: &SandboxId, egress: &Egress) -> Result<(), Error> {
        let operation = format!("set the network of sandbox {id}");
        let path = ["sandboxes", id.as_str(), "network"];
        self.api(Operation::Set, operation, Method::PUT, &path, &[], Some(egress)).await.map(drop)
    }

    /// Returns the newest lines of a sandbox's log, at most 1000.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn logs(&self, id: &SandboxId) -> Result<Vec<SandboxLog>, Error> {
        #[derive(Deserialize)]
        struct Logs {
            logs: Vec<SandboxLog>,
        }
        let operation = format!("read the log of sandbox {id}");
        let path = ["v2", "sandboxes", id.as_str(), "logs"];
        let answer =
            self.api(Operation::Read, operation.clone(), Method::GET, &path, &[], NO_BODY).await?;
        Ok(answer.json::<Logs>(&operation)?.logs)
    }
}

impl Sandbox {
    /// Same as [`E2b::set_timeout`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn set_timeout(&self, timeout: Duration) -> Result<(), Error> {
        self.e2b.set_timeout(self.id(), timeout).await
    }

    /// Same as [`E2b::pause`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn pause(&self) -> Result<Paused, Error> {
        self.e2b.pause(self.id()).await
    }

    /// Same as [`E2b::kill`].
    ///
    /// # Errors
    /// See [`Error`]; an already killed sandbox is no error.
    pub async fn kill(&self) -> Result<Killed, Error> {
        self.e2b.kill(self.id()).await
    }
}

impl SandboxState {
    /// Returns the API's name for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
        }
    }
}

/// Encodes metadata as one query value. The server decodes the value once,
/// reads it as a query string, and decodes each name and value again.
fn metadata_query(metadata: &BTreeMap<String, String>) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs = metadata
        .iter()
        .map(|(name, value)| format!("{}={}", encode(&encode(name)), encode(&encode(value))));
    pairs.collect::<Vec<_>>().join("&")
}

/// Parses a time in the API's format.
pub(crate) fn timestamp<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    let utc = text.replace("+00:00", "Z");
    humantime::parse_rfc3339(&utc)
        .map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
}

#[cfg(test)]
mod tests;
