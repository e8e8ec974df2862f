//! `/conversations`: what Claude Code has kept of the agent's directory, and the
//! store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use claude_relay_listen::access::Endpoint;
use claude_relay_listen::answer::{Refusal, json_answer};
use claude_relay_listen::{ConnectionPermits, Lifetime};
use futures_util::stream;
use http_body_util::{BodyExt as _, Either, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::files::AnswerBody;
use super::routes::Routes;
use crate::agent::workspace;
use crate::conversations::{Conversations, Listing, Position, Transcript, is_id};
use crate::store::{Store, StoreError};

/// The path of the list; a conversation is below it.
const PATH: &str = "/conversations";

/// Maximum number of requests that are answered at once.
const MAX_READERS: usize = 4;

/// Number of conversations in a list, by default and at most.
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// Most messages of a conversation that a client can ask for as the last ones.
const MAX_LAST: usize = 100_000;

/// Time for the store to answer.
const STORE_TIME: Duration = Duration::from_secs(20);

/// The directory of Claude Code and the store, and who reads in them.
#[derive(Debug, Clone)]
pub struct KeptConversations {
    state: Option<Arc<PathBuf>>,
    workspace: Arc<PathBuf>,
    store: Option<Arc<Store>>,
    readers: Arc<Semaphore>,
}

impl KeptConversations {
    /// Serves what Claude Code keeps in `state` of directories in `workspace`, and
    /// what `store` has.
    #[must_use]
    pub fn new(state: Option<PathBuf>, workspace: PathBuf, store: Option<Arc<Store>>) -> Self {
        Self {
            state: state.map(Arc::new),
            workspace: Arc::new(workspace),
            store,
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
        let query = head.uri.query().unwrap_or_default();
        let limit = number(query, "limit", MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let last = number(query, "last", MAX_LAST)?;
        let before = position(query)?;
        if !id.is_empty() && !is_id(&id) {
            return Err(not_found("there is no such conversation"));
        }
        let Ok(permit) = Arc::clone(&kept.readers).try_acquire_owned() else {
            let error = format!("{MAX_READERS} readers at once are the limit: try again later");
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error));
        };
        let config = self.session.configuration().await.map_err(|_| Refusal::shutting_down())?;
        let (state, root) = (kept.state.clone(), Arc::clone(&kept.workspace));
        let here = spawn_blocking(move || {
            let cwd = workspace::directory(config.cwd.as_deref(), &root)
                .map_err(|error| Refusal::new(StatusCode::CONFLICT, error.to_string()))?;
            let state = state.as_deref().map(PathBuf::as_path);
            let found = kept_here(state, &cwd, &id, limit, before.as_ref());
            Ok::<_, Refusal>((found.map_err(failed)?, cwd, id, before))
        });
        let (here, cwd, id, before) = here.await.map_err(|_| Refusal::shutting_down())??;
        match here {
            Found::List(list) => {
                let list = kept.with_stored(list, &cwd, limit, before.as_ref()).await?;
                Ok(json_answer(StatusCode::OK, &list).map(Either::Left))
            }
            Found::Transcript(Some(transcript)) => Ok(streamed(transcript, last, permit, lifetime)),
            Found::Transcript(None) => {
                let stored = match kept.store.as_deref() {
                    Some(store) => asked(store.open_transcript(&id, &cwd)).await,
                    None => Ok(None),
                };
                let transcript = stored.map_err(|error| match error {
                    StoreError::TooLarge(_) => failed(io::ErrorKind::FileTooLarge.into()),
                    error => Refusal::new(
                        StatusCode::SERVICE_UNAVAILABLE,
                        format!("the store could not be asked: {error}"),
                    ),
                })?;
                let transcript =
                    transcript.ok_or_else(|| not_found("there is no such conversation"))?;
                Ok(streamed(transcript, last, permit, lifetime))
            }
        }
    }
}

enum Found {
    List(Listing),
    Transcript(Option<Transcript>),
}

/// Looks into the directory of Claude Code. Without an id that is the list.
fn kept_here(
    state: Option<&Path>,
    cwd: &Path,
    id: &str,
    limit: usize,
    before: Option<&Position>,
) -> io::Result<Found> {
    let kept = match state {
        Some(state) => Conversations::open(state, cwd)?,
        None => None,
    };
    Ok(match (kept, id) {
        (None, "") => Found::List(Listing::default()),
        (Some(kept), "") => Found::List(kept.list(limit, before)?),
        (None, _) => Found::Transcript(None),
        (Some(kept), id) => Found::Transcript(kept.transcript(id)?),
    })
}

impl KeptConversations {
    /// Adds what the store has. If it cannot be asked, that is said beside the list.
    async fn with_stored(
        &self,
        mut list: Listing,
        cwd: &Path,
        limit: usize,
        before: Option<&Position>,
    ) -> Result<serde_json::Value, Refusal> {
        let mut store_error = None;
        if let Some(store) = self.store.as_deref() {
            let state = self.state.as_deref().map(PathBuf::as_path);
            match asked(store.list(cwd, limit, before, state)).await {
                Ok(stored) => list.add(stored, limit),
                Err(error) => store_error = Some(error.to_string()),
            }
        }
        let mut list = serde_json::to_value(list).map_err(|error| failed(error.into()))?;
        if let Some(error) = store_error {
            list["store_error"] = json!(error);
        }
        Ok(list)
    }
}

async fn asked<T>(question: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(STORE_TIME, question).await.unwrap_or(Err(StoreError::Timeout(STORE_TIME)))
}

fn streamed(
    mut transcript: Transcript,
    last: Option<usize>,
    permit: OwnedSemaphorePermit,
    lifetime: Arc<Lifetime>,
) -> Response<AnswerBody> {
    if let Some(last) = last {
        transcript.keep_last(last);
    }
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

/// Returns the number that a parameter of the query gives.
fn number(query: &str, name: &str, max: usize) -> Result<Option<usize>, Refusal> {
    let Some(given) = parameter(query, name) else { return Ok(None) };
    match given.parse() {
        Ok(number) if (1..=max).contains(&number) => Ok(Some(number)),
        _ => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("{name}: expected a whole number from 1 to {max}"),
        )),
    }
}

/// Returns the place behind which the list is asked for.
fn position(query: &str) -> Result<Option<Position>, Refusal> {
    let Some(given) = parameter(query, "before") else { return Ok(None) };
    match Position::parse(given) {
        Some(position) => Ok(Some(position)),
        None => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "before: expected `modified` and `id` of a conversation with a `.` between them",
        )),
    }
}

/// Returns the last value of a parameter of the query.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut values = query.split('&').filter_map(|pair| pair.split_once('='));
    values.rfind(|(other, _)| *other == name).map(|(_, given)| given)
}

fn failed(error: io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the conversation is too long");
    }
    tracing::warn!("the conversations cannot be read: {error}");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the conversations cannot be read")
}
