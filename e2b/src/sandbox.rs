//! Sandboxes as the control plane knows them: what is sent to make one, what
//! is known of one, and the calls.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use reqwest::Method;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::files::Files;
use crate::http::{Answer, E2b};
use crate::settings::{ENVD_PORT, is_domain};

/// How long a sandbox lives unless said otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);
/// All of the internet, for [`Egress::deny`].
pub const ALL_TRAFFIC: &str = "0.0.0.0/0";
/// How often a kill is tried: a sandbox that is not killed costs money, and
/// killing twice does no harm.
const KILL_ATTEMPTS: u32 = 3;
/// The wait between two tries to kill.
const KILL_RETRY_WAIT: Duration = Duration::from_millis(500);
/// How many sandboxes one page of a list holds.
const PAGE_SIZE: &str = "100";
/// How many pages of a list are read at most.
const MAX_PAGES: usize = 1000;

/// A sandbox's id: lower-case letters and digits, because it becomes part of
/// a host name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SandboxId(String);

impl SandboxId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no sandbox id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a sandbox id: one is made of lower-case letters and digits")]
pub struct NotAnId(String);

impl TryFrom<String> for SandboxId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        // The one id with another character is debug mode's own.
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        match !text.is_empty() && text.len() <= 63 && text.bytes().all(fits) {
            true => Ok(Self(text)),
            false => Err(NotAnId(text)),
        }
    }
}

impl FromStr for SandboxId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        Self::try_from(text.to_owned())
    }
}

impl From<SandboxId> for String {
    fn from(id: SandboxId) -> Self {
        id.0
    }
}

/// What is asked for when a sandbox is created.
#[derive(Clone, Debug)]
pub struct NewSandbox {
    /// The template: its name (`team/name:tag` in full) or its id.
    pub template: String,
    /// How long it lives from now on. A part of a second counts as a whole
    /// one. Default: [`DEFAULT_TIMEOUT`]; the plan sets the most.
    pub timeout: Duration,
    /// Marks by which it can be found again in a list.
    pub metadata: BTreeMap<String, String>,
    /// Variables for processes started later through E2B. A server that was
    /// started when the template was built never sees them.
    pub variables: BTreeMap<String, String>,
    /// Whether it may reach the internet. Default: yes.
    pub internet: bool,
    /// Whether its ports may be reached without the traffic token. Default: no.
    pub public_traffic: bool,
    /// What it may reach, in detail. Default: everything.
    pub egress: Egress,
    /// Pause it instead of ending it when its time runs out. Default: no.
    pub auto_pause: bool,
    /// Resume it by itself when a request for it comes in. Needs
    /// `auto_pause`. Default: no.
    pub auto_resume: bool,
}

impl NewSandbox {
    /// A sandbox of this template with everything else at its default.
    #[must_use]
    pub fn new(template: impl Into<String>) -> Self {
        Self {
            template: template.into(),
            timeout: DEFAULT_TIMEOUT,
            metadata: BTreeMap::new(),
            variables: BTreeMap::new(),
            internet: true,
            public_traffic: false,
            egress: Egress::default(),
            auto_pause: false,
            auto_resume: false,
        }
    }

    /// The body of the request: `secure` and `timeout` are always in it,
    /// because without them the two generations of the API do different
    /// things; what is at its default otherwise is left out.
    fn body(&self) -> impl Serialize {
        #[derive(Serialize)]
        struct Network<'a> {
            #[serde(rename = "allowPublicTraffic", skip_serializing_if = "Option::is_none")]
            allow_public_traffic: Option<bool>,
            #[serde(flatten)]
            egress: &'a Egress,
        }
        #[derive(Serialize)]
        struct AutoResume {
            enabled: bool,
        }
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(rename = "templateID")]
            template: &'a str,
            timeout: u64,
            secure: bool,
            allow_internet_access: bool,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            metadata: &'a BTreeMap<String, String>,
            #[serde(rename = "envVars", skip_serializing_if = "BTreeMap::is_empty")]
            variables: &'a BTreeMap<String, String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            network: Option<Network<'a>>,
            #[serde(rename = "autoPause", skip_serializing_if = "std::ops::Not::not")]
            auto_pause: bool,
            #[serde(rename = "autoResume", skip_serializing_if = "Option::is_none")]
            auto_resume: Option<AutoResume>,
        }
        let restricted = !self.public_traffic;
        Body {
            template: &self.template,
            timeout: whole_seconds(self.timeout),
            secure: true,
            allow_internet_access: self.internet,
            metadata: &self.metadata,
            variables: &self.variables,
            network: (restricted || self.egress != Egress::default()).then_some(Network {
                allow_public_traffic: restricted.then_some(false),
                egress: &self.egress,
            }),
            auto_pause: self.auto_pause,
            auto_resume: self.auto_resume.then_some(AutoResume { enabled: true }),
        }
    }
}

