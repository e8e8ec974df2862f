//! Calls of the control plane for templates and builds.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::{Deserialize, Serialize};

use crate::error::{Cause, Error};
use crate::http::{E2b, NO_BODY, Request};
use crate::retry::Operation;
use crate::sandboxes::timestamp;
use crate::template::{Action, Base, Template};
use crate::template_name::{Tag, TemplateName};

/// Time limit of the upload of one archive: its address is valid for half an
/// hour.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Longest answer of the storage that is read.
const MAX_UPLOAD_ANSWER_BYTES: usize = 64 << 10;

/// Size of the sandboxes of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The number of processors: 1 or an even number, at most 32 and the limit
    /// of the account's plan.
    pub cpus: u32,
    /// Memory in MiB: an even number, at least 128.
    pub memory_mb: u32,
}

/// A requested build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RequestedBuild {
    /// The template's id.
    #[serde(rename = "templateID")]
    pub template: String,
    /// The build's id.
    #[serde(rename = "buildID")]
    pub build: String,
    /// The names of the template.
    #[serde(default)]
    pub names: Vec<String>,
    /// The tags that will point to this build.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Upload address of an archive.
#[derive(Clone, Debug, Deserialize)]
pub struct UploadPlace {
    /// Set if the server has the archive already.
    pub present: bool,
    /// The address, which contains a signature.
    pub url: Option<String>,
    /// Headers that the storage requires.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// State of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BuildState {
    /// It has not begun.
    Waiting,
    /// It is running.
    Building,
    /// It has succeeded: sandboxes can be created.
    Ready,
    /// It has failed.
    Error,
    /// A state newer than this library.
    #[serde(other)]
    Other,
}

/// Severity of a line of a build's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Details, such as the output of a command.
    Debug,
    /// Progress.
    Info,
    /// A warning.
    Warn,
    /// An error.
    Error,
    /// A severity newer than this library.
    #[serde(other)]
    Other,
}

/// A line of a build's log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BuildLog {
    /// The time of the line.
    #[serde(deserialize_with = "timestamp")]
    pub timestamp: SystemTime,
    /// Its severity.
    pub level: Level,
    /// The text. May contain control characters: see
    /// [`crate::strip_ansi::strip_ansi`].
    pub message: String,
    /// The step of the line: `base`, `finalize`, or its number from 1.
    pub step: Option<String>,
}

/// Reason for a failed build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BuildFailure {
    /// The server's message.
    pub message: String,
    /// `base`, `finalize`, or the number of the step, counted from 1; `None`
    /// for a failure of the server itself.
    pub step: Option<String>,
    /// The log lines about it.
    #[serde(rename = "logEntries", default)]
    pub logs: Vec<BuildLog>,
}

/// Status of a build, with the requested part of its log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct BuildStatus {
    /// Its state.
    pub status: BuildState,
    /// Its log from the requested offset on, at most 100 lines.
    #[serde(rename = "logEntries", default)]
    pub logs: Vec<BuildLog>,
    /// The reason, if it failed.
    pub reason: Option<BuildFailure>,
}

/// A tag and its build.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TagInfo {
    /// The tag.
    pub tag: String,
    /// The build's id.
    #[serde(rename = "buildID")]
    pub build: String,
    /// The time of the assignment.
    #[serde(rename = "createdAt", deserialize_with = "timestamp")]
    pub created_at: SystemTime,
}

/// Request body that starts a build.
#[derive(Debug, Serialize)]
pub(crate) struct BuildStart<'a> {
    #[serde(rename = "startCmd", skip_serializing_if = "Option::is_none")]
    start: Option<&'a str>,
    #[serde(rename = "readyCmd", skip_serializing_if = "Option::is_none")]
    ready: Option<&'a str>,
    steps: Vec<StepBody<'a>>,
    force: bool,
    #[serde(rename = "fromImage", skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(rename = "fromTemplate", skip_serializing_if = "Option::is_none")]
    template: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct StepBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    args: Vec<String>,
    force: bool,
    #[serde(rename = "filesHash", skip_serializing_if = "Option::is_none")]
    hash: Option<&'a str>,
}

impl<'a> BuildStart<'a> {
    /// Returns the request body for a template whose COPY steps have these
    /// digests, one for each step in order.
    pub(crate) fn of(template: &'a Template, hashes: &'a [String]) -> Self {
        let mut hashes = hashes.iter();
        let steps = template.steps.iter().map(|step| {
            let (kind, args) = match &step.action {
                Action::Run { command, user } => {
                    ("RUN", [Some(command), user.as_ref()].into_iter().flatten().cloned().collect())
                }
                Action::Copy(copy) => {
                    let mode = copy.mode.map(|mode| format!("{mode:04o}")).unwrap_or_default();
                    let owner = copy.owner.clone().unwrap_or_default();
                    ("COPY", vec![copy.source.clone(), copy.dest.clone(), owner, mode])
                }
                Action::Env(variables) => {
                    let pairs = variables.iter().flat_map(|(name, value)| [name, value]);
                    ("ENV", pairs.cloned().collect())
                }
                Action::Workdir(path) => ("WORKDIR", vec![path.clone()]),
                Action::User(name) => ("USER", vec![name.clone()]),
            };
            let hash = match &step.action {
                Action::Copy(_) => hashes.next().map(String::as_str),
                _ => None,
            };
            StepBody { kind, args, force: step.force, hash }
        });
        let (image, base) = match &template.base {
            Base::Image(image) => (Some(image.as_str()), None),
            Base::Template(name) => (None, Some(name.as_str())),
        };
        Self {
            start: template.start.as_deref(),
            ready: template.ready.as_deref(),
            steps: steps.collect(),
            force: template.force,
            image,
            template: base,
        }
    }
}

