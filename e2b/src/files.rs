//! The files of a sandbox, through envd.

use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::connect::envelope;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::http::{Answer, E2b, Request, json, read, secret_header};
use crate::multipart::multipart;
use crate::retry::Operation;
use crate::sandbox::Sandbox;
use crate::settings::ENVD_PORT;
use crate::watch::Watch;

/// Largest file that [`Files::read`] accepts.
pub const MAX_READ_BYTES: usize = 256 << 20;
/// Longest answer to a call.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Interval of the keep-alive messages of a watch.
const KEEPALIVE_SECONDS: u16 = 50;
/// Time limit of the first message of a watch.
const WATCH_START: Duration = Duration::from_secs(30);

/// Files of one sandbox.
#[derive(Clone, Debug)]
pub struct Files {
    e2b: E2b,
    endpoint: Endpoint,
    user: Option<String>,
}

/// Type of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
pub enum EntryKind {
    /// A file.
    #[serde(rename = "FILE_TYPE_FILE")]
    File,
    /// A directory.
    #[serde(rename = "FILE_TYPE_DIRECTORY")]
    Directory,
    /// A symbolic link.
    #[serde(rename = "FILE_TYPE_SYMLINK")]
    Symlink,
    /// Another type, or one newer than this library.
    #[serde(other)]
    Other,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its name in its directory.
    pub name: String,
    /// Its full path.
    pub path: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: EntryKind,
    /// Its length in bytes.
    #[serde(default, deserialize_with = "size")]
    pub size: u64,
    /// Its permission bits.
    #[serde(default)]
    pub mode: u32,
    /// Its owner's name.
    #[serde(default)]
    pub owner: String,
    /// Its group's name.
    #[serde(default)]
    pub group: String,
    /// The target of a symbolic link.
    pub symlink_target: Option<String>,
}

#[derive(Deserialize)]
struct OneEntry {
    entry: Entry,
}

impl Sandbox {
    /// Returns its files, accessed as its default user.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the API's token or domain cannot be used.
    pub fn files(&self) -> Result<Files, Error> {
        Files::of(self)
    }
}

impl Files {
    fn of(sandbox: &Sandbox) -> Result<Self, Error> {
        let mut endpoint = sandbox.endpoint(ENVD_PORT)?;
        if let Some(token) = &sandbox.envd_token {
            let token = secret_header(token, "reach the files of a sandbox")?;
            endpoint.headers.insert(HeaderName::from_static("x-access-token"), token);
        }
        Ok(Self { e2b: sandbox.e2b.clone(), endpoint, user: None })
    }

