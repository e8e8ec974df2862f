//! The subscribers: each gets all messages, at its own pace up to a bound; the
//! slowest sets the pace beyond it.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Arc;

use super::channels::Subscription;
use super::queue::Queue;
use crate::error::ConnectionError;
use crate::types::message::{Gap, ServerMessage};

/// A message, or the reason why there are no more.
pub(crate) type Item = Result<ServerMessage, ConnectionError>;

/// The bytes that are kept for a program that has not subscribed yet. What
/// goes over it is lost, and the first subscription begins with a [`Gap`] that
/// says so.
pub(crate) const BACKLOG_BYTES: usize = 1 << 20;

pub(super) struct Subscribers {
    queues: Vec<Arc<Queue<Item>>>,
    /// For the first subscription; `None` once it is made.
    backlog: Option<Backlog>,
}

#[derive(Default)]
struct Backlog {
    items: VecDeque<(ServerMessage, usize)>,
    bytes: usize,
    lost: Option<Gap>,
}

impl Backlog {
    fn push(&mut self, message: ServerMessage, bytes: usize) {
        self.items.push_back((message, bytes));
        self.bytes += bytes;
        while self.bytes > BACKLOG_BYTES
            && let Some((message, bytes)) = self.items.pop_front()
        {
            self.bytes -= bytes;
            self.lose(&message);
        }
    }

    /// Widens the gap over `message`.
    fn lose(&mut self, message: &ServerMessage) {
        let (from, to) = match message {
            // Numbers before it are of another stream.
            ServerMessage::Restarted { .. } => {
                self.lost = Some(Gap { from: None, to: None });
                return;
            }
            ServerMessage::Gap(gap) => (gap.from, gap.to),
            ServerMessage::Sdk(message) => (message.seq(), message.seq()),
            _ => (None, None),
        };
        let lost = self.lost.get_or_insert(Gap { from, to });
        lost.to = to.or(lost.to);
    }
}

impl Default for Subscribers {
    fn default() -> Self {
        Self { queues: Vec::new(), backlog: Some(Backlog::default()) }
    }
}

impl Subscribers {
    /// Adds a subscription: from now on, or, if it is the first that asks for
    /// the backlog, with all that has come since the start.
    pub(super) fn add(&mut self, Subscription { queue, backlog, .. }: Subscription) {
        if backlog && let Some(backlog) = self.backlog.take() {
            let gap = backlog.lost.map(|gap| (ServerMessage::Gap(gap), 0));
            let items = gap.into_iter().chain(backlog.items);
            // Bounded by the backlog's own limit.
            queue.push_over(items.map(|(message, bytes)| (Ok(message), bytes)));
        }
        self.queues.push(queue);
    }

    /// Hands messages, each with its size, to everybody, and takes them out of
    /// `messages` as it goes. `Err` holds the first one that some have no room
    /// for; the others have it, and nobody has what is behind it.
    pub(super) fn try_deliver(
        &mut self,
        messages: &mut VecDeque<(ServerMessage, usize)>,
    ) -> Result<(), Box<Stalled>> {
        // The last reference is ours: its reader is gone.
        self.queues.retain(|queue| Arc::strong_count(queue) > 1);
        // The queue's own memory counts too: messages can be tiny.
        let mut next = || {
            let (message, bytes) = messages.pop_front()?;
            Some((message, bytes + size_of::<Item>()))
        };
        // Most programs have but one subscription, which gets the messages
        // themselves, all under one lock.
        if let (None, [only]) = (&self.backlog, &self.queues[..]) {
            only.try_push_all(|| next().map(|(message, bytes)| (Ok(message), bytes)));
        }
        while let Some((message, bytes)) = next() {
            if let Some(backlog) = &mut self.backlog {
                backlog.push(message.clone(), bytes);
            }
            let full: Vec<_> = self
                .queues
                .iter()
                .filter(|queue| queue.try_push(Ok(message.clone()), bytes).is_err())
                .cloned()
                .collect();
            if !full.is_empty() {
                return Err(Box::new(Stalled { message, bytes, full }));
            }
        }
        Ok(())
    }

    /// Tells everybody that there is no more.
    pub(super) fn end(&mut self, error: &ConnectionError) {
        for queue in self.queues.drain(..) {
            queue.end(last_item(error));
        }
    }
}

/// A message that not all subscribers have room for.
pub(super) struct Stalled {
    message: ServerMessage,
    bytes: usize,
    full: Vec<Arc<Queue<Item>>>,
}

impl Stalled {
    /// Waits for each of them. This is the backpressure: nothing is read from
    /// the server meanwhile. Cancelling it loses nothing.
    pub(super) async fn deliver(&mut self) {
        while let Some(queue) = self.full.last() {
            queue.room().await;
            // There is one writer, so the room is still there.
            let _ = queue.try_push(Ok(self.message.clone()), self.bytes);
            self.full.pop();
        }
    }

