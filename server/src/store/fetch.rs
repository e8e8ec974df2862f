//! A conversation of the store, put where the CLI looks for its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Store;
use super::backend::StoreError;
use super::key::{Key, is_name, is_safe_subpath, part_time};
use super::local::Folder;
use super::reconcile::{self, Reconciled};
use super::writer::lock;
use crate::conversations::{folder_name, is_id};

/// Objects that are read at once.
pub(super) const READERS: usize = 16;

/// Most bytes of one transcript.
pub(super) const TRANSCRIPT_BYTES: u64 = 256 << 20;

/// Most transcripts of sub-agents of one conversation.
const MAX_SUBAGENTS: usize = 10_000;

/// Pauses between the attempts to fetch a conversation.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];

/// A conversation that is to be resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its id; `None` for the last one of the working directory.
    pub session: Option<String>,
    /// The CLI's directory.
    pub state: PathBuf,
    /// The working directory in which it is resumed, a path without links.
    pub cwd: PathBuf,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The conversation; `None` if the last one was wanted and the store has none
    /// that this machine has not.
    pub session: Option<String>,
    /// The project below which the store has the conversation, and the time of
    /// its last part.
    pub home: Option<(String, u64)>,
    /// What this machine has and the store has not.
    pub missing: Vec<(Key, Bytes)>,
    /// Sentences for the client.
    pub told: Vec<String>,
}

/// The folder of a working directory in the CLI's directory.
#[derive(Debug, Clone)]
struct Target {
    state: PathBuf,
    project: String,
}

/// Names of parts. Those that wait on this disk have their text.
type Parts = BTreeMap<String, Option<Bytes>>;

fn last_time(parts: &Parts) -> Option<u64> {
    parts.last_key_value().and_then(|(name, _)| part_time(name))
}

/// A transcript in the store.
struct Stored {
    text: Vec<u8>,
    /// Time of its last part.
    last: u64,
}

