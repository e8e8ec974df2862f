//! A trace of the traffic: a file of JSON lines, and stderr with `-vv`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use claude_relay_client::{Direction, RawJson};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::exit::Exit;
use crate::private;

pub(crate) struct Trace {
    file: Option<Mutex<File>>,
    to_stderr: bool,
    /// A line could not be written, which has been told.
    is_incomplete: AtomicBool,
}

/// One line of the file.
#[derive(Serialize)]
struct Line<'a> {
    /// Milliseconds since 1970.
    time: u128,
    direction: &'static str,
    /// The message, or its text if it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

impl Trace {
    /// `None` if nothing is to be traced.
    pub(crate) fn new(path: Option<&Path>, to_stderr: bool) -> Result<Option<Self>, Exit> {
        let open = |path: &Path| {
            let file = private::open(File::options().append(true), path);
            file.map(Mutex::new).map_err(|error| {
                Exit::usage(format!("--ndjson-file: cannot write {}: {error}", path.display()))
            })
        };
        let file = path.map(open).transpose()?;
        Ok((file.is_some() || to_stderr).then_some(Self {
            file,
            to_stderr,
            is_incomplete: AtomicBool::new(false),
        }))
    }

    pub(crate) fn record(&self, direction: Direction, text: &str) {
        if self.to_stderr {
            let arrow = if direction == Direction::Sent { ">" } else { "<" };
            let _ = writeln!(std::io::stderr(), "{arrow} {}", escaped(text));
        }
        let Some(file) = &self.file else { return };
        let raw = RawJson::new(text).ok();
        let line = Line {
            time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis(),
            direction: if direction == Direction::Sent { "sent" } else { "received" },
            data: raw.as_ref().and_then(|raw| raw.parse().ok()),
            text: raw.is_none().then_some(text),
        };
        // JSON may hold line ends between its tokens; a line of this file not.
        let Ok(mut line) = serde_json::to_string(&line) else { return };
        line = line.replace(['\n', '\r'], " ");
        line.push('\n');
        if let Ok(mut file) = file.lock() {
            // One write for each line: nothing is lost when the program is killed.
            let written = file.write_all(line.as_bytes());
            if let Err(error) = written
                && !self.is_incomplete.swap(true, Ordering::Relaxed)
            {
                let _ = writeln!(
                    std::io::stderr(),
                    "claude-relay: --ndjson-file: cannot write: {error}; messages are missing in it"
                );
            }
        }
    }
}

/// The text with its control characters as escapes.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}
