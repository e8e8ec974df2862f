//! `?watch=true`: the changes below a path as server-sent events.
//!
//! Changes are read when the client takes them. Those of a client that is slow
//! stay in the kernel's queue, which is bounded and says when it has left some
//! out.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claude_relay_listen::Lifetime;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde_json::json;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::confined::{Found, Workspace};
use super::error::FileError;
use super::tree::{Change, Kind, Tree};
use super::{AnswerBody, blocking};

/// Interval of the comments that show that the stream is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The first text and every keep-alive: a comment, which no client sees.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// Watches a directory, or the place of a file.
pub(super) fn begin(
    workspace: &Workspace,
    found: &Found,
) -> Result<(Tree, Vec<Change>), FileError> {
    if found.kind().is_dir() {
        return Tree::watch(workspace, found.path.clone(), None);
    }
    match (found.path.parent(), found.path.file_name()) {
        (Some(place), Some(name)) => {
            Tree::watch(workspace, place.to_owned(), Some(name.as_bytes().to_vec()))
        }
        _ => Err(FileError::NotFound),
    }
}

/// Builds the response. Paths are told as those of the client: below `shown`.
pub(super) fn response(
    (tree, gaps): (Tree, Vec<Change>),
    shown: String,
    is_file: bool,
    (permit, lifetime): (OwnedSemaphorePermit, Arc<Lifetime>),
) -> Result<Response<AnswerBody>, FileError> {
    #[expect(deprecated, reason = "its successor is unsafe; an OwnedFd keeps what that demands")]
    let readable = AsyncFd::with_interest(tree.descriptor()?, Interest::READABLE)?;
    let shown = Shown { path: shown, is_file };
    let first = [COMMENT, shown.events(&gaps)].concat().into();
    let state = State { tree, readable, shown, lifetime, first: Some(first), _permit: permit };
    let events = stream::try_unfold(Some(state), |state| async {
        match state {
            Some(state) => state.next().await,
            None => Ok(None),
        }
    });
    let mut answer = Response::new(AnswerBody::Right(StreamBody::new(events).boxed_unsync()));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

struct State {
    tree: Tree,
    readable: AsyncFd<OwnedFd>,
    shown: Shown,
    lifetime: Arc<Lifetime>,
    first: Option<Bytes>,
    _permit: OwnedSemaphorePermit,
}

type Next = Option<(Frame<Bytes>, Option<State>)>;

impl State {
    async fn next(mut self) -> Result<Next, std::io::Error> {
        self.lifetime.on_progress();
        if let Some(first) = self.first.take() {
            return Ok(Some((Frame::data(first), Some(self))));
        }
        loop {
            let mut tree = self.tree;
            let taken = blocking(move || {
                let changes = tree.changes()?;
                Ok((tree, changes))
            });
            let (tree, changes) = taken.await.map_err(std::io::Error::other)?;
            self.tree = tree;
            if !changes.is_empty() {
                let events = Frame::data(self.shown.events(&changes));
                return Ok(Some((events, (!self.tree.has_ended()).then_some(self))));
            }
            // What comes from here on sets the descriptor's readiness again.
            match timeout(KEEP_ALIVE, self.readable.readable()).await {
                Err(_) => return Ok(Some((Frame::data(COMMENT), Some(self)))),
                Ok(ready) => ready?.clear_ready(),
            }
        }
    }
}

/// The watched path as its client named it.
struct Shown {
    path: String,
    is_file: bool,
}

impl Shown {
    fn events(&self, changes: &[Change]) -> Bytes {
        let mut text = String::new();
        for change in changes {
            let event = match change.kind {
                Kind::Created => "created",
                Kind::Modified => "modified",
                Kind::Removed => "removed",
                Kind::Gap => "gap",
            };
            let event = json!({ "event": event, "path": self.path_of(&change.path) });
            text += &format!("data: {event}\n\n");
        }
        text.into()
    }

    fn path_of(&self, below: &Path) -> String {
        let below = below.to_string_lossy();
        match (&*self.path, &*below) {
            (path, _) if self.is_file => path.to_owned(),
            (path, "") => path.to_owned(),
            ("", below) => below.to_owned(),
            (path, below) => format!("{path}/{below}"),
        }
    }
}
