//! The workspace of a server: its files, and the conversations that were held
//! in it. It needs no connection and takes no client slot.

use std::collections::VecDeque;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue, IF_NONE_MATCH};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::builder::ClientBuilder;
use super::client::Client;
use crate::error::{FileError, RequestError};
use crate::net::http::{Answer, Http};
use crate::net::transfer::AnswerStream;
use crate::types::conversation::{Conversation, Position, RawConversations};
use crate::types::file::{FileChange, FileEntry, RawListing};
use crate::types::raw_json::RawJson;

/// The largest file that the server gives or takes.
const MAX_FILE_BYTES: usize = 64 << 20;

/// The largest list, and the largest conversation, that is read.
const MAX_LIST_BYTES: usize = 16 << 20;
const MAX_CONVERSATION_BYTES: usize = 512 << 20;

/// The most conversations that the server lists at once.
const MAX_CONVERSATIONS: usize = 200;

/// Characters of a name that stand for themselves in a URL.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The workspace of a server. Cheap to clone.
///
/// Paths are relative to it, with slashes; the empty path is the workspace
/// itself.
#[derive(Clone)]
pub struct Workspace {
    http: Http,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Headers can hold tokens.
        f.debug_struct("Workspace").finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// The server's workspace, without connecting.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Client::builder().connection_url("http://localhost:3000");
    /// println!("{:?}", builder.workspace()?.list("").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// About the settings.
    pub fn workspace(&self) -> Result<Workspace, RequestError> {
        Ok(Workspace { http: self.http()? })
    }
}

impl Client {
    /// The server's workspace.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.workspace().write("report.csv", "a,b\n1,2\n").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn workspace(&self) -> Workspace {
        Workspace { http: self.inner.http.clone() }
    }
}

impl Workspace {
    /// Reads a whole file of at most 64 MiB.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let bytes = client.workspace().read("notes/today.md").await?;
    /// println!("{} bytes", bytes.len());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`FileError`].
    pub async fn read(&self, path: &str) -> Result<Bytes, FileError> {
        let answer = self.request(Method::GET, path, &[], Bytes::new(), MAX_FILE_BYTES).await?;
        Ok(answer.body)
    }

    /// Writes a file of at most 64 MiB in one step, making the directories above
    /// it and replacing what was there.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.workspace().write("notes/today.md", "# Today\n").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`FileError`].
    pub async fn write(&self, path: &str, content: impl Into<Bytes>) -> Result<(), FileError> {
        self.request(Method::PUT, path, &[], content.into(), MAX_LIST_BYTES).await?;
        Ok(())
    }

    /// Writes a file as [`write`](Self::write) does, if there is none by this
    /// path.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.workspace().create("notes/today.md", "# Today\n").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`FileError::Exists`], or another [`FileError`].
    pub async fn create(&self, path: &str, content: impl Into<Bytes>) -> Result<(), FileError> {
        let only_new = [(IF_NONE_MATCH, HeaderValue::from_static("*"))];
        self.request(Method::PUT, path, &only_new, content.into(), MAX_LIST_BYTES).await?;
        Ok(())
    }

    /// The entries of a directory, without those below it, by name.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for entry in client.workspace().list("").await? {
    ///     println!("{} {:?}", entry.name, entry.kind);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`FileError`]. A file is no directory, which is a [`FileError::NotFound`].
    pub async fn list(&self, path: &str) -> Result<Vec<FileEntry>, FileError> {
        // The slash makes a directory of it: the bytes of a file are not read.
        let path = format!("{path}/");
        let none = Bytes::new();
        let answer = self.request(Method::GET, &path, &[], none, MAX_LIST_BYTES).await?;
        Ok(self.json::<RawListing>(&answer)?.entries())
    }

    /// Removes a file or an empty directory.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.workspace().remove("notes/today.md").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`FileError`].
    pub async fn remove(&self, path: &str) -> Result<(), FileError> {
        self.request(Method::DELETE, path, &[], Bytes::new(), MAX_LIST_BYTES).await?;
        Ok(())
    }

    /// Tells of every change of a file, or below a directory, from now on. The
    /// watch is set when this returns.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut watch = client.workspace().watch("src").await?;
    /// while let Some(change) = watch.next().await? {
    ///     println!("{:?} {}", change.kind, change.path);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`FileError`].
    pub async fn watch(&self, path: &str) -> Result<FileWatch, FileError> {
        let route = format!("{}?watch=true", route(path));
        let (mut answer, mut events) =
            self.http.open(Method::GET, &route, &[], Bytes::new()).await?;
        if !answer.is_success() {
            answer.body = events.next().await.ok().flatten().unwrap_or_default();
            return Err(self.refusal(path, &answer));
        }
        Ok(FileWatch { events, text: Vec::new(), changes: VecDeque::new() })
    }

    /// The newest conversations of the agent's directory, at most `limit` of
    /// them and at least one. The server is asked for 200 at a time.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for conversation in client.workspace().conversations(20).await? {
    ///     println!("{} {}", conversation.id, conversation.first_words);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// About the connection and the token.
    pub async fn conversations(&self, limit: usize) -> Result<Vec<Conversation>, RequestError> {
        self.listed(None, limit).await
    }

