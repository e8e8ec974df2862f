//! `/files`: the files of the workspace, under the access rules of `/config`.
//!
//! All work on files is done by threads of their own, since a file system can
//! block.

mod confined;
mod download;
mod error;
mod path;
mod range;
mod tree;
mod upload;
mod watch;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use claude_relay_listen::access::Endpoint;
use claude_relay_listen::answer::{Answer, Refusal, json_answer};
use claude_relay_listen::{ConnectionPermits, Lifetime};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    RANGE,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::routes::Routes;
use crate::agent::mode::Mode;
use confined::Workspace;
use error::FileError;
use path::RelativePath;
use upload::Upload;

pub(super) use path::is_file;

/// Maximum size of a file.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Maximum number of files that are read or written at once, and of watches.
const MAX_TRANSFERS: usize = 8;
const MAX_WATCHES: usize = 8;

/// Body of a response: whole, or streamed.
pub(super) type AnswerBody = Either<Full<Bytes>, Streamed>;
type Streamed = UnsyncBoxBody<Bytes, io::Error>;

/// The files of the workspace.
#[derive(Debug, Clone)]
pub struct Files {
    workspace: Arc<PathBuf>,
    mode: Mode,
    transfers: Arc<Semaphore>,
    watches: Arc<Semaphore>,
}

impl Files {
    /// Serves the files of `workspace` below the ceiling `mode`.
    #[must_use]
    pub fn new(workspace: PathBuf, mode: Mode) -> Self {
        Self {
            workspace: Arc::new(workspace),
            mode,
            transfers: Arc::new(Semaphore::new(MAX_TRANSFERS)),
            watches: Arc::new(Semaphore::new(MAX_WATCHES)),
        }
    }

    async fn answer(
        &self,
        head: &Parts,
        body: Incoming,
        lifetime: Arc<Lifetime>,
    ) -> Result<Response<AnswerBody>, FileError> {
        let path = RelativePath::parse(head.uri.path())?;
        match head.method {
            Method::PUT => self.put(path, head, body, &lifetime).await,
            Method::DELETE => self.delete(path).await,
            Method::GET if is_watch(head.uri.query().unwrap_or_default())? => {
                self.watch(path, lifetime).await
            }
            _ => self.get(path, head, lifetime).await,
        }
    }

    async fn get(
        &self,
        path: RelativePath,
        head: &Parts,
        lifetime: Arc<Lifetime>,
    ) -> Result<Response<AnswerBody>, FileError> {
        let permit = self.transfer()?;
        let asked =
            only(&head.headers, RANGE).and_then(|value| value.to_str().ok().map(str::to_owned));
        let with_body = head.method != Method::HEAD;
        self.run(move |workspace, _| {
            let found = workspace.find(&path.to_path())?;
            if found.kind().is_dir() {
                let listing = download::list(&workspace, &found)?;
                let listing = serde_json::to_value(listing).map_err(io::Error::other)?;
                return Ok(json_answer(StatusCode::OK, &listing).map(Either::Left));
            }
            if path.is_directory {
                return Err(FileError::NotFound);
            }
            let file = download::open(&workspace, &found)?;
            download::response(file, asked.as_deref(), with_body, (permit, lifetime))
        })
        .await
    }

