//! Output of the agent: its lines, its stderr, its end.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use claude_relay_protocol::run as wire;

use super::run::{Phase, Run};
use crate::agent::StartError;
use crate::json::scan;
use crate::process::large::{NotSeen, Seen};
use crate::process::lines::{Block, LINE_LIMIT, Line};
use crate::process::{ExitReason, ProcessEvent, ProcessExit, signals};

/// Time for the last of the agent's stderr after its end. Another process may
/// hold the pipe.
const LAST_STDERR_TIMEOUT: Duration = Duration::from_secs(2);

impl Run {
    /// Handles lines of the agent. What follows a large one waits for it.
    pub(super) fn on_block(&mut self, block: Block) {
        if block.begins_large() {
            self.large.start(block, is_object);
            return;
        }
        self.on_lines(block.lines());
    }

    /// Handles a block whose first line has been judged on another thread.
    pub(super) fn on_judged(&mut self, judged: Result<Seen<bool>, NotSeen>) {
        let (block, is_object) = match judged {
            Ok(judged) => judged,
            Err(error) => return self.info(&format!("a line was left out: {error}")),
        };
        let mut lines = block.lines();
        if let Some(is_object) = is_object
            && let Some(Line::Whole(line)) = lines.next()
        {
            self.on_line(line, is_object);
        }
        self.on_lines(lines);
    }

    /// Handles lines of the agent. A line is looked at once, to prove that it
    /// can stand in a frame.
    fn on_lines<'a>(&mut self, lines: impl Iterator<Item = Line<'a>>) {
        for line in lines {
            match line {
                Line::Whole(line) => self.on_line(line, is_object(line)),
                Line::TooLong(bytes) => self.info(&format!(
                    "a line of {bytes} bytes was left out, which is over the limit of {LINE_LIMIT}"
                )),
            }
        }
    }

    #[inline]
    fn on_line(&mut self, line: &[u8], is_object: bool) {
        if (self.abandoned || self.stopping) && !self.has_room() {
            return;
        }
        if is_object {
            self.push_line(line);
        } else {
            self.info(&String::from_utf8_lossy(line));
        }
    }

    pub(super) fn on_process_event(&mut self, event: ProcessEvent) {
        match event {
            ProcessEvent::Stderr(line) => {
                let line = self.redactor.redact_piece(line);
                self.info(&line);
            }
            ProcessEvent::Started(pid) => tracing::info!(pid, "the agent of a run runs"),
            ProcessEvent::StderrDropped(_)
            | ProcessEvent::StdoutClosed
            | ProcessEvent::StdinClosed
            | ProcessEvent::Escalated(_) => {}
        }
    }

    /// Handles the end of the agent: what is left of its stderr comes first.
    pub(super) fn on_exited(&mut self, exit: ProcessExit, now: Instant) {
        let ended = std::mem::replace(&mut self.phase, Phase::Ended);
        if let Phase::Running { process, .. } = ended {
            let until = now + LAST_STDERR_TIMEOUT;
            self.phase = Phase::Ending { process, reason: exit.reason, until };
        }
        self.input.clear();
    }

    /// Tells the end of the agent.
    pub(super) fn end(&mut self) {
        let ended = std::mem::replace(&mut self.phase, Phase::Ended);
        let Phase::Ending { reason, .. } = ended else { return };
        match reason {
            ExitReason::Exited(code) => self.push_exit(Some(code), None),
            ExitReason::Signalled(signal) => self.push_exit(None, Some(&signals::name(signal))),
            ExitReason::NotStarted(reason) => {
                let settings = &self.runtime.settings;
                let error = StartError::of_program(settings, &Default::default(), &reason);
                self.info(&error.to_string());
                self.push_exit(Some(1), None);
            }
            ExitReason::Unreachable(_) | ExitReason::Lost => {
                self.info("the supervisor of the agent was killed, and the agent with it");
                self.push_exit(None, Some("SIGKILL"));
            }
        }
    }

    /// Appends a line, which must be a JSON object in UTF-8.
    pub(super) fn push_line(&mut self, line: &[u8]) {
        if self.is_raw {
            // The SDK's build for browsers splits what comes at newlines.
            return self.replay.push([line, b"\n", b""]);
        }
        let prefix = wire::line_prefix(self.replay.next());
        self.replay.push([prefix.as_bytes(), line, b"}"]);
    }

    pub(super) fn info(&mut self, text: &str) {
        if !self.is_raw {
            let frame = wire::info(self.replay.next(), text);
            self.replay.push([frame.as_bytes(), b"", b""]);
        }
    }

    /// Appends the last frame.
    pub(super) fn push_exit(&mut self, code: Option<i32>, signal: Option<&str>) {
        let (code, signal) = match self.forced_exit {
            Some(forced) => (forced.code, forced.signal),
            None => (code, signal),
        };
        tracing::info!(code, signal, "the agent of a run has ended");
        if !self.is_raw {
            let frame = wire::exit(self.replay.next(), code, signal);
            self.replay.push([frame.as_bytes(), b"", b""]);
        }
        self.phase = Phase::Ended;
        self.failed = code != Some(0);
        self.input.clear();
        self.status.ended.store(true, Ordering::Relaxed);
    }
}

fn is_object(line: &[u8]) -> bool {
    scan::fields(line, &[]).is_some()
}