impl Store {
    /// Puts a conversation where the CLI looks for it, as far as the CLI's
    /// directory lacks it. A store that fails is asked again, a few times.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn fetch(&self, wanted: &Wanted) -> Result<Fetched, StoreError> {
        for pause in PAUSES {
            match self.try_fetch(wanted).await {
                Err(reason) => {
                    tracing::warn!("{}: {reason}; asked again in {pause:?}", self.location());
                }
                fetched => return fetched,
            }
            sleep(pause).await;
        }
        self.try_fetch(wanted).await
    }

    async fn try_fetch(&self, wanted: &Wanted) -> Result<Fetched, StoreError> {
        let target = Target {
            state: wanted.state.clone(),
            project: folder_name(&wanted.cwd.to_string_lossy()),
        };
        let session = match &wanted.session {
            Some(session) => Some(session.clone()),
            None => self.latest(&wanted.state, &wanted.cwd).await?,
        };
        let mut fetched = Fetched { session: session.clone(), ..Fetched::default() };
        let Some(session) = session.filter(|id| is_id(id) && is_name(&target.project)) else {
            return Ok(fetched);
        };
        let found = self.find(&session, &target.project).await?;
        let key = Key {
            project: found.clone().unwrap_or_else(|| target.project.clone()),
            session,
            subpath: None,
        };
        let stored = self.transcript(&key).await?;
        let last = stored.as_ref().map_or(0, |stored| stored.last);
        fetched.home = stored.is_some().then(|| (key.project.clone(), last));
        let (session, text) =
            (key.session.clone(), stored.map(|stored| stored.text).unwrap_or_default());
        let reconciled =
            blocking(&target, move |folder| reconcile::conversation(folder, &session, &text));
        fetched.add(&key, reconciled.await?);
        self.fetch_subagents(&target, &key, found.is_some(), &mut fetched).await?;
        Ok(fetched)
    }

    /// Finds the project below which a conversation lies: its own, or that of
    /// another working directory.
    pub(super) async fn find(
        &self,
        session: &str,
        own: &str,
    ) -> Result<Option<String>, StoreError> {
        if self.last_part(own, session).await?.is_some() {
            return Ok(Some(own.to_owned()));
        }
        let projects = self.backend.list("").await?.directories;
        let times = stream::iter(projects.into_iter().filter(|name| is_name(name) && name != own))
            .map(|project| async move {
                let last = self.last_part(&project, session).await?;
                Ok::<_, StoreError>(last.map(|last| (last, project)))
            })
            .buffer_unordered(READERS)
            .try_filter_map(|found| async move { Ok(found) });
        let found: Vec<(u64, String)> = times.try_collect().await?;
        Ok(found.into_iter().max().map(|(_, project)| project))
    }

    pub(super) async fn last_part(
        &self,
        project: &str,
        session: &str,
    ) -> Result<Option<u64>, StoreError> {
        let directory = format!("{project}/{session}");
        let parts = self.parts(&directory).await?;
        Ok(last_time(&parts))
    }

    /// Lists the parts below a path, in order. Those that wait on this disk
    /// come with their text.
    async fn parts(&self, path: &str) -> Result<Parts, StoreError> {
        let objects = self.backend.list(path).await?.objects;
        let mut parts: Parts = objects
            .into_iter()
            .filter(|name| part_time(name).is_some())
            .map(|name| (name, None))
            .collect();
        if let Some(spool) = self.spool.clone() {
            let path = path.to_owned();
            let waiting = spawn_blocking(move || lock(&spool).below(&path)).await;
            let waiting = waiting.map_err(|_| StoreError::ShuttingDown)?;
            for (path, text) in waiting.map_err(|source| StoreError::Spool { source })? {
                if let Some((_, name)) = path.rsplit_once('/') {
                    parts.insert(name.to_owned(), Some(text));
                }
            }
        }
        Ok(parts)
    }

    /// Gives the parts of a transcript in order, whole lines each, and the time of
    /// the last one; `None` if there are none.
    pub(super) async fn texts(
        &self,
        key: &Key,
    ) -> Result<Option<(u64, impl Stream<Item = Result<Bytes, StoreError>>)>, StoreError> {
        let directory = key.directory();
        let parts = self.parts(&directory).await?;
        let Some(last) = last_time(&parts) else { return Ok(None) };
        let texts = stream::iter(parts).map(move |(name, waiting)| {
            let path = format!("{directory}/{name}");
            async move {
                let text = match waiting {
                    Some(text) => text,
                    None => self.backend.get(&path).await?,
                };
                Ok(match text.ends_with(b"\n") {
                    true => text,
                    false => [&text[..], b"\n"].concat().into(),
                })
            }
        });
        Ok(Some((last, texts.buffered(READERS))))
    }

    /// Reads a whole transcript; `None` if there is none.
    async fn transcript(&self, key: &Key) -> Result<Option<Stored>, StoreError> {
        let Some((last, texts)) = self.texts(key).await? else { return Ok(None) };
        let mut texts = std::pin::pin!(texts);
        let mut text = Vec::new();
        while let Some(part) = texts.try_next().await? {
            if (text.len() + part.len()) as u64 > TRANSCRIPT_BYTES {
                return Err(StoreError::TooLarge(key.directory()));
            }
            text.extend_from_slice(&part);
        }
        Ok(Some(Stored { text, last }))
    }

    /// Brings the transcripts of sub-agents up to date, here and in the store.
    async fn fetch_subagents(
        &self,
        target: &Target,
        key: &Key,
        is_stored: bool,
        fetched: &mut Fetched,
    ) -> Result<(), StoreError> {
        let session = key.session.clone();
        let local = blocking(target, move |folder| folder.transcripts(&session, MAX_SUBAGENTS));
        let mut subpaths: BTreeSet<String> = local.await?.into_iter().collect();
        if is_stored {
            subpaths.extend(self.stored_subpaths(key).await?);
        }
        for subpath in subpaths.into_iter().filter(|subpath| is_safe_subpath(subpath)) {
            let below = Key { subpath: Some(subpath.clone()), ..key.clone() };
            let stored = match is_stored {
                true => self.transcript(&below).await?,
                false => None,
            };
            let (session, text) =
                (key.session.clone(), stored.map(|stored| stored.text).unwrap_or_default());
            let reconciled = blocking(target, move |folder| {
                reconcile::sub_agent(folder, &session, &subpath, &text)
            });
            fetched.add(&below, reconciled.await?);
        }
        Ok(())
    }

    /// Lists what is below a conversation in the store.
    async fn stored_subpaths(&self, key: &Key) -> Result<Vec<String>, StoreError> {
        let (mut open, mut found) = (vec![String::new()], Vec::new());
        while let Some(above) = open.pop() {
            let directory = match above.as_str() {
                "" => key.directory(),
                above => format!("{}/{above}", key.directory()),
            };
            for name in self.backend.list(&directory).await?.directories {
                let subpath = if above.is_empty() { name } else { format!("{above}/{name}") };
                if found.len() == MAX_SUBAGENTS || !is_safe_subpath(&subpath) {
                    tracing::warn!("{directory}: sub-agents are left out of the conversation");
                    continue;
                }
                found.push(subpath.clone());
                open.push(subpath);
            }
        }
        Ok(found)
    }
}

impl Fetched {
    /// Adds what has come of one transcript.
    fn add(&mut self, key: &Key, reconciled: Reconciled) {
        self.told.extend(reconciled.told);
        self.missing.extend(reconciled.missing.map(|missing| (key.clone(), missing)));
    }
}

/// Works in the folder of the CLI.
async fn blocking<T: Send + 'static>(
    target: &Target,
    work: impl FnOnce(&Folder) -> std::io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let Target { state, project } = target.clone();
    let path = state.join("projects").join(&project);
    let done = spawn_blocking(move || work(&Folder::open(&state, &project)?)).await;
    let done = done.map_err(|_| StoreError::ShuttingDown)?;
    done.map_err(|source| StoreError::Directory { path, source })
}