impl E2b {
    /// Requests a build. Creates the template if none has this name. A waiting
    /// build of the same name and tag is cancelled.
    ///
    /// # Errors
    /// See [`Error`]; a name of another team is [`Error::Forbidden`] or
    /// [`Error::Conflict`].
    pub async fn request_build(
        &self,
        name: &TemplateName,
        tags: &[Tag],
        size: Size,
    ) -> Result<RequestedBuild, Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Body<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            tags: Vec<&'a str>,
            cpu_count: u32,
            #[serde(rename = "memoryMB")]
            memory_mb: u32,
        }
        let operation = format!("ask for a build of {name}");
        let body = Body {
            name: name.as_str(),
            tags: tags.iter().map(Tag::as_str).collect(),
            cpu_count: size.cpus,
            memory_mb: size.memory_mb,
        };
        let path = ["v3", "templates"];
        let answer = self
            .api(Operation::Build, operation.clone(), Method::POST, &path, &[], Some(&body))
            .await?;
        answer.json(&operation)
    }

    /// Returns the upload address of the archive with this digest, and whether
    /// the server has it already.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn upload_place(&self, template: &str, hash: &str) -> Result<UploadPlace, Error> {
        let operation = format!("ask where the files of {template} go");
        let path = ["templates", template, "files", hash];
        let answer =
            self.api(Operation::Read, operation.clone(), Method::GET, &path, &[], NO_BODY).await?;
        answer.json(&operation)
    }

    /// Uploads an archive to the storage. The API key is not sent there.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn upload(&self, place: &UploadPlace, archive: Bytes) -> Result<(), Error> {
        let operation = format!("upload an archive of {} bytes", archive.len());
        let malformed = |source: Cause| Error::Malformed { operation: operation.clone(), source };
        let url = place.url.as_deref().ok_or_else(|| malformed("it contains no address".into()))?;
        let url = Url::parse(url).map_err(|error| malformed(error.into()))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &place.headers {
            let name = HeaderName::try_from(name).map_err(|error| malformed(error.into()))?;
            let value = HeaderValue::try_from(value).map_err(|error| malformed(error.into()))?;
            headers.insert(name, value);
        }
        let request = Request {
            kind: Operation::Upload,
            operation: operation.clone(),
            method: Method::PUT,
            url,
            headers,
            body: Some(archive),
            limit: MAX_UPLOAD_ANSWER_BYTES,
            within: Some(UPLOAD_TIMEOUT),
        };
        self.send(request).await.map(drop)
    }

    /// Starts a build. All its archives must be uploaded.
    ///
    /// # Errors
    /// See [`Error`].
    pub(crate) async fn start_build(
        &self,
        build: &RequestedBuild,
        body: &BuildStart<'_>,
    ) -> Result<(), Error> {
        let operation = format!("start build {}", build.build);
        let path = ["v2", "templates", &build.template, "builds", &build.build];
        self.api(Operation::Build, operation, Method::POST, &path, &[], Some(body)).await.map(drop)
    }

    /// Returns the status of a build, with its log from line `offset` on.
    ///
    /// # Errors
    /// See [`Error`]; an unknown build is [`Error::Rejected`].
    pub async fn build_status(
        &self,
        build: &RequestedBuild,
        offset: usize,
    ) -> Result<BuildStatus, Error> {
        let operation = format!("look at build {}", build.build);
        let path = ["templates", &build.template, "builds", &build.build, "status"];
        let offset = offset.to_string();
        let query = [("logsOffset", offset.as_str())];
        let answer = self
            .api(Operation::Read, operation.clone(), Method::GET, &path, &query, NO_BODY)
            .await?;
        answer.json(&operation)
    }

    /// Returns the id of the template with this name, `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if it belongs to another team.
    pub async fn template_id(&self, name: &TemplateName) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(rename = "templateID")]
            template: String,
        }
        let operation = format!("look up template {name}");
        let path = ["templates", "aliases", name.as_str()];
        match self.api(Operation::Read, operation.clone(), Method::GET, &path, &[], NO_BODY).await {
            Ok(answer) => Ok(Some(answer.json::<Found>(&operation)?.template)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Assigns tags to the build of the tag in `name`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn add_tags(&self, name: &TemplateName, tags: &[Tag]) -> Result<(), Error> {
        let operation = format!("tag template {name}");
        let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
        let body = serde_json::json!({ "target": name.as_str(), "tags": tags });
        let path = ["templates", "tags"];
        self.api(Operation::Set, operation, Method::POST, &path, &[], Some(&body)).await.map(drop)
    }

    /// Removes tags from a template.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn remove_tags(&self, name: &TemplateName, tags: &[Tag]) -> Result<(), Error> {
        let operation = format!("remove tags of template {name}");
        let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
        let body = serde_json::json!({ "name": name.as_str(), "tags": tags });
        let path = ["templates", "tags"];
        self.api(Operation::Set, operation, Method::DELETE, &path, &[], Some(&body)).await.map(drop)
    }

    /// Lists the tags of a template.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn tags(&self, name: &TemplateName) -> Result<Vec<TagInfo>, Error> {
        let operation = format!("list the tags of template {name}");
        let path = ["templates", name.as_str(), "tags"];
        let answer =
            self.api(Operation::Read, operation.clone(), Method::GET, &path, &[], NO_BODY).await?;
        answer.json(&operation)
    }
}
