//! The conversations of a store, listed and read without being resumed.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::spawn_blocking;

use super::Store;
use super::backend::StoreError;
use super::fetch::{READERS, TRANSCRIPT_BYTES};
use super::key::{Key, is_name};
use crate::conversations::{
    Conversation, Conversations, Listing, Position, Transcript, folder_name, is_id, order,
};

/// Most conversations of one directory that are looked at.
const MAX_CONVERSATIONS: usize = 2_000;

/// Bytes and parts of one conversation that are read to list it.
const LISTED_BYTES: usize = 1 << 20;
const LISTED_PARTS: usize = 64;

impl Store {
    /// Lists at most `limit` conversations that began in the directory `cwd`, a
    /// path without links, the newest first: all of them, or those that are older
    /// than the place `before`. Those that the CLI's directory `state` has are left
    /// out, since they have their place by their own file.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn list(
        &self,
        cwd: &Path,
        limit: usize,
        before: Option<&Position>,
        state: Option<&Path>,
    ) -> Result<Listing, StoreError> {
        let project = folder_name(&cwd.to_string_lossy());
        let mut listing = Listing::default();
        if !is_name(&project) {
            return Ok(listing);
        }
        let mut sessions = self.backend.list(&project).await?.directories;
        sessions.retain(|session| is_id(session));
        listing.more = sessions.len() > MAX_CONVERSATIONS;
        // The same ones for each part of the list.
        sessions.sort_unstable();
        sessions.truncate(MAX_CONVERSATIONS);
        let times = stream::iter(sessions)
            .map(|session| async {
                let last = self.last_part(&project, &session).await?;
                let modified = last.map(|last| last.try_into().unwrap_or(i64::MAX));
                Ok::<_, StoreError>(modified.map(|modified| (modified, session)))
            })
            .buffer_unordered(READERS)
            .try_filter_map(|found| async move { Ok(found) });
        let mut found: Vec<(i64, String)> = times.try_collect().await?;
        found.retain(|(modified, id)| {
            before.is_none_or(|before| before.is_followed_by(*modified, id))
        });
        found.sort_by(|(a, a_id), (b, b_id)| order((*a, a_id), (*b, b_id)));
        while !found.is_empty() {
            let rest = found.split_off(found.len().min(limit + 1));
            let next = lacking(std::mem::replace(&mut found, rest), state, cwd).await?;
            let mut summaries = std::pin::pin!(
                stream::iter(next)
                    .map(|(modified, session)| self.summary(&project, session, modified, cwd))
                    .buffered(READERS)
            );
            while let Some(summary) = summaries.try_next().await? {
                let Some(conversation) = summary else { continue };
                if listing.conversations.len() == limit {
                    listing.more = true;
                    return Ok(listing);
                }
                listing.conversations.push(conversation);
            }
        }
        Ok(listing)
    }

    async fn summary(
        &self,
        project: &str,
        session: String,
        modified: i64,
        cwd: &Path,
    ) -> Result<Option<Conversation>, StoreError> {
        let key = Key { project: project.to_owned(), session, subpath: None };
        let Some((_, texts)) = self.texts(&key).await? else { return Ok(None) };
        let mut texts = std::pin::pin!(texts);
        let (mut text, mut parts) = (Vec::new(), 0);
        let mut is_whole = true;
        while let Some(part) = texts.try_next().await? {
            if parts == LISTED_PARTS || text.len() > LISTED_BYTES {
                is_whole = false;
                break;
            }
            text.extend_from_slice(&part);
            parts += 1;
        }
        Ok(Conversation::of_text(&text, is_whole, cwd, &key.session, modified))
    }

    /// Finds the last conversation of a directory, if this machine has no later
    /// one that the store lacks.
    pub(super) async fn latest(
        &self,
        state: &Path,
        cwd: &Path,
    ) -> Result<Option<String>, StoreError> {
        let stored = self.list(cwd, 1, None, None).await?.conversations.pop();
        let (state, cwd) = (state.to_owned(), cwd.to_owned());
        let local = spawn_blocking(move || latest_of(&state, &cwd)).await;
        let local = local.map_err(|_| StoreError::ShuttingDown)?;
        let local = local.map_err(|(path, source)| StoreError::Directory { path, source })?;
        Ok(match (stored, local) {
            (Some(stored), Some(local))
                if local.id != stored.id && local.modified > stored.modified =>
            {
                None
            }
            (stored, _) => stored.map(|stored| stored.id),
        })
    }

    /// Opens a conversation by its id, whatever directory it began in; `None` if
    /// the store has none by this id.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn open_transcript(
        &self,
        session: &str,
        cwd: &Path,
    ) -> Result<Option<Transcript>, StoreError> {
        let own = folder_name(&cwd.to_string_lossy());
        if !is_id(session) || !is_name(&own) {
            return Ok(None);
        }
        let Some(project) = self.find(session, &own).await? else { return Ok(None) };
        let key = Key { project, session: session.to_owned(), subpath: None };
        let Some((_, texts)) = self.texts(&key).await? else { return Ok(None) };
        let mut texts = std::pin::pin!(texts);
        let mut file = blocking(tempfile::tempfile).await?;
        let mut bytes = 0;
        while let Some(part) = texts.try_next().await? {
            bytes += part.len() as u64;
            if bytes > TRANSCRIPT_BYTES {
                return Err(StoreError::TooLarge(key.directory()));
            }
            file = blocking(move || append(file, &part)).await?;
        }
        let id = session.to_owned();
        blocking(move || {
            file.rewind()?;
            Transcript::open(&id, file, None)
        })
        .await
    }
}

/// Leaves out conversations that this machine lists by its own files.
async fn lacking(
    mut found: Vec<(i64, String)>,
    state: Option<&Path>,
    cwd: &Path,
) -> Result<Vec<(i64, String)>, StoreError> {
    let Some(state) = state else { return Ok(found) };
    let (state, cwd) = (state.to_owned(), cwd.to_owned());
    blocking(move || {
        if let Some(kept) = Conversations::open(&state, &cwd)? {
            let listed = kept.listed(found.iter().map(|(_, id)| id))?;
            found.retain(|(_, id)| !listed.contains(id));
        }
        Ok(found)
    })
    .await
}

fn append(mut file: File, part: &Bytes) -> io::Result<File> {
    file.write_all(part)?;
    Ok(file)
}

/// Works with files of this machine.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = spawn_blocking(work).await.map_err(|_| StoreError::ShuttingDown)?;
    done.map_err(|source| StoreError::Copy { source })
}

type Failed = (PathBuf, io::Error);

fn latest_of(state: &Path, cwd: &Path) -> Result<Option<Conversation>, Failed> {
    let failed = |error| (state.to_owned(), error);
    let Some(kept) = Conversations::open(state, cwd).map_err(failed)? else { return Ok(None) };
    Ok(kept.list(1, None).map_err(failed)?.conversations.pop())
}
