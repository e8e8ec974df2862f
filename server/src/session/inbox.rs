//! What waits for the agent: messages and interrupts in the order they came.

use std::collections::VecDeque;

use bytes::Bytes;
use claude_relay_protocol::client_message;

use crate::agent::protocol::Accepts;

/// How many bytes of messages may wait: two of the largest.
pub(super) const INBOX_BYTES: usize = 128 << 20;

/// How many entries may wait, so that empty messages are bounded too.
pub(super) const INBOX_ENTRIES: usize = 100_000;

/// A bounded queue.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// How many entries are no messages.
    others: usize,
}

/// One thing that waits.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A line of the client, and the name by which the agent tells of it.
    Message { line: Bytes, uuid: Option<String> },
    /// The running turn is to stop.
    Interrupt,
    /// A request of the relay or the client, or an answer, as a line.
    Control(Bytes),
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Self::Message { line, .. } | Self::Control(line) => line.len(),
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
            Accepts::Requests => matches!(self, Self::Control(_)),
        }
    }
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many messages wait.
    pub(super) fn messages(&self) -> usize {
        self.queue.len() - self.others
    }

    /// The names of the messages that wait.
    pub(super) fn uuids(&self) -> impl Iterator<Item = &str> {
        self.queue.iter().filter_map(|waiting| match waiting {
            Waiting::Message { uuid, .. } => uuid.as_deref(),
            _ => None,
        })
    }

    /// Takes a message, or gives it back when there is no room for it.
    pub(super) fn push_message(&mut self, line: Bytes, uuid: Option<String>) -> Result<(), Full> {
        if self.bytes + line.len() > INBOX_BYTES || self.queue.len() >= INBOX_ENTRIES {
            return Err(Full);
        }
        self.push(Waiting::Message { line, uuid });
        Ok(())
    }

    /// Takes a request. Requests are small and few: whoever sends them bounds
    /// how many are under way, so they find a place when messages do not.
    pub(super) fn push_control(&mut self, line: Bytes) {
        self.push(Waiting::Control(line));
    }

    /// Takes an interrupt. Two in a row do what one does.
    pub(super) fn push_interrupt(&mut self) {
        if !matches!(self.queue.back(), Some(Waiting::Interrupt)) {
            self.push(Waiting::Interrupt);
        }
    }

    /// Whether there is something for an agent that takes this.
    pub(super) fn has(&self, accepts: Accepts) -> bool {
        match accepts {
            Accepts::Anything => !self.is_empty(),
            _ if self.others == 0 => false,
            _ => self.queue.iter().any(|waiting| waiting.fits(accepts)),
        }
    }

    /// The oldest entry that the agent takes.
    pub(super) fn pop(&mut self, accepts: Accepts) -> Option<Waiting> {
        let at = self.queue.iter().position(|waiting| waiting.fits(accepts))?;
        let waiting = self.queue.remove(at)?;
        self.bytes -= waiting.bytes();
        self.others -= usize::from(!waiting.is_message());
        Some(waiting)
    }

    /// Puts messages back at the front, in their order: an agent that ended
    /// did not read them. They were here before, so there is no bound to ask.
    pub(super) fn put_back(&mut self, unread: Vec<Bytes>) {
        for line in unread.into_iter().rev() {
            self.bytes += line.len();
            let uuid = uuid_of(&line);
            self.queue.push_front(Waiting::Message { line, uuid });
        }
    }

    /// Forgets the requests: they were meant for an agent that has ended.
    pub(super) fn forget_control(&mut self) {
        self.queue.retain(Waiting::is_message);
        self.others = 0;
        self.bytes = self.queue.iter().map(Waiting::bytes).sum();
    }

    fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.bytes();
        self.others += usize::from(!waiting.is_message());
        self.queue.push_back(waiting);
    }
}

/// The name of a message, read from its line.
pub(super) fn uuid_of(line: &[u8]) -> Option<String> {
    std::str::from_utf8(line).ok().and_then(client_message::message_uuid)
}

/// There is no room.
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
                Waiting::Control(line) => format!("?{}", String::from_utf8(line.to_vec()).unwrap()),
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
    fn what_the_agent_does_not_take_stays_where_it_is() {
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
    fn it_is_bounded_and_requests_still_find_a_place() {
        let mut inbox = Inbox::default();
        let large = Bytes::from(vec![b'x'; INBOX_BYTES / 2]);
        inbox.push_message(large.clone(), None).unwrap();
        inbox.push_message(large.clone(), None).unwrap();
        assert!(inbox.push_message("x".into(), None).is_err());
        inbox.push_control("i".into());
        inbox.push_interrupt();
        inbox.push_interrupt();
        assert_eq!(inbox.queue.len(), 4);
        inbox.forget_control();
        assert!(!inbox.has(Accepts::NoMessage));
        assert_eq!(inbox.messages(), 2);
        let mut inbox = Inbox::default();
        for _ in 0..INBOX_ENTRIES {
            inbox.push_message(Bytes::new(), None).unwrap();
        }
        assert!(inbox.push_message(Bytes::new(), None).is_err());
    }
}