/// What a sandbox may reach. What is allowed beats what is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Egress {
    /// Addresses, blocks (`8.8.8.8/32`) and domains (`*.example.com`).
    #[serde(rename = "allowOut", skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Addresses and blocks; domains cannot be denied. [`ALL_TRAFFIC`] is all.
    #[serde(rename = "denyOut", skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

/// A sandbox that runs, with what is needed to talk to it.
#[derive(Clone, Debug)]
pub struct Sandbox {
    pub(crate) e2b: E2b,
    id: SandboxId,
    domain: String,
    envd_version: String,
    pub(crate) envd_token: Option<SecretString>,
    traffic_token: Option<SecretString>,
}

/// What the API answers to create and connect.
#[derive(Deserialize)]
struct Created {
    #[serde(rename = "sandboxID")]
    id: SandboxId,
    #[serde(rename = "envdVersion")]
    envd_version: String,
    #[serde(rename = "envdAccessToken")]
    envd_token: Option<SecretString>,
    #[serde(rename = "trafficAccessToken")]
    traffic_token: Option<SecretString>,
    domain: Option<String>,
}

/// Whether a sandbox runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxState {
    /// It runs.
    Running,
    /// It is paused; [`E2b::connect`] resumes it.
    Paused,
}

/// What the API tells of a sandbox, in a list and one by one.
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
    /// When it was started.
    #[serde(rename = "startedAt", deserialize_with = "timestamp")]
    pub started_at: SystemTime,
    /// When its time runs out.
    #[serde(rename = "endAt", deserialize_with = "timestamp")]
    pub end_at: SystemTime,
    /// Its processors.
    #[serde(rename = "cpuCount")]
    pub cpus: u32,
    /// Its memory in MiB.
    #[serde(rename = "memoryMB")]
    pub memory_mb: u32,
    /// Whether it runs.
    pub state: SandboxState,
    /// What it was marked with.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// Which sandboxes a list holds.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those that carry all of these marks.
    pub metadata: BTreeMap<String, String>,
    /// Only those in one of these states; empty means in any.
    pub states: Vec<SandboxState>,
}

/// What became of a kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// It is gone by this kill.
    Now,
    /// There was no such sandbox any more.
    AlreadyGone,
}

/// What became of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paused {
    /// It was running and is paused now.
    Now,
    /// It was paused before.
    Already,
}

/// A line of a sandbox's log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SandboxLog {
    /// When it was written.
    #[serde(deserialize_with = "timestamp")]
    pub timestamp: SystemTime,
    /// How grave it is: `debug`, `info`, `warn`, `error`.
    pub level: String,
    /// The line.
    pub message: String,
}

impl E2b {
    /// Creates a sandbox. Not repeated when the answer is lost: the sandbox
    /// may exist then and lives until its time runs out, so mark it by
    /// metadata to find it again, or let [`E2b::create_guarded`] see to it.
    ///
    /// # Errors
    /// See [`Error`]; a template that does not exist is [`Error::NotFound`].
    pub async fn create(&self, new: &NewSandbox) -> Result<Sandbox, Error> {
        if self.settings().debug {
            return Ok(self.debug_sandbox());
        }
        let operation = format!("create a sandbox of {:?}", new.template);
        let body = new.body();
        let answer = self.api(operation.clone(), Method::POST, &["sandboxes"], &[], Some(&body));
        self.sandbox(&answer.await?, &operation)
    }

