//! The bytes of a file, and the entries of a directory.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use claude_relay_listen::Lifetime;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
};
use hyper::{Response, StatusCode};
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, statat};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::spawn_blocking;

use super::confined::{Found, Workspace};
use super::error::FileError;
use super::{AnswerBody, MAX_FILE_BYTES, Streamed, range};

/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// Maximum number of entries that are listed.
const MAX_ENTRIES: usize = 10_000;

/// Opens a file.
pub(super) fn open(workspace: &Workspace, found: &Found) -> Result<(File, u64), FileError> {
    if !found.kind().is_file() {
        return Err(FileError::Special);
    }
    let (file, stat) = workspace.open_found(&found.path, OFlags::RDONLY)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(FileError::Special);
    }
    let length = size(&stat);
    if length > MAX_FILE_BYTES {
        return Err(FileError::TooLarge);
    }
    Ok((file.into(), length))
}

/// Builds the response with the bytes of a file, or with none for `HEAD`.
pub(super) fn response(
    (mut file, length): (File, u64),
    asked: Option<&str>,
    with_body: bool,
    (permit, lifetime): (OwnedSemaphorePermit, Arc<Lifetime>),
) -> Result<Response<AnswerBody>, FileError> {
    let range = range::parse(asked, length)?;
    let part = range.clone().unwrap_or(0..length);
    let left = part.end - part.start;
    file.seek(SeekFrom::Start(part.start))?;
    let body = match with_body {
        true => AnswerBody::Right(streamed(file, left, permit, lifetime)),
        false => super::empty(),
    };
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, left.into());
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A browser shows none of it as a page of this server.
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox; frame-ancestors 'none'"),
    );
    if range.is_some() {
        let range = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        headers.insert(CONTENT_RANGE, HeaderValue::try_from(range).map_err(io::Error::other)?);
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(answer)
}

/// Reads a file as its client takes it. A file that has become shorter breaks
/// the connection: a response that is cut must not look whole.
fn streamed(
    file: File,
    left: u64,
    permit: OwnedSemaphorePermit,
    lifetime: Arc<Lifetime>,
) -> Streamed {
    let chunks = stream::try_unfold((file, left, permit), move |(file, left, permit)| {
        lifetime.on_progress();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let (file, chunk) = spawn_blocking(move || chunk(file, left)).await??;
            let left = left - chunk.len() as u64;
            Ok(Some((Frame::data(chunk), (file, left, permit))))
        }
    });
    StreamBody::new(chunks).boxed_unsync()
}

fn chunk(mut file: File, left: u64) -> io::Result<(File, Bytes)> {
    let wanted = left.min(CHUNK_BYTES as u64);
    let mut bytes = Vec::with_capacity(CHUNK_BYTES.min(wanted as usize));
    let read = file.by_ref().take(wanted).read_to_end(&mut bytes)?;
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((file, bytes.into()))
}

/// The entries of a directory.
#[derive(Debug, Serialize)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    /// True if there are more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    size: u64,
    /// Milliseconds since 1970.
    modified: i64,
}

/// Lists a directory, sorted by name.
pub(super) fn list(workspace: &Workspace, found: &Found) -> Result<Listing, FileError> {
    let directory = workspace.open_directory(&found.path)?;
    let mut entries = Vec::new();
    let mut truncated = false;
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if entries.len() == MAX_ENTRIES {
            truncated = true;
            break;
        }
        // One that has gone meanwhile is not listed.
        let Ok(stat) = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        // Its type is not the same everywhere.
        let milliseconds: i64 = (stat.st_mtime_nsec / 1_000_000).try_into().unwrap_or_default();
        entries.push(Entry {
            name: name.to_string_lossy().into_owned(),
            kind: kind_name(FileType::from_raw_mode(stat.st_mode)),
            size: if FileType::from_raw_mode(stat.st_mode).is_file() { size(&stat) } else { 0 },
            modified: stat.st_mtime.saturating_mul(1000).saturating_add(milliseconds),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Listing { entries, truncated })
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        _ => "other",
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or_default()
}
