//! The thread that writes: its files, their rotation, and their bounds.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::mpsc;

use super::{Content, Entry, FILE_BYTES, KEPT_FILES, Message, Shared, mask};
use crate::redact::Redactor;

/// Beginning of every file.
pub(super) const HEADER: &str = "{\"recording\":1,";

/// Time between two reports of what was left out, in the log.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The current file, and the older ones beside it.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    part: u64,
}

impl Files {
    /// Makes the file, after what an earlier server has left there was put
    /// aside.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        if let Ok(found) = fs::symlink_metadata(&path) {
            let is_recording = found.is_file() && (found.len() == 0 || has_header(&path)?);
            if !is_recording {
                let reason = "it exists and is no recording; name another file, or remove it";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
            }
            put_aside(&path)?;
        }
        let (file, bytes) = create(&path, 1)?;
        Ok(Self { path, file, bytes, part: 1 })
    }

    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes.saturating_add(line.len() as u64) > FILE_BYTES {
            self.file.flush()?;
            put_aside(&self.path)?;
            self.part += 1;
            (self.file, self.bytes) = create(&self.path, self.part)?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

fn has_header(path: &Path) -> io::Result<bool> {
    let mut first = String::new();
    let file = File::open(path)?;
    let read = BufReader::new(file.take(HEADER.len() as u64)).read_line(&mut first);
    Ok(read.is_ok() && first == HEADER)
}

/// Renames `FILE` to `FILE.1`, `FILE.1` to `FILE.2`, up to the last that is
/// kept.
fn put_aside(path: &Path) -> io::Result<()> {
    let named = |number: u32| -> OsString {
        if number == 0 {
            return path.into();
        }
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        name
    };
    for number in (0..KEPT_FILES).rev() {
        match fs::rename(named(number), named(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn create(path: &Path, part: u64) -> io::Result<(BufWriter<File>, u64)> {
    // An existing name, a symbolic link among them, is an error.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut file = BufWriter::new(file);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let header = format!(
        "{HEADER}\"server\":\"{}\",\"part\":{part},\"unix_ms\":{}}}\n",
        env!("CARGO_PKG_VERSION"),
        now.as_millis()
    );
    file.write_all(header.as_bytes())?;
    file.flush()?;
    Ok((file, header.len() as u64))
}

/// Writes entries until the recording is to end or the disk fails.
pub(super) fn run(mut files: Files, mut entries: mpsc::Receiver<Message>, shared: &Shared) {
    let mut writer = Writer::default();
    loop {
        let next = match entries.try_recv() {
            Ok(message) => Ok(Some(message)),
            // Nothing waits, so what has been written can be read.
            Err(_) => files.file.flush().map(|()| entries.blocking_recv()),
        };
        let written = match next {
            Ok(Some(Message::Entry(entry))) => writer.write(&mut files, &entry, shared),
            Ok(Some(Message::Finish) | None) => files.file.flush().map(|()| true),
            Err(error) => Err(error),
        };
        match written {
            Ok(false) => {}
            Ok(true) => return,
            Err(error) => {
                shared.has_failed.store(true, Ordering::Relaxed);
                tracing::error!("the recording in {:?} has ended: {error}", files.path);
                return;
            }
        }
    }
}

#[derive(Default)]
struct Writer {
    redactor: Redactor,
    generation: u64,
    /// Number of lost entries that the recording tells of.
    told: u64,
    reported_at: Option<Instant>,
}

impl Writer {
    /// Writes an entry, and before it what was lost. Returns false, since more
    /// may follow.
    fn write(&mut self, files: &mut Files, entry: &Entry, shared: &Shared) -> io::Result<bool> {
        let generation = shared.generation.load(Ordering::Acquire);
        if self.generation != generation {
            self.redactor = shared.redactor.lock().unwrap_or_else(PoisonError::into_inner).clone();
            self.generation = generation;
        }
        let lost = shared.lost.load(Ordering::Relaxed);
        if lost > self.told {
            let line = format!(
                "{{\"t\":{},\"dir\":\"relay\",\"lost\":{}}}\n",
                millis(entry.at),
                lost - self.told
            );
            self.told = lost;
            files.write(line.as_bytes())?;
            self.report(lost);
        }
        let line = self.line(entry);
        shared.queued_bytes.fetch_sub(entry.content.len(), Ordering::Relaxed);
        files.write(&line)?;
        shared.entries.fetch_add(1, Ordering::Relaxed);
        shared.bytes.fetch_add(line.len() as u64, Ordering::Relaxed);
        Ok(false)
    }

    fn line(&self, entry: &Entry) -> Vec<u8> {
        let (direction, key, seq) = entry.kind.parts();
        let content: Cow<'_, str> = match &entry.content {
            Content::Json(json) if std::str::from_utf8(json).is_ok() => {
                mask::mask(std::str::from_utf8(json).unwrap_or_default(), &self.redactor)
            }
            Content::Json(text) | Content::Text(text) => {
                let text = String::from_utf8_lossy(text).into_owned();
                Value::from(self.redactor.redact_piece(text)).to_string().into()
            }
        };
        let mut line = String::with_capacity(content.len() + 64);
        line.push_str("{\"t\":");
        line.push_str(&millis(entry.at));
        line.push_str(",\"dir\":\"");
        line.push_str(direction);
        line.push('"');
        if let Some(seq) = seq {
            line.push_str(",\"seq\":");
            line.push_str(&seq.to_string());
        }
        line.push_str(",\"");
        line.push_str(key);
        line.push_str("\":");
        line.push_str(&content);
        line.push_str("}\n");
        line.into_bytes()
    }

    fn report(&mut self, lost: u64) {
        let now = Instant::now();
        if self.reported_at.is_none_or(|at| now >= at + REPORT_INTERVAL) {
            self.reported_at = Some(now);
            tracing::warn!("the disk is too slow for the recording: {lost} entries were left out");
        }
    }
}

/// Returns milliseconds with three decimals.
fn millis(at: Duration) -> String {
    let micros = at.as_micros();
    format!("{}.{:03}", micros / 1000, micros % 1000)
}
