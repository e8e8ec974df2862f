//! Queue of input for the agent: messages, interrupts and control lines, in
//! order.

use std::collections::VecDeque;

use bytes::Bytes;
use claude_relay_protocol::client_message;

use super::undelivered::HandedBack;
use crate::agent::protocol::Accepts;

/// Maximum size of the waiting messages: two of the largest.
pub(super) const INBOX_BYTES: usize = 128 << 20;

/// Maximum number of entries, which bounds empty messages too.
pub(super) const INBOX_ENTRIES: usize = 100_000;

/// Maximum size of the control requests of clients that wait for the agent: one
/// of the largest messages.
pub(super) const REQUEST_BYTES: usize = 64 << 20;

/// Maximum size of the answers to requests of the agent that wait for it. An
/// agent that makes requests reads their answers.
pub(super) const ANSWER_BYTES: usize = 8 << 20;

/// Memory that an entry takes beyond its bytes.
const ENTRY_BYTES: usize = 64;

/// Bounded queue.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// Number of entries other than messages.
    others: usize,
    request_bytes: usize,
    answer_bytes: usize,
}

/// An entry of the queue.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A line of the client.
    Message {
        line: Bytes,
        /// The id by which the agent refers to it.
        uuid: Option<String>,
        /// It has been handed over before, to an agent that did not read it.
        again: bool,
    },
    /// An interrupt of the running turn.
    Interrupt,
    /// A request of the relay as a line.
    Control(Bytes),
    /// A control request of a client as a line.
    Request(Bytes),
    /// A response to a request of the agent as a line.
    Answer(Bytes),
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Self::Message { line, .. }
            | Self::Control(line)
            | Self::Request(line)
            | Self::Answer(line) => line.len(),
            Self::Interrupt => 0,
        }
    }
}

impl Waiting {
    fn is_message(&self) -> bool {
        matches!(self, Self::Message { .. })
    }

    fn fits(&self, accepts: Accepts) -> bool {
        match accepts {
            Accepts::Anything => true,
            Accepts::NoMessage => !self.is_message(),
            Accepts::Requests => {
                matches!(self, Self::Control(_) | Self::Request(_) | Self::Answer(_))
            }
        }
    }
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns the number of waiting messages.
    pub(super) fn messages(&self) -> usize {
        self.queue.len() - self.others
    }

    /// Returns the ids of the waiting messages.
    pub(super) fn uuids(&self) -> impl Iterator<Item = &str> {
        self.queue.iter().filter_map(|waiting| match waiting {
            Waiting::Message { uuid, .. } => uuid.as_deref(),
            _ => None,
        })
    }

    /// Adds a message, or fails if there is no room for it.
    pub(super) fn push_message(&mut self, line: Bytes, uuid: Option<String>) -> Result<(), Full> {
        if self.bytes + line.len() > INBOX_BYTES || self.queue.len() >= INBOX_ENTRIES {
            return Err(Full);
        }
        self.push(Waiting::Message { line, uuid, again: false });
        Ok(())
    }

    /// Returns true if there is room for a control request of this size.
    pub(super) fn has_room_for_request(&self, bytes: usize) -> bool {
        self.request_bytes == 0 || self.request_bytes + bytes <= REQUEST_BYTES
    }

    /// Adds a control request of a client, for which there is room.
    pub(super) fn push_request(&mut self, line: Bytes) {
        self.push(Waiting::Request(line));
    }

    /// Adds a response to a request of the agent, or fails if it has left too
    /// many unread.
    pub(super) fn push_answer(&mut self, line: Bytes) -> Result<(), Full> {
        if self.answer_bytes > ANSWER_BYTES {
            return Err(Full);
        }
        self.push(Waiting::Answer(line));
        Ok(())
    }

    /// Adds a request of the relay. They are small and few, so they are accepted
    /// even if the queue is full.
    pub(super) fn push_control(&mut self, line: Bytes) {
        self.push(Waiting::Control(line));
    }

    /// Adds an interrupt. Consecutive ones are merged.
    pub(super) fn push_interrupt(&mut self) {
        if !matches!(self.queue.back(), Some(Waiting::Interrupt)) {
            self.push(Waiting::Interrupt);
        }
    }