    /// Comes back to a sandbox and resumes it if it is paused. Its time is
    /// extended to `timeout` from now, never shortened.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn connect(&self, id: &SandboxId, timeout: Duration) -> Result<Sandbox, Error> {
        if self.settings().debug {
            return Ok(self.debug_sandbox());
        }
        let operation = format!("connect to sandbox {id}");
        let path = ["sandboxes", id.as_str(), "connect"];
        let body = serde_json::json!({ "timeout": whole_seconds(timeout) });
        let answer = self.api(operation.clone(), Method::POST, &path, &[], Some(&body)).await?;
        self.sandbox(&answer, &operation)
    }

    /// What the API knows of a sandbox.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn info(&self, id: &SandboxId) -> Result<SandboxInfo, Error> {
        let operation = format!("look up sandbox {id}");
        let path = ["sandboxes", id.as_str()];
        let answer = self.api(operation.clone(), Method::GET, &path, &[], NO_BODY).await?;
        answer.json(&operation)
    }

    /// All sandboxes of the account that fit, page after page.
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
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut query = vec![("state", states.as_str()), ("limit", PAGE_SIZE)];
            if !metadata.is_empty() {
                query.push(("metadata", &metadata));
            }
            if let Some(token) = &next {
                query.push(("nextToken", token));
            }
            let path = ["v2", "sandboxes"];
            let answer = self.api(operation.clone(), Method::GET, &path, &query, NO_BODY).await?;
            found.append(&mut answer.json::<Vec<SandboxInfo>>(&operation)?);
            let token = answer.headers.get("x-next-token").and_then(|value| value.to_str().ok());
            match token.filter(|token| !token.is_empty()) {
                Some(token) => next = Some(token.to_owned()),
                None => return Ok(found),
            }
        }
        Err(Error::Malformed { operation, problem: format!("it has more than {MAX_PAGES} pages") })
    }

    /// Sets how long a sandbox lives from now on; may shorten its life.
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
        self.api(operation, Method::POST, &path, &[], Some(&body)).await.map(drop)
    }

    /// Pauses a sandbox with its memory. Its connections are cut.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn pause(&self, id: &SandboxId) -> Result<Paused, Error> {
        let operation = format!("pause sandbox {id}");
        let path = ["sandboxes", id.as_str(), "pause"];
        let body = serde_json::json!({});
        match self.api(operation, Method::POST, &path, &[], Some(&body)).await {
            Ok(_) => Ok(Paused::Now),
            Err(Error::Conflict(_)) => Ok(Paused::Already),
            Err(error) => Err(error),
        }
    }

    /// Ends a sandbox. Tried again when the answer is lost, since a sandbox
    /// that lives on costs money and a second kill does no harm.
    ///
    /// # Errors
    /// See [`Error`]; that it is gone already is no error.
    pub async fn kill(&self, id: &SandboxId) -> Result<Killed, Error> {
        if self.settings().debug {
            return Ok(Killed::Now);
        }
        let operation = format!("kill sandbox {id}");
        let path = ["sandboxes", id.as_str()];
        let mut attempt = 1;
        loop {
            match self.api(operation.clone(), Method::DELETE, &path, &[], NO_BODY).await {
                Ok(_) => return Ok(Killed::Now),
                Err(Error::NotFound(_)) => return Ok(Killed::AlreadyGone),
                Err(error) if attempt < KILL_ATTEMPTS && error.is_transient() => {
                    tracing::warn!(%error, "trying again");
                    tokio::time::sleep(KILL_RETRY_WAIT).await;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Replaces what a sandbox may reach.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn set_egress(&self, id: &SandboxId, egress: &Egress) -> Result<(), Error> {
        let operation = format!("set the network of sandbox {id}");
        let path = ["sandboxes", id.as_str(), "network"];
        self.api(operation, Method::PUT, &path, &[], Some(egress)).await.map(drop)
    }

    /// The newest lines of a sandbox's log, at most 1000.
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
        let answer = self.api(operation.clone(), Method::GET, &path, &[], NO_BODY).await?;
        Ok(answer.json::<Logs>(&operation)?.logs)
    }

    fn sandbox(&self, answer: &Answer, operation: &str) -> Result<Sandbox, Error> {
        let created: Created = answer.json(operation)?;
        let domain = created.domain.filter(|domain| !domain.is_empty());
        let domain = domain.unwrap_or_else(|| self.settings().domain.clone());
        if !is_domain(&domain) {
            return Err(Error::Malformed {
                operation: operation.to_owned(),
                problem: format!("{domain:?} is not a domain name"),
            });
        }
        Ok(Sandbox {
            e2b: self.clone(),
            id: created.id,
            domain,
            envd_version: created.envd_version,
            envd_token: created.envd_token,
            traffic_token: created.traffic_token,
        })
    }

    fn debug_sandbox(&self) -> Sandbox {
        Sandbox {
            e2b: self.clone(),
            id: SandboxId("debug_sandbox_id".to_owned()),
            domain: self.settings().domain.clone(),
            envd_version: "99.99.99".to_owned(),
            envd_token: None,
            traffic_token: None,
        }
    }
}

impl Sandbox {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SandboxId {
        &self.id
    }

    /// The client that it was made with.
    #[must_use]
    pub fn e2b(&self) -> &E2b {
        &self.e2b
    }

    /// The version of envd inside it.
    #[must_use]
    pub fn envd_version(&self) -> &str {
        &self.envd_version
    }

    /// The host name under which one of its ports is reached, as the SDK's
    /// `getHost` says it: `3000-<id>.<domain>`.
    #[must_use]
    pub fn host(&self, port: u16) -> String {
        match self.e2b.settings().debug {
            true => format!("localhost:{port}"),
            false => format!("{port}-{}.{}", self.id, self.domain),
        }
    }

    /// Where one of its ports is reached and what a request must carry.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the API's token or domain cannot be used.
    pub fn endpoint(&self, port: u16) -> Result<Endpoint, Error> {
        Endpoint::of(self, port)
    }

    /// Its files, as its default user.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the API's token or domain cannot be used.
    pub fn files(&self) -> Result<Files, Error> {
        Files::of(self)
    }

    /// See [`E2b::set_timeout`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn set_timeout(&self, timeout: Duration) -> Result<(), Error> {
        self.e2b.set_timeout(&self.id, timeout).await
    }

    /// See [`E2b::pause`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is gone.
    pub async fn pause(&self) -> Result<Paused, Error> {
        self.e2b.pause(&self.id).await
    }

    /// See [`E2b::kill`].
    ///
    /// # Errors
    /// See [`Error`]; that it is gone already is no error.
    pub async fn kill(&self) -> Result<Killed, Error> {
        self.e2b.kill(&self.id).await
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    pub(crate) fn token_for(&self, port: u16) -> Option<&SecretString> {
        // envd has its own token and asks for no other.
        (port != ENVD_PORT).then_some(self.traffic_token.as_ref()).flatten()
    }
}

impl SandboxState {
    /// The API's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
        }
    }
}