    /// Returns the same files, accessed as another user of the sandbox, such as
    /// `root`.
    #[must_use]
    pub fn as_user(&self, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..self.clone() }
    }

    /// Writes a file. Creates missing directories above it and replaces an
    /// existing file.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn write(&self, path: &str, content: &[u8]) -> Result<(), Error> {
        let query = [("path", path)];
        self.upload(format!("write {path:?}"), &query, &[(path, content)]).await
    }

    /// Writes several files in one request.
    ///
    /// # Errors
    /// See [`Error`]. Some of the files may have been written.
    pub async fn write_all(&self, files: &[(&str, &[u8])]) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        self.upload(format!("write {} files", files.len()), &[], files).await
    }

    /// Reads an entire file of at most [`MAX_READ_BYTES`].
    ///
    /// # Errors
    /// [`Error::NotFound`] if it does not exist.
    pub async fn read(&self, path: &str) -> Result<Bytes, Error> {
        check_path(path)?;
        let operation = format!("read {path:?}");
        let request = Request {
            kind: Operation::Read,
            operation,
            method: Method::GET,
            url: self.files_url(&[("path", path)]),
            headers: self.endpoint.headers.clone(),
            body: None,
            limit: MAX_READ_BYTES,
            within: None,
        };
        Ok(self.e2b.send(request).await?.body)
    }

    /// Lists a directory, `depth` levels deep; 1 is the directory alone.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it does not exist.
    pub async fn list(&self, path: &str, depth: u32) -> Result<Vec<Entry>, Error> {
        #[derive(Deserialize)]
        struct Entries {
            #[serde(default)]
            entries: Vec<Entry>,
        }
        let body = serde_json::json!({ "path": checked(path)?, "depth": depth });
        let operation = format!("list {path:?}");
        let answer = self.call(Operation::Read, operation.clone(), "ListDir", &body).await?;
        Ok(answer.json::<Entries>(&operation)?.entries)
    }

    /// Returns the entry at a path.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it does not exist.
    pub async fn stat(&self, path: &str) -> Result<Entry, Error> {
        let body = serde_json::json!({ "path": checked(path)? });
        let operation = format!("look at {path:?}");
        let answer = self.call(Operation::Read, operation.clone(), "Stat", &body).await?;
        Ok(answer.json::<OneEntry>(&operation)?.entry)
    }

    /// Creates a directory and those above it. Returns `false` if it existed.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn make_dir(&self, path: &str) -> Result<bool, Error> {
        let body = serde_json::json!({ "path": checked(path)? });
        match self
            .call(Operation::Write, format!("make the directory {path:?}"), "MakeDir", &body)
            .await
        {
            Ok(_) => Ok(true),
            Err(Error::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Moves a file or directory.
    ///
    /// # Errors
    /// [`Error::NotFound`] if `from` does not exist.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "source": checked(from)?, "destination": checked(to)? });
        self.call(Operation::Move, format!("move {from:?} to {to:?}"), "Move", &body)
            .await
            .map(drop)
    }

    /// Removes a file, or a directory with all its contents.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn remove(&self, path: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "path": checked(path)? });
        self.call(Operation::Write, format!("remove {path:?}"), "Remove", &body).await.map(drop)
    }

    /// Watches a directory for changes, with `recursive` also the directories
    /// below it. The watch is active when this returns. `lifetime` limits it on
    /// the sandbox's side; `None` means the lifetime of the sandbox.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the directory does not exist.
    pub async fn watch(
        &self,
        path: &str,
        recursive: bool,
        lifetime: Option<Duration>,
    ) -> Result<Watch, Error> {
        let operation = format!("watch {path:?}");
        let mut body = serde_json::json!({ "path": checked(path)? });
        if recursive {
            body["recursive"] = true.into();
        }
        let mut request = self.rpc(Operation::Read, operation.clone(), "WatchDir", &body)?;
        request.body = request.body.map(|body| envelope(&body));
        let content_type = HeaderValue::from_static("application/connect+json");
        request.headers.insert(CONTENT_TYPE, content_type);
        let keepalive = HeaderName::from_static("keepalive-ping-interval");
        request.headers.insert(keepalive, HeaderValue::from(KEEPALIVE_SECONDS));
        if let Some(lifetime) = lifetime {
            let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
            let name = HeaderName::from_static("connect-timeout-ms");
            request.headers.insert(name, HeaderValue::from(millis));
        }

        let started = async {
            let response = self.e2b.open(&request).await?;
            let status = response.status().as_u16();
            if status >= 300 {
                let headers = response.headers().clone();
                let body = read(response, MAX_ANSWER_BYTES, &operation).await?;
                return Err(Error::of_answer(&operation, status, &headers, &body));
            }
            Watch::begin(&operation, response, lifetime).await
        };
        tokio::time::timeout(WATCH_START, started)
            .await
            .unwrap_or(Err(Error::TimedOut { operation: operation.clone(), after: WATCH_START }))
    }

    async fn upload(
        &self,
        operation: String,
        query: &[(&str, &str)],
        files: &[(&str, &[u8])],
    ) -> Result<(), Error> {
        for (path, _) in files {
            check_path(path)?;
        }
        let (boundary, body) = multipart("file", files);
        let mut headers = self.endpoint.headers.clone();
        let content_type =
            HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"))
                .map_err(|error| Error::Argument(error.to_string()))?;
        headers.insert(CONTENT_TYPE, content_type);
        let request = Request {
            kind: Operation::Write,
            operation,
            method: Method::POST,
            url: self.files_url(query),
            headers,
            body: Some(body.into()),
            limit: MAX_ANSWER_BYTES,
            within: None,
        };
        self.e2b.send(request).await.map(drop)
    }

    async fn call(
        &self,
        kind: Operation,
        operation: String,
        method: &str,
        body: &impl Serialize,
    ) -> Result<Answer, Error> {
        let request = self.rpc(kind, operation, method, body)?;
        self.e2b.send(request).await
    }

    fn rpc(
        &self,
        kind: Operation,
        operation: String,
        method: &str,
        body: &impl Serialize,
    ) -> Result<Request, Error> {
        self.service(kind, operation, &format!("filesystem.Filesystem/{method}"), body)
    }

    pub(crate) fn e2b(&self) -> &E2b {
        &self.e2b
    }

    /// Returns a call of one of envd's services.
    pub(crate) fn service(
        &self,
        kind: Operation,
        operation: String,
        method: &str,
        body: &impl Serialize,
    ) -> Result<Request, Error> {
        let mut url = self.endpoint.url.clone();
        url.set_path(method);
        let mut headers = self.endpoint.headers.clone();
        let version = HeaderName::from_static("connect-protocol-version");
        headers.insert(version, HeaderValue::from_static("1"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(user) = &self.user {
            let name = base64::engine::general_purpose::STANDARD.encode(format!("{user}:"));
            let value = HeaderValue::from_str(&format!("Basic {name}"))
                .map_err(|error| Error::Argument(error.to_string()))?;
            headers.insert(AUTHORIZATION, value);
        }
        let body = Some(json(&operation, body)?);
        Ok(Request {
            kind,
            operation,
            method: Method::POST,
            url,
            headers,
            body,
            limit: MAX_ANSWER_BYTES,
            within: None,
        })
    }

    fn files_url(&self, query: &[(&str, &str)]) -> reqwest::Url {
        let mut url = self.endpoint.url.clone();
        url.set_path("/files");
        let user = self.user.as_deref().map(|user| ("username", user));
        let mut pairs = query.iter().copied().chain(user).peekable();
        if pairs.peek().is_some() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }
}

fn check_path(path: &str) -> Result<(), Error> {
    match path {
        "" => Err(Error::Argument("a path must not be empty".to_owned())),
        path if path.contains('\0') => {
            Err(Error::Argument(format!("a path must not hold a NUL: {path:?}")))
        }
        _ => Ok(()),
    }
}

fn checked(path: &str) -> Result<&str, Error> {
    check_path(path).map(|()| path)
}

/// Parses a length: in JSON, envd writes 64-bit numbers as strings.
fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Text(String),
        Number(u64),
    }
    match Size::deserialize(deserializer)? {
        Size::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Size::Number(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests;
