//! `/conversations`: what Claude Code has kept of the agent's directory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::stream;
use http_body_util::{BodyExt as _, Either, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::access::Endpoint;
use super::files::AnswerBody;
use super::lifetime::Lifetime;
use super::permits::ConnectionPermits;
use super::routes::{Refusal, Routes, json_answer};
use crate::agent::workspace;
use crate::conversations::{Conversations, Transcript, is_id};

/// The path of the list; a conversation is below it.
const PATH: &str = "/conversations";

/// Maximum number of requests that are answered at once.
const MAX_READERS: usize = 4;

/// Number of conversations in a list, by default and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// The directory of Claude Code, and who reads in it.
#[derive(Debug, Clone)]
pub struct KeptConversations {
    state: Option<Arc<PathBuf>>,
    workspace: Arc<PathBuf>,
    readers: Arc<Semaphore>,
}

impl KeptConversations {
    /// Serves what Claude Code keeps in `state` of directories in `workspace`.
    #[must_use]
    pub fn new(state: Option<PathBuf>, workspace: PathBuf) -> Self {
        Self {
            state: state.map(Arc::new),
            workspace: Arc::new(workspace),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
        }
    }
}

/// Returns true if the path of a URL is one of these.
pub(super) fn is_conversation(path: &str) -> bool {
    path.strip_prefix(PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Routes {
    /// Serves `kept` too.
    #[must_use]
    pub fn with_conversations(mut self, kept: KeptConversations) -> Self {
        self.conversations = Some(kept);
        self
    }

    /// Answers a request for conversations.
    pub(super) async fn answer_conversations(
        &self,
        request: Request<Incoming>,
        places: Arc<ConnectionPermits>,
        lifetime: Arc<Lifetime>,
    ) -> Result<Response<AnswerBody>, Refusal> {
        const ALLOWED: &str = "GET, HEAD";
        let (head, _) = request.into_parts();
        let admission = self.admit(Endpoint::Conversations, &head)?;
        let not_found = |error| Refusal::new(StatusCode::NOT_FOUND, error);
        let Some(kept) = &self.conversations else { return Err(not_found("Not Found")) };
        if !ALLOWED.split(", ").any(|method| method == head.method.as_str()) {
            let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            refusal.headers.push((ALLOW, HeaderValue::from_static(ALLOWED)));
            return Err(refusal);
        }
        if admission.authorized && self.access.has_token() {
            places.keep();
        }
        let id = head.uri.path().strip_prefix(PATH).unwrap_or_default();
        let id = id.strip_prefix('/').unwrap_or(id).to_owned();
        let limit = limit(head.uri.query().unwrap_or_default())?;
        if !id.is_empty() && !is_id(&id) {
            return Err(not_found("there is no such conversation"));
        }
        let Ok(permit) = Arc::clone(&kept.readers).try_acquire_owned() else {
            let error = format!("{MAX_READERS} readers at once are the limit: try again later");
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error));
        };
        let config = self.session.configuration().await.map_err(|_| Refusal::shutting_down())?;
        let (state, root) = (kept.state.clone(), Arc::clone(&kept.workspace));
        let found = spawn_blocking(move || -> Result<Found, Refusal> {
            let cwd = workspace::directory(config.cwd.as_deref(), &root)
                .map_err(|error| Refusal::new(StatusCode::CONFLICT, error.to_string()))?;
            let kept = match state {
                Some(state) => Conversations::open(&state, &cwd).map_err(failed)?,
                None => None,
            };
            match (kept, id.is_empty()) {
                (None, true) => Ok(Found::List(json!({ "conversations": [] }))),
                (None, false) => Ok(Found::Nothing),
                (Some(kept), true) => {
                    let listing = kept.list(limit).map_err(failed)?;
                    let listing = serde_json::to_value(listing).map_err(io::Error::from);
                    Ok(Found::List(listing.map_err(failed)?))
                }
                (Some(kept), false) => {
                    let transcript = kept.transcript(&id).map_err(failed)?;
                    Ok(transcript.map_or(Found::Nothing, Found::Transcript))
                }
            }
        });
        match found.await.map_err(|_| Refusal::shutting_down())?? {
            Found::List(list) => Ok(json_answer(StatusCode::OK, &list).map(Either::Left)),
            Found::Transcript(transcript) => Ok(streamed(transcript, permit, lifetime)),
            Found::Nothing => Err(not_found("there is no such conversation")),
        }
    }
}

enum Found {
    List(serde_json::Value),
    Transcript(Transcript),
    Nothing,
}

fn streamed(
    transcript: Transcript,
    permit: OwnedSemaphorePermit,
    lifetime: Arc<Lifetime>,
) -> Response<AnswerBody> {
    let chunks = stream::try_unfold((transcript, permit), move |(mut transcript, permit)| {
        lifetime.on_progress();
        async move {
            let read = spawn_blocking(move || {
                let chunk = transcript.next_chunk()?;
                Ok::<_, io::Error>((transcript, chunk))
            });
            let (transcript, chunk) = read.await??;
            Ok(chunk.map(|chunk| (Frame::data(chunk.into()), (transcript, permit))))
        }
    });
    let mut answer = Response::new(Either::Right(StreamBody::new(chunks).boxed_unsync()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn limit(query: &str) -> Result<usize, Refusal> {
    let given = query.split('&').filter_map(|pair| pair.strip_prefix("limit=")).next_back();
    let Some(given) = given else { return Ok(DEFAULT_LIMIT) };
    match given.parse() {
        Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("limit: expected a whole number from 1 to {MAX_LIMIT}"),
        )),
    }
}

fn failed(error: io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the conversation is too long");
    }
    tracing::warn!("the conversations cannot be read: {error}");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the conversations cannot be read")
}