    /// Puts an interrupt before everything else.
    pub(super) fn push_interrupt_first(&mut self) {
        self.queue.push_front(Waiting::Interrupt);
        self.others += 1;
    }

    /// Returns true if there is room for an answer of this size.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= INBOX_BYTES
    }

    /// Returns true if the queue has an entry that the agent accepts.
    pub(super) fn has(&self, accepts: Accepts) -> bool {
        match accepts {
            Accepts::Anything => !self.is_empty(),
            _ if self.others == 0 => false,
            _ => self.queue.iter().any(|waiting| waiting.fits(accepts)),
        }
    }

    /// Takes the oldest entry that the agent accepts.
    pub(super) fn pop(&mut self, accepts: Accepts) -> Option<Waiting> {
        let at = self.queue.iter().position(|waiting| waiting.fits(accepts))?;
        let waiting = self.queue.remove(at)?;
        self.bytes -= waiting.bytes();
        self.others -= usize::from(!waiting.is_message());
        match &waiting {
            Waiting::Request(line) => self.request_bytes -= line.len() + ENTRY_BYTES,
            Waiting::Answer(line) => self.answer_bytes -= line.len() + ENTRY_BYTES,
            _ => {}
        }
        Some(waiting)
    }

    /// Returns unread messages of an agent that has ended to the front, in
    /// order. They were counted before, so the limit is not checked.
    pub(super) fn put_back(&mut self, unread: Vec<Bytes>) {
        for line in unread.into_iter().rev() {
            self.bytes += line.len();
            let uuid = uuid_of(&line);
            self.queue.push_front(Waiting::Message { line, uuid, again: true });
        }
    }

    /// Returns the number of waiting messages that have no id.
    pub(super) fn unnamed(&self) -> usize {
        let unnamed = |waiting: &&Waiting| matches!(waiting, Waiting::Message { uuid: None, .. });
        self.queue.iter().filter(unnamed).count()
    }

    /// Takes all messages out.
    pub(super) fn take_messages(&mut self) -> HandedBack {
        let (messages, others) =
            std::mem::take(&mut self.queue).into_iter().partition(Waiting::is_message);
        self.queue = others;
        self.bytes = self.queue.iter().map(Waiting::bytes).sum();
        let messages: VecDeque<Waiting> = messages;
        let mut taken = HandedBack::default();
        for waiting in messages {
            if let Waiting::Message { uuid, .. } = waiting {
                taken.add(uuid);
            }
        }
        taken
    }

    /// Removes what was meant for an agent that has ended: control lines, and
    /// interrupts without a message before them. Others are for a message that
    /// the next agent gets.
    pub(super) fn remove_control(&mut self) {
        let mut has_message = false;
        self.queue.retain(|waiting| {
            has_message |= waiting.is_message();
            has_message && matches!(waiting, Waiting::Message { .. } | Waiting::Interrupt)
        });
        self.others = self.queue.iter().filter(|waiting| !waiting.is_message()).count();
        (self.request_bytes, self.answer_bytes) = (0, 0);
        self.bytes = self.queue.iter().map(Waiting::bytes).sum();
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.others += usize::from(!waiting.is_message());
        match &waiting {
            Waiting::Request(line) => self.request_bytes += line.len() + ENTRY_BYTES,
            Waiting::Answer(line) => self.answer_bytes += line.len() + ENTRY_BYTES,
            _ => {}
        }
        self.queue.push_back(waiting);
    }
}

/// Returns the id of a message, from its line.
pub(super) fn uuid_of(line: &[u8]) -> Option<String> {
    std::str::from_utf8(line).ok().and_then(client_message::message_uuid)
}