    /// Delivers now, with so much on top of each limit. Returns true when all
    /// have it.
    pub(super) fn deliver_over(&mut self, more_bytes: usize) -> bool {
        self.full.retain(|queue| {
            queue.try_push_over(Ok(self.message.clone()), self.bytes, more_bytes).is_err()
        });
        self.full.is_empty()
    }
}

/// The last item of a stream. One that was stopped on purpose just ends.
pub(super) fn last_item(error: &ConnectionError) -> Option<Item> {
    (!matches!(error, ConnectionError::Stopped)).then(|| Err(error.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> ServerMessage {
        ServerMessage::Info(text.into())
    }

    fn deliver(
        subscribers: &mut Subscribers,
        text: &str,
        bytes: usize,
    ) -> Result<(), Box<Stalled>> {
        subscribers.try_deliver(&mut VecDeque::from([(info(text), bytes)]))
    }

    fn subscribe(subscribers: &mut Subscribers, limit: usize, backlog: bool) -> Arc<Queue<Item>> {
        let queue = Arc::new(Queue::new(limit));
        subscribers.add(Subscription { queue: Arc::clone(&queue), backlog, snapshot: None });
        queue
    }

    async fn all(queue: &Queue<Item>) -> Vec<String> {
        let mut taken = VecDeque::new();
        let mut all = Vec::new();
        while std::future::poll_fn(|cx| queue.poll_take(&mut taken, cx)).await {
            all.extend(taken.drain(..).map(|item| match item {
                Ok(ServerMessage::Info(text)) => text,
                Ok(ServerMessage::Gap(_)) => "gap".to_owned(),
                other => format!("{other:?}"),
            }));
        }
        all
    }

    #[tokio::test]
    async fn the_first_subscription_has_what_came_before_it_and_later_ones_do_not() {
        let mut subscribers = Subscribers::default();
        assert!(deliver(&mut subscribers, "1", 1).is_ok());
        let now = subscribe(&mut subscribers, 1000, false);
        let first = subscribe(&mut subscribers, 1000, true);
        let second = subscribe(&mut subscribers, 1000, true);
        assert!(deliver(&mut subscribers, "2", 1).is_ok());
        subscribers.end(&ConnectionError::Stopped);
        assert_eq!(all(&first).await, ["1", "2"]);
        assert_eq!(all(&second).await, ["2"]);
        assert_eq!(all(&now).await, ["2"]);
    }

    #[tokio::test]
    async fn messages_beyond_the_backlog_are_a_gap() {
        let mut subscribers = Subscribers::default();
        for _ in 0..3 {
            assert!(deliver(&mut subscribers, "x", BACKLOG_BYTES / 2).is_ok());
        }
        let first = subscribe(&mut subscribers, 1000, true);
        subscribers.end(&ConnectionError::Stopped);
        assert_eq!(all(&first).await, ["gap", "x"]);
    }

    #[tokio::test]
    async fn messages_that_exceed_the_only_subscribers_room_stay_in_order() {
        let mut subscribers = Subscribers::default();
        let only = subscribe(&mut subscribers, size_of::<Item>() + 1, true);
        let mut messages: VecDeque<_> = ["1", "2", "3", "4"].map(|text| (info(text), 1)).into();
        let Err(mut stalled) = subscribers.try_deliver(&mut messages) else { panic!("room") };
        assert_eq!(messages.len(), 2, "one went in, one is stalled");
        assert!(stalled.deliver_over(usize::MAX));
        while let Err(mut stalled) = subscribers.try_deliver(&mut messages) {
            assert!(stalled.deliver_over(usize::MAX));
        }
        subscribers.end(&ConnectionError::Stopped);
        assert_eq!(all(&only).await, ["1", "2", "3", "4"]);
    }

    #[tokio::test]
    async fn one_slow_subscriber_is_named_and_the_others_have_the_message() {
        let mut subscribers = Subscribers::default();
        let slow = subscribe(&mut subscribers, 1, true);
        assert!(deliver(&mut subscribers, "1", 1).is_ok());
        let quick = subscribe(&mut subscribers, 1, true);
        let Err(stalled) = deliver(&mut subscribers, "2", 1) else { panic!("room") };
        let full = &stalled.full;
        assert_eq!(full.len(), 1);
        assert!(Arc::ptr_eq(&full[0], &slow));
        slow.abandon();
        full[0].room().await;
        subscribers.end(&ConnectionError::Stopped);
        assert_eq!(all(&quick).await, ["2"]);
    }

    #[test]
    fn a_subscriber_that_is_gone_is_forgotten() {
        let mut subscribers = Subscribers::default();
        drop(subscribe(&mut subscribers, 1, true));
        assert!(deliver(&mut subscribers, "1", 1).is_ok());
        assert!(deliver(&mut subscribers, "2", 1).is_ok());
        assert!(subscribers.queues.is_empty());
    }
}
