//! Input of the agent: numbered by the client, taken once, handed over in order.

use std::collections::VecDeque;

use bytes::Bytes;
use claude_relay_protocol::run::RunSignal;
use tokio::sync::mpsc;

use super::request::{Input, LineKind};
use super::run::{Phase, Run};
use crate::agent::{Ceiling, Judgement};
use crate::process::{self, Process, Signal};
use claude_relay_listen::ws::{Close, MESSAGE_LIMIT};

/// The most bytes that wait for the agent: a client sends no more than its
/// credit ahead, or one long line.
const QUEUE_BYTES: usize = MESSAGE_LIMIT + claude_relay_protocol::run::CREDIT_BYTES;

/// Memory that an item takes beyond its bytes.
const ITEM_BYTES: usize = 128;

/// What waits for the agent.
#[derive(Debug, Default)]
pub(super) struct InputQueue {
    /// The number of the last message that was taken.
    pub(super) received: u64,
    items: VecDeque<(u64, Item)>,
    bytes: usize,
}

#[derive(Debug)]
enum Item {
    Line(Bytes),
    End,
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.len() + ITEM_BYTES,
            Self::End => ITEM_BYTES,
        }
    }
}

impl InputQueue {
    pub(super) fn has_line(&self) -> bool {
        matches!(self.items.front(), Some((_, Item::Line(_))))
    }

    /// The number up to which all has been handed over.
    pub(super) fn done(&self) -> u64 {
        self.items.front().map_or(self.received, |(seq, _)| seq - 1)
    }

    fn push(&mut self, seq: u64, item: Item) {
        self.bytes += item.bytes();
        self.items.push_back((seq, item));
    }

    fn pop_line(&mut self) -> Option<Bytes> {
        match self.items.pop_front() {
            Some((_, Item::Line(line))) => {
                self.bytes -= line.len() + ITEM_BYTES;
                Some(line)
            }
            Some(end) => {
                self.items.push_front(end);
                None
            }
            None => None,
        }
    }

    /// Takes the end, if it is next.
    fn pop_end(&mut self) -> bool {
        let ends = matches!(self.items.front(), Some((_, Item::End)));
        if ends {
            self.items.pop_front();
            self.bytes -= ITEM_BYTES;
        }
        ends
    }

    /// Drops what no agent will read any more.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
    }
}

impl Run {
    /// Takes a numbered message, unless it has been taken.
    pub(super) fn on_input(&mut self, seq: u64, input: Input) {
        if seq <= self.input.received {
            return;
        }
        if seq > self.input.received + 1 {
            let expected = self.input.received + 1;
            return self
                .violated(&format!("the number {seq} leaves a hole: {expected} was expected"));
        }
        match input {
            Input::Line(line, kind) => self.take_line(seq, line, kind),
            Input::End => {
                self.input.received = seq;
                if !self.has_ended() {
                    self.input.push(seq, Item::End);
                    self.close_input();
                    self.check_bounds();
                }
            }
            Input::Signal(signal) => {
                self.input.received = seq;
                self.on_signal(signal);
            }
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. } | Phase::Ended)
    }

    /// Takes a line, if the ceiling lets it pass. One that would be answered here
    /// is not taken while there is no room for the answer.
    pub(super) fn take_line(&mut self, seq: u64, line: Bytes, kind: LineKind) {
        if self.has_ended() {
            self.input.received = seq;
            return;
        }
        let judgement = match (&self.phase, std::str::from_utf8(&line)) {
            _ if kind == LineKind::Plain => Judgement::Pass,
            (_, Err(_)) => Judgement::LeaveOut("a line that is not UTF-8".to_owned()),
            (Phase::Running { cwd, .. }, Ok(text)) => self.judge(cwd, text),
            (_, Ok(text)) => self.judge(&self.runtime.settings.workspace, text),
        };
        let is_answered = matches!(judgement, Judgement::Answer(_) | Judgement::LeaveOut(_));
        if is_answered && !self.has_room() {
            return self.violated("answers that have come are not acknowledged");
        }
        self.input.received = seq;
        match judgement {
            Judgement::Pass => self.input.push(seq, Item::Line(line)),
            Judgement::Replace(other) => {
                self.input.push(seq, Item::Line(format!("{other}\n").into()));
            }
            Judgement::Answer(answer) => self.push_line(answer.as_bytes()),
            Judgement::LeaveOut(reason) => self.info(&reason),
            Judgement::End(reason) => return self.refuse(&reason),
        }
        self.check_bounds();
    }

    fn check_bounds(&mut self) {
        if self.input.bytes > QUEUE_BYTES {
            self.violated("more was sent than the acknowledgements allow");
        }
    }

    fn judge(&self, cwd: &std::path::Path, line: &str) -> Judgement {
        let settings = &self.runtime.settings;
        let ceiling = Ceiling {
            mode: settings.mode,
            trusted: settings.workspace_is_trusted(),
            workspace: &settings.workspace,
            cwd,
            own: &self.own,
        };
        ceiling.judge(line.trim_end())
    }

    fn on_signal(&mut self, signal: RunSignal) {
        let grace = self.runtime.settings.stop_grace;
        match &mut self.phase {
            Phase::Running { process, .. } => match signal {
                RunSignal::Term => process.terminate(grace),
                RunSignal::Int => process.signal(Signal::Interrupt),
                RunSignal::Hup => process.signal(Signal::Hangup),
            },
            // Nothing has been started that could be ended.
            Phase::Waiting | Phase::Preparing(_) => {
                self.push_exit(None, Some(signal.as_str()));
            }
            Phase::Ending { .. } | Phase::Ended => {}
        }
    }

    /// Hands one line over.
    pub(super) fn write(&mut self, permit: mpsc::OwnedPermit<process::Input>) {
        if let Some(line) = self.input.pop_line() {
            permit.send(process::Input::Control(line));
        }
        self.close_input();
    }

    /// Closes the agent's stdin, if its end is next.
    pub(super) fn close_input(&mut self) {
        if let Phase::Running { process: Process { stdin, .. }, .. } = &mut self.phase
            && self.input.pop_end()
        {
            *stdin = None;
        }
    }

    /// Ends a connection that does not keep to the protocol.
    pub(super) fn violated(&mut self, reason: &str) {
        self.say_error(reason);
        self.close(Close::PROTOCOL_ERROR);
    }
}