    async fn put(
        &self,
        path: RelativePath,
        head: &Parts,
        body: Incoming,
        lifetime: &Arc<Lifetime>,
    ) -> Result<Response<AnswerBody>, FileError> {
        let only_create = only_creates(&head.headers)?;
        if head.headers.contains_key(CONTENT_RANGE) {
            return Err(FileError::Request("Content-Range: a file is written as a whole"));
        }
        if head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(FileError::Compressed);
        }
        // Refused before anything is written, and before the body is read.
        let is_too_large = body.size_hint().lower() > MAX_FILE_BYTES;
        let permit = self.transfer()?;
        let upload = self.run(move |workspace, mode| {
            workspace.check_writable(&path.to_path(), mode)?;
            if is_too_large {
                return Err(FileError::TooLarge);
            }
            Upload::begin(&workspace, &path, mode, only_create)
        });
        let upload = upload.await?.receive(body, lifetime).await?;
        let is_new = blocking(move || upload.finish()).await?;
        drop(permit);
        Ok(status(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT }))
    }

    async fn delete(&self, path: RelativePath) -> Result<Response<AnswerBody>, FileError> {
        let _permit = self.transfer()?;
        self.run(move |workspace, mode| upload::remove(&workspace, &path, mode)).await?;
        Ok(status(StatusCode::NO_CONTENT))
    }

    async fn watch(
        &self,
        path: RelativePath,
        lifetime: Arc<Lifetime>,
    ) -> Result<Response<AnswerBody>, FileError> {
        let permit = permit(&self.watches, MAX_WATCHES, "watches")?;
        let shown = path.shown();
        let (watched, is_file) = self
            .run(move |workspace, _| {
                let found = workspace.find(&path.to_path())?;
                Ok((watch::begin(&workspace, &found)?, !found.kind().is_dir()))
            })
            .await?;
        watch::response(watched, shown, is_file, (permit, lifetime))
    }

    /// Runs `work` on the workspace.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(Workspace, Mode) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let (path, mode) = (Arc::clone(&self.workspace), self.mode);
        blocking(move || work(Workspace::open(&path)?, mode)).await
    }

    fn transfer(&self) -> Result<OwnedSemaphorePermit, FileError> {
        permit(&self.transfers, MAX_TRANSFERS, "files")
    }
}

impl Routes {
    /// Serves the files of `files` too.
    #[must_use]
    pub fn with_files(mut self, files: Files) -> Self {
        self.files = Some(files);
        self
    }

    /// Answers a request for a file.
    pub(super) async fn answer_file(
        &self,
        request: Request<Incoming>,
        places: Arc<ConnectionPermits>,
        lifetime: Arc<Lifetime>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        const ALLOWED: &str = "GET, HEAD, PUT, DELETE";
        let (head, body) = request.into_parts();
        let admission = self.admit(Endpoint::Files, &head)?;
        let Some(files) = &self.files else {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found"));
        };
        if !ALLOWED.split(", ").any(|method| method == head.method.as_str()) {
            let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            refusal.headers.push((ALLOW, HeaderValue::from_static(ALLOWED)));
            return Err(refusal);
        }
        if admission.authorized && self.access.has_token() {
            places.keep();
        }
        Ok(files.answer(&head, body, lifetime).await?)
    }
}

/// Runs `work`, which may block, beside the server's own thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    spawn_blocking(work).await.map_err(|_| FileError::ShuttingDown)?
}

fn permit(
    of: &Arc<Semaphore>,
    limit: usize,
    what: &'static str,
) -> Result<OwnedSemaphorePermit, FileError> {
    Arc::clone(of).try_acquire_owned().map_err(|_| FileError::Busy { limit, what })
}

/// Reads `?watch=true`.
fn is_watch(query: &str) -> Result<bool, FileError> {
    let mut values = query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == "watch").then_some(value)
    });
    match values.next_back() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(FileError::Request("watch: expected true or false")),
    }
}

/// Reads `If-None-Match`, of which `*` alone means something: there are no
/// entity tags.
fn only_creates(headers: &HeaderMap) -> Result<bool, FileError> {
    match headers.get(IF_NONE_MATCH) {
        None => Ok(false),
        Some(value) if value == "*" => Ok(true),
        Some(_) => Err(FileError::Request("If-None-Match: expected *")),
    }
}

/// The value of a header that is present exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn empty() -> AnswerBody {
    Either::Left(Full::default())
}

fn status(status: StatusCode) -> Response<AnswerBody> {
    let mut answer: Answer = Response::default();
    *answer.status_mut() = status;
    answer.map(Either::Left)
}