    /// The conversations that are older than one of the list, at most `limit` of
    /// them and at least one, the newest first; none at the end of the list, or if
    /// the server knows the newest alone. One that is gone on with meanwhile moves
    /// to the front.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let workspace = client.workspace();
    /// let mut shown = workspace.conversations(20).await?;
    /// while let Some(oldest) = shown.last() {
    ///     println!("{} are older than {}", shown.len(), oldest.id);
    ///     shown = workspace.conversations_before(oldest, 20).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// About the connection and the token.
    pub async fn conversations_before(
        &self,
        oldest: &Conversation,
        limit: usize,
    ) -> Result<Vec<Conversation>, RequestError> {
        self.listed(Some(oldest.position()), limit).await
    }

    async fn listed(
        &self,
        mut before: Option<Position>,
        limit: usize,
    ) -> Result<Vec<Conversation>, RequestError> {
        let limit = limit.max(1);
        let mut listed: Vec<Conversation> = Vec::new();
        loop {
            let most = (limit - listed.len()).min(MAX_CONVERSATIONS);
            let mut route = format!("/conversations?limit={most}");
            if let Some(before) = &before {
                route.push_str("&before=");
                route.extend(utf8_percent_encode(&before.to_string(), NAME));
            }
            let none = Bytes::new();
            let answer = self.http.transfer(Method::GET, &route, &[], none, MAX_LIST_BYTES).await?;
            if !answer.is_success() {
                return Err(self.http.refusal(&answer));
            }
            let (mut next, more) = self.json::<RawConversations>(&answer)?.conversations();
            // A server of an earlier version begins anew with each request.
            next.retain(|next| before.as_ref().is_none_or(|before| *before < next.position()));
            before = next.last().map(Conversation::position);
            listed.extend(next);
            if !more || before.is_none() || listed.len() >= limit {
                return Ok(listed);
            }
        }
    }

    /// The messages of a conversation, as the Agent SDK's `getSessionMessages`
    /// gives them.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = "a3dd4a41-c5f3-4343-bd0c-8105ab57e0ba";
    /// for message in client.workspace().conversation(id).await? {
    ///     println!("{}", message.get());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`FileError::NotFound`] if there is none by this id.
    pub async fn conversation(&self, id: &str) -> Result<Vec<RawJson>, FileError> {
        let route = format!("/conversations/{}", utf8_percent_encode(id, NAME));
        let (none, limit) = (Bytes::new(), MAX_CONVERSATION_BYTES);
        let answer = self.http.transfer(Method::GET, &route, &[], none, limit).await?;
        if !answer.is_success() {
            return Err(self.refusal(id, &answer));
        }
        #[derive(Deserialize)]
        struct Messages {
            messages: Vec<Box<serde_json::value::RawValue>>,
        }
        let messages = self.json::<Messages>(&answer)?.messages.into_iter();
        let messages = messages.map(|message| RawJson::new(message.get().to_owned()));
        let malformed = |_| self.http.not_a_relay("its answer is not JSON").into();
        messages.collect::<Result<_, _>>().map_err(malformed)
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
        limit: usize,
    ) -> Result<Answer, FileError> {
        let answer = self.http.transfer(method, &route(path), headers, body, limit).await?;
        if answer.is_success() { Ok(answer) } else { Err(self.refusal(path, &answer)) }
    }

    fn refusal(&self, path: &str, answer: &Answer) -> FileError {
        let path = path.trim_end_matches('/').to_owned();
        let message = answer.message();
        match answer.status.as_u16() {
            404 => FileError::NotFound { path, message },
            412 => FileError::Exists { path },
            status @ (400 | 403 | 409 | 413 | 501 | 507) => {
                FileError::Refused { path, status, message }
            }
            _ => self.http.refusal(answer).into(),
        }
    }

    fn json<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, RequestError> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.http.not_a_relay(format!("its answer is not understood: {error}"))
        })
    }
}

/// The route of a path of the workspace.
fn route(path: &str) -> String {
    let names = path.split('/').map(|name| utf8_percent_encode(name, NAME).to_string());
    let names: Vec<_> = names.filter(|name| name != ".").collect();
    format!("/files/{}", names.join("/").trim_start_matches('/'))
}

/// A watched file or directory. Ends when dropped.
pub struct FileWatch {
    events: AnswerStream,
    /// The beginning of an event.
    text: Vec<u8>,
    changes: VecDeque<FileChange>,
}

impl std::fmt::Debug for FileWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWatch").finish_non_exhaustive()
    }
}

impl FileWatch {
    /// The next change; `None` when what is watched is gone. Cancel-safe.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut watch = client.workspace().watch("notes").await?;
    /// println!("{:?}", watch.next().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// About the connection. There is nothing after an error.
    pub async fn next(&mut self) -> Result<Option<FileChange>, RequestError> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Ok(Some(change));
            }
            let Some(part) = self.events.next().await? else { return Ok(None) };
            self.text.extend_from_slice(&part);
            let whole = self.text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            for line in self.text[..whole].split(|byte| *byte == b'\n') {
                let change = line.strip_prefix(b"data: ").map(serde_json::from_slice);
                self.changes.extend(change.and_then(Result::ok));
            }
            self.text.drain(..whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_one_by_one() {
        for (path, expected) in [
            ("", "/files/"),
            ("a/b c", "/files/a/b%20c"),
            ("./a", "/files/a"),
            ("a/", "/files/a/"),
            ("/a", "/files/a"),
            ("ä?#%", "/files/%C3%A4%3F%23%25"),
            ("../x", "/files/../x"),
        ] {
            assert_eq!(route(path), expected);
        }
    }
}
