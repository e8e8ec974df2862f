//! Reading of a recording, entry by entry, within bounds.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use claude_relay_protocol::json::fields;
use serde_json::value::RawValue;

use super::writer::HEADER;
use crate::process::lines::LINE_LIMIT;

/// Maximum length of a line of a recording: one of the agent's and what stands
/// around it.
const ENTRY_LIMIT: u64 = LINE_LIMIT as u64 + (1 << 20);

/// Part of a recording that concerns the agent.
#[derive(Debug)]
pub struct Entry {
    /// Time since the beginning of the recording.
    pub at: Duration,
    /// The event.
    pub event: Event,
}

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The agent wrote a line to stdout.
    Line(Bytes),
    /// The agent wrote a line to stderr.
    Stderr(String),
    /// A line was written to the agent.
    Input(Bytes),
    /// Claude Code was started, or another agent.
    Start {
        /// True for Claude Code.
        is_claude: bool,
    },
    /// The agent has ended by itself, with this code, or by this signal.
    Exit {
        /// Its exit code.
        code: Option<i32>,
        /// The number of the signal.
        signal: Option<i32>,
    },
    /// The agent was stopped by the relay.
    Stopped,
}

/// A recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("--replay (RELAY_REPLAY): {path:?} cannot be read: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "--replay (RELAY_REPLAY): {path:?} is no recording of a version that is known here; --record makes one"
    )]
    NoRecording {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a recording.
#[derive(Debug)]
pub struct Reader {
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Reader {
    /// Opens a recording.
    ///
    /// # Errors
    ///
    /// Returns an error if it is no regular file, or does not begin like a
    /// recording.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let no_recording = || ReadError::NoRecording { path: path.to_owned() };
        let failed = |source| ReadError::Open { path: path.to_owned(), source };
        // Without waiting, since a FIFO has no end and perhaps no beginning.
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(nonblocking).open(path);
        let file = file.map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(no_recording());
        }
        let mut reader = Self { file: BufReader::new(file), line: Vec::new() };
        match reader.read_line() {
            Ok(true) if reader.line.starts_with(HEADER.as_bytes()) => Ok(reader),
            Ok(_) => Err(no_recording()),
            Err(source) => Err(failed(source)),
        }
    }

    /// Returns the next entry that concerns the agent, `None` at the end. Lines
    /// that are no entries are passed over.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read on, or has a line over the
    /// limit.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        while self.read_line()? {
            if let Some(entry) = std::str::from_utf8(&self.line).ok().and_then(parse) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let read = self.file.by_ref().take(ENTRY_LIMIT).read_until(b'\n', &mut self.line)?;
        if read as u64 == ENTRY_LIMIT && self.line.last() != Some(&b'\n') {
            let reason = format!("it has a line of over {ENTRY_LIMIT} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(read > 0)
    }
}

fn parse(line: &str) -> Option<Entry> {
    let names = ["t", "dir", "line", "text", "stderr", "start", "exit"];
    let [at, direction, content, text, stderr, start, exit] = fields(line, names).ok()?;
    let direction: String = string(direction?)?;
    let event = match (direction.as_str(), content, text, stderr, start, exit) {
        ("agent", Some(line), ..) => Event::Line(bytes(line)),
        ("agent", _, Some(text), ..) => Event::Line(string(text)?.replace('\n', " ").into()),
        ("agent", _, _, Some(stderr), ..) => Event::Stderr(string(stderr)?.replace('\n', " ")),
        ("agent", _, _, _, Some(start), _) => {
            let [provider] = fields(start.get(), ["provider"]).ok()?;
            Event::Start { is_claude: provider.is_none_or(|name| name.get() == "\"claude\"") }
        }
        ("agent", _, _, _, _, Some(exit)) => {
            let [code, signal, stopped] = fields(exit.get(), ["code", "signal", "stopped"]).ok()?;
            if stopped.is_some_and(|stopped| stopped.get() == "true") {
                Event::Stopped
            } else {
                let number = |raw: Option<&RawValue>| raw.and_then(|raw| raw.get().parse().ok());
                Event::Exit { code: number(code), signal: number(signal) }
            }
        }
        ("to_agent", Some(line), ..) => Event::Input(bytes(line)),
        _ => return None,
    };
    let millis: f64 = at?.get().parse().ok()?;
    let at = Duration::try_from_secs_f64(millis / 1000.0).unwrap_or_default();
    Some(Entry { at, event })
}

fn bytes(raw: &RawValue) -> Bytes {
    raw.get().to_owned().into()
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Result<Vec<Event>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut reader = Reader::open(file.path()).map_err(|error| error.to_string())?;
        let mut events = Vec::new();
        while let Some(entry) = reader.next_entry().map_err(|error| error.to_string())? {
            events.push(entry.event);
        }
        Ok(events)
    }

    #[test]
    fn entries_of_the_agent_are_read_and_others_passed_over() {
        let mut text = format!("{HEADER}\"part\":1}}\n");
        for line in [
            r#"{"t":0.1,"dir":"agent","start":{"provider":"claude"}}"#,
            r#"{"t":1,"dir":"to_agent","line":{"type":"user"}}"#,
            r#"{"t":1e300,"dir":"agent","seq":4,"line":{ "a":1.0 }}"#,
            r#"{"t":-5,"dir":"agent","stderr":"x\ny"}"#,
            r#"{"t":2,"dir":"to_client","seq":5,"frame":{}}"#,
            r#"{"t":2,"dir":"agent","exit":{"code":0,"stopped":true}}"#,
            r#"{"t":2,"dir":"agent","exit":{"signal":9}}"#,
            r#"{"t":"x","dir":"agent","line":{}}"#,
            r#"{"dir":"agent","line":{}}"#,
            r#"{"t":2,"dir":7,"line":{}}"#,
            "[]",
            "no",
            "",
            r#"{"t":2,"dir":"agent","line":{}"#,
        ] {
            writeln!(text, "{line}").unwrap();
        }
        let line = |text: &'static str| Bytes::from(text);
        assert_eq!(
            read(text.as_bytes()).unwrap(),
            [
                Event::Start { is_claude: true },
                Event::Input(line(r#"{"type":"user"}"#)),
                Event::Line(line(r#"{ "a":1.0 }"#)),
                Event::Stderr("x y".into()),
                Event::Stopped,
                Event::Exit { code: None, signal: Some(9) },
            ]
        );
    }

    #[test]
    fn another_file_is_refused() {
        assert!(read(b"").unwrap_err().contains("is no recording"));
        assert!(read(b"{\"recording\":2,}").unwrap_err().contains("is no recording"));
        for path in ["/dev/zero", "/proc", "/nowhere"] {
            assert!(Reader::open(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused() {
        let mut text = format!("{HEADER}}}\n").into_bytes();
        text.resize(text.len() + ENTRY_LIMIT as usize + 1, b'[');
        assert!(read(&text).unwrap_err().contains("over"));
    }

    proptest! {
        #[test]
        fn nothing_panics_on_what_a_file_holds(lines in prop::collection::vec(".{0,80}|[\\[\\]{}\",:a-z0-9]{0,80}", 0..8)) {
            let text = format!("{HEADER}}}\n{}", lines.join("\n"));
            let _ = read(text.as_bytes());
        }
    }
}