/// For a request without a body: the type that there is none of.
pub(crate) const NO_BODY: Option<&()> = None;

/// Seconds as the API takes them: a part of one counts as a whole one.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// The marks as one value. The server takes a query string out of it after
/// decoding it once, and decodes each name and value again.
fn metadata_query(metadata: &BTreeMap<String, String>) -> String {
    let encode = |text: &str| {
        reqwest::Url::parse_with_params("x:", [("", text)])
            .ok()
            .and_then(|url| url.query().map(|query| query[1..].to_owned()))
            .unwrap_or_default()
    };
    let pairs = metadata
        .iter()
        .map(|(name, value)| format!("{}={}", encode(&encode(name)), encode(&encode(value))));
    pairs.collect::<Vec<_>>().join("&")
}

pub(crate) fn timestamp<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    let utc = text.replace("+00:00", "Z");
    humantime::parse_rfc3339(&utc)
        .map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_counts_as_a_whole_one() {
        assert_eq!(whole_seconds(Duration::from_millis(90_500)), 91);
        assert_eq!(whole_seconds(Duration::from_secs(90)), 90);
    }

    #[test]
    fn an_id_cannot_lead_elsewhere() {
        assert!("i00000000000000000001".parse::<SandboxId>().is_ok());
        for bad in ["", "a/b", "a.b", "../x", "A", "a b", "a-b", &"a".repeat(64)] {
            assert!(bad.parse::<SandboxId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn traffic_is_restricted_unless_asked_otherwise() {
        let mut new = NewSandbox::new("base");
        let body = serde_json::to_value(new.body()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({"templateID": "base", "timeout": 300, "secure": true,
                "allow_internet_access": true, "network": {"allowPublicTraffic": false}})
        );
        new.public_traffic = true;
        let body = serde_json::to_value(new.body()).unwrap();
        assert!(body.get("network").is_none());
    }

    #[test]
    fn marks_survive_being_decoded_twice() {
        let marks = BTreeMap::from([("a b".to_owned(), "x=&y%".to_owned())]);
        let once = percent_decode(&metadata_query(&marks));
        let (name, value) = once.split_once('=').unwrap();
        assert_eq!((percent_decode(name), percent_decode(value)), ("a b".into(), "x=&y%".into()));
    }

    fn percent_decode(text: &str) -> String {
        let url = reqwest::Url::parse(&format!("x:?k={}", text.replace('&', "%26"))).unwrap();
        url.query_pairs().next().unwrap().1.into_owned()
    }

    #[test]
    fn time_is_read_with_either_name_for_utc() {
        let read = |text: &str| timestamp(serde_json::Value::from(text)).unwrap();
        assert_eq!(read("2026-08-22T04:23:05.5Z"), read("2026-08-22T04:23:05.5+00:00"));
    }
}
