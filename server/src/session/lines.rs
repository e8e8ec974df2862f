//! Lines of the agent.

use std::time::Instant;

use claude_relay_protocol::text::counted;
use claude_relay_protocol::{ServerMessage, envelope};

use super::Session;
use crate::agent::AgentLine;
use crate::agent::protocol::Route;
use crate::process::large::{NotSeen, Seen};
use crate::process::lines::{Block, Line};
use crate::recording::Kind;

impl Session {
    /// Handles lines of the agent. What follows a large one waits for it.
    pub(super) fn on_block(&mut self, block: Block, now: Instant) {
        self.agent.touch(now);
        if block.begins_large()
            && let Some(running) = &mut self.agent.running
        {
            let read = running.dialect.reader();
            running.large.start(block, move |line| read(line).into_owned());
            return;
        }
        self.on_lines(block, 0, now);
    }

    /// Handles a block whose first line has been read.
    pub(super) fn on_read(
        &mut self,
        read: Result<Seen<AgentLine<'static>>, NotSeen>,
        now: Instant,
    ) {
        let (block, first) = match read {
            Ok(read) => read,
            Err(error) => {
                return self.error(&format!("A line of the agent was left out: {error}"));
            }
        };
        let handled = match (first, block.lines().next()) {
            (Some(read), Some(Line::Whole(line))) => {
                self.replay.evict(self.keeps_from());
                let Some(running) = &mut self.agent.running else { return };
                let route = running.dialect.route(read, now);
                self.on_route(line, route, now).then_some(1)
            }
            _ => Some(0),
        };
        match handled {
            Some(handled) => self.on_lines(block, handled, now),
            None => self.store.hold(block, 0, now),
        }
    }

    /// Handles lines of the agent: the hot path. Each line is scanned once and
    /// copied into its envelope in the replay buffer. The first `handled` lines
    /// have been handled before; the store may hold back the others.
    pub(super) fn on_lines(&mut self, block: Block, handled: usize, now: Instant) {
        let keep_from = self.keeps_from();
        let mut held = None;
        let mut lines = block.lines();
        for _ in 0..handled {
            lines.next();
        }
        for (at, line) in (handled..).zip(lines) {
            // Evicted per line, so that old frames make room for new ones.
            self.replay.evict(keep_from);
            let Some(running) = &mut self.agent.running else { return };
            match line {
                Line::Whole(line) => {
                    let route = running.dialect.classify(line, now);
                    if !self.on_route(line, route, now) {
                        held = Some(at);
                        break;
                    }
                }
                Line::TooLong(bytes) => self.error(&format!(
                    "The agent wrote a line of {bytes} bytes, which is over the limit of {}; it was left out",
                    crate::process::lines::LINE_LIMIT
                )),
            }
        }
        if let Some(at) = held {
            self.store.hold(block, at, now);
        }
    }

    /// Handles a line. Returns false for one that has to wait for the store.
    #[inline]
    fn on_route(&mut self, line: &[u8], route: Route<'_>, now: Instant) -> bool {
        match route {
            Route::Forward(event) => {
                if self.store.holds_back(&event) {
                    return false;
                }
                self.record(Kind::AgentLine(Some(self.replay.next())), line);
                self.replay.push([
                    envelope::SDK_MESSAGE_PREFIX,
                    line,
                    envelope::SDK_MESSAGE_SUFFIX,
                ]);
                self.agent.on_turn_event(event);
            }
            Route::Hidden(event) => {
                self.record(Kind::AgentLine(None), line);
                self.agent.on_turn_event(event);
            }
            Route::Mirror { file, entries } => return self.store.take(&file, &entries),
            other => self.on_other_line(line, other, now),
        }
        true
    }

    /// Handles lines that are not forwarded unchanged.
    fn on_other_line(&mut self, line: &[u8], route: Route<'_>, now: Instant) {
        match route {
            Route::NotJson => self.record_text(Kind::AgentText, line),
            _ => self.record(Kind::AgentLine(None), line),
        }
        match route {
            Route::Forward(_) | Route::Hidden(_) | Route::Mirror { .. } => {}
            Route::Ready { offers } => self.on_ready(offers),
            Route::Answer { id, response } => {
                if !self.on_late_answer(&id, &response, now) {
                    self.on_answer(&id, &response, now);
                }
            }
            Route::Permission(asked) => {
                let time_limit = self.runtime.settings.permission_timeout;
                match self.permissions.ask(asked, self.replay.next(), now, time_limit) {
                    Ok(frame) => self.push(&frame),
                    Err(line) => self.answer_agent(line, now),
                }
            }
            Route::Request(asked) => self.on_agent_request(&asked, now),
            Route::Withdrawn { id } => {
                if let Some(frame) = self.permissions.withdraw(&id) {
                    self.push(&frame);
                }
                self.withdraw_agent_request(&id);
            }
            Route::Refuse(line) => self.answer_agent(line, now),
            Route::NotJson => self.forward_other_line(&String::from_utf8_lossy(line), now),
        }
    }

    /// Forwards a line of stdout that is not a JSON object.
    fn forward_other_line(&mut self, text: &str, now: Instant) {
        if self.other_lines.admit(text.len(), now) {
            self.report_dropped_lines();
            self.push(&ServerMessage::info(text).to_json());
        }
    }

    pub(super) fn report_dropped_lines(&mut self) {
        let dropped = self.other_lines.take_dropped();
        if dropped > 0 {
            let (is, were) = if dropped == 1 { ("is", "was") } else { ("are", "were") };
            let lines = counted(dropped, "line");
            self.info(&format!(
                "[{lines} of the agent's output that {is} no JSON {were} left out]"
            ));
        }
    }
}
