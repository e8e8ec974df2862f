//! Input from the relay that a player has taken and not used yet.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;

use super::lines::{InputLine, Protocol, is_interrupt};
use crate::process::{Input, ProcessChannels};

/// Maximum number of messages, requests and answers that wait, each.
pub(super) const MAX_WAITING: usize = 1024;

/// A message that begins a turn.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) uuid: Option<String>,
    /// The id of Codex's request that it is.
    pub(super) request: Option<String>,
    line: Bytes,
}

#[derive(Debug)]
pub(super) struct Inputs {
    protocol: Protocol,
    messages: VecDeque<Message>,
    /// Control requests: id and subtype.
    pub(super) requests: VecDeque<(String, String)>,
    /// Ids of the agent's requests that were answered.
    pub(super) answered: HashSet<String>,
    /// The turn was interrupted.
    pub(super) is_interrupted: bool,
    /// Ids of messages that belong to a turn that is over.
    pub(super) ignored: HashSet<String>,
}

impl Inputs {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            messages: VecDeque::new(),
            requests: VecDeque::new(),
            answered: HashSet::new(),
            is_interrupted: false,
            ignored: HashSet::new(),
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < MAX_WAITING
    }

    pub(super) fn on_input(&mut self, input: Input) {
        let (Input::Message(bytes) | Input::Control(bytes)) = input;
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match InputLine::parse(self.protocol, line) {
                InputLine::User { uuid, request } => {
                    let line = bytes.slice_ref(line);
                    self.messages.push_back(Message { uuid, request, line });
                }
                InputLine::Request { id, subtype } => {
                    self.is_interrupted |= is_interrupt(&subtype);
                    if self.requests.len() < MAX_WAITING {
                        self.requests.push_back((id, subtype));
                    }
                }
                InputLine::Answer { id, .. } if self.answered.len() < MAX_WAITING => {
                    self.answered.insert(id);
                }
                InputLine::Answer { .. } | InputLine::Other => {}
            }
        }
    }

    /// Takes the next message.
    pub(super) fn take_message(&mut self) -> Option<Message> {
        loop {
            let message = self.messages.pop_front()?;
            if !message.uuid.as_ref().is_some_and(|uuid| self.ignored.remove(uuid)) {
                return Some(message);
            }
        }
    }

    pub(super) fn has_request(&self, subtype: &str) -> bool {
        self.requests.iter().any(|(_, waiting)| waiting == subtype)
    }

    /// Takes the oldest request of this subtype. Returns its id.
    pub(super) fn take_request(&mut self, subtype: &str) -> Option<String> {
        let at = self.requests.iter().position(|(_, waiting)| waiting == subtype)?;
        self.requests.remove(at).map(|(id, _)| id)
    }

    /// Returns the messages that were not used. Those of Codex its dialect has.
    pub(super) fn into_unread(mut self, channels: &mut ProcessChannels) -> Vec<Bytes> {
        while let Ok(input) = channels.stdin.try_recv() {
            self.on_input(input);
        }
        let with_newline = |line: Bytes| Bytes::from([&line[..], b"\n"].concat());
        if self.protocol == Protocol::Codex {
            return Vec::new();
        }
        self.messages.into_iter().map(|message| with_newline(message.line)).collect()
    }
}
