//! The log, to stderr.
//!
//! The server has one thread. A log that nobody reads must not stop it, so a
//! line is written only when stderr takes it at once.

use std::io::{self, IsTerminal as _, Write};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::settings::{LogFormat, Settings, SettingsError};

/// What a pipe that reports room takes without blocking: `PIPE_BUF`.
const LINE_BYTES: usize = 4096;

/// Starts logging as set.
///
/// # Errors
///
/// When the filter cannot be read.
pub fn start(settings: &Settings) -> Result<(), SettingsError> {
    let filter: Targets = settings.log.parse().map_err(|error| SettingsError::Value {
        name: "--log (RELAY_LOG)".into(),
        reason: format!(
            "expected a level such as info, or target=level pairs, got {:?}: {error}",
            settings.log
        ),
    })?;
    let layer = fmt::layer().with_writer(|| Stderr).log_internal_errors(false);
    let layer = match settings.log_format {
        LogFormat::Text => layer.with_target(false).with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    Ok(())
}

/// Writes what can be written now and drops the rest.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut ready, Some(&now)).is_ok_and(|ready| ready > 0) {
            // A log that has gone away is no reason to stop.
            let _ = stderr.lock().write(&line[..line.len().min(LINE_BYTES)]);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