/// Error for a full queue.
#[derive(Debug)]
pub(super) struct Full;

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(inbox: &mut Inbox) -> Vec<String> {
        std::iter::from_fn(|| inbox.pop(Accepts::Anything))
            .map(|waiting| match waiting {
                Waiting::Message { line, .. } => String::from_utf8(line.to_vec()).unwrap(),
                Waiting::Interrupt => "!".to_owned(),
                Waiting::Control(line) | Waiting::Request(line) | Waiting::Answer(line) => {
                    format!("?{}", String::from_utf8(line.to_vec()).unwrap())
                }
            })
            .collect()
    }

    #[test]
    fn order_is_kept_and_unread_messages_come_first() {
        let mut inbox = Inbox::default();
        inbox.push_message("3".into(), None).unwrap();
        inbox.push_control("i".into());
        inbox.push_message("4".into(), None).unwrap();
        inbox.put_back(vec!["1".into(), "2".into()]);
        assert_eq!(inbox.messages(), 4);
        assert_eq!(drain(&mut inbox), ["1", "2", "3", "?i", "4"]);
        assert_eq!(inbox.bytes, 0);
    }

    #[test]
    fn entries_that_are_not_accepted_stay_in_the_queue() {
        let mut inbox = Inbox::default();
        inbox.push_message("1".into(), None).unwrap();
        assert!(!inbox.has(Accepts::NoMessage) && inbox.pop(Accepts::NoMessage).is_none());
        inbox.push_interrupt();
        assert!(inbox.has(Accepts::NoMessage) && !inbox.has(Accepts::Requests));
        inbox.push_control("a".into());
        inbox.push_message("2".into(), None).unwrap();
        assert!(matches!(inbox.pop(Accepts::Requests), Some(Waiting::Control(_))));
        assert!(matches!(inbox.pop(Accepts::NoMessage), Some(Waiting::Interrupt)));
        assert_eq!(drain(&mut inbox), ["1", "2"]);
    }

    #[test]
    fn requests_of_clients_and_answers_to_the_agent_are_bounded_in_bytes() {
        let mut inbox = Inbox::default();
        let large = Bytes::from(vec![b'x'; REQUEST_BYTES]);
        assert!(inbox.has_room_for_request(large.len()));
        inbox.push_request(large.clone());
        assert!(!inbox.has_room_for_request(1));
        assert!(inbox.pop(Accepts::Requests).is_some());
        assert!(inbox.has_room_for_request(1));
        inbox.push_request("x".into());
        inbox.push_answer(large).unwrap();
        assert!(inbox.push_answer("x".into()).is_err());
        inbox.push_control("x".into());
        inbox.remove_control();
        let mut answers = 0;
        while inbox.push_answer(Bytes::new()).is_ok() {
            answers += 1;
        }
        assert!(answers <= ANSWER_BYTES / ENTRY_BYTES + 1, "{answers}");
        while inbox.pop(Accepts::Anything).is_some() {}
        assert_eq!((inbox.bytes, inbox.request_bytes, inbox.answer_bytes), (0, 0, 0));
    }

    #[test]
    fn an_interrupt_stays_behind_the_message_that_the_next_agent_gets() {
        let mut inbox = Inbox::default();
        inbox.push_interrupt();
        inbox.push_control("a".into());
        inbox.push_message("1".into(), None).unwrap();
        inbox.push_interrupt();
        inbox.push_control("b".into());
        inbox.remove_control();
        assert_eq!((inbox.messages(), inbox.others), (1, 1));
        assert_eq!(drain(&mut inbox), ["1", "!"]);
        inbox.push_interrupt();
        inbox.remove_control();
        assert!(inbox.is_empty() && inbox.others == 0);
    }

    #[test]
    fn messages_are_bounded_and_requests_are_always_accepted() {
        let mut inbox = Inbox::default();
        let large = Bytes::from(vec![b'x'; INBOX_BYTES / 2]);
        inbox.push_message(large.clone(), None).unwrap();
        inbox.push_message(large.clone(), None).unwrap();
        assert!(inbox.push_message("x".into(), None).is_err());
        inbox.push_control("i".into());
        inbox.push_interrupt();
        inbox.push_interrupt();
        assert_eq!(inbox.queue.len(), 4);
        inbox.remove_control();
        assert!(!inbox.has(Accepts::Requests));
        assert_eq!(inbox.messages(), 2);
        let mut inbox = Inbox::default();
        for _ in 0..INBOX_ENTRIES {
            inbox.push_message(Bytes::new(), None).unwrap();
        }
        assert!(inbox.push_message(Bytes::new(), None).is_err());
    }
}
