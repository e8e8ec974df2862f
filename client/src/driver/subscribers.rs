//! Who gets the messages: every subscriber all of them, each at its own pace
//! up to a bound, the slowest setting the pace beyond it.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::{Arc, Mutex, PoisonError};

use crate::driver::queue::Queue;
use crate::error::Error;
use crate::types::message::{Gap, ServerMessage};

/// A message, or why there are no more.
pub(crate) type Item = Result<ServerMessage, Error>;

/// How much is kept for a program that has not subscribed yet. What goes over
/// it is lost, and the first subscription begins with a [`Gap`] that says so.
pub(crate) const HELD_BYTES: usize = 1 << 20;

pub(crate) struct Subscribers {
    state: Mutex<State>,
    /// What one subscriber may have waiting.
    limit_bytes: usize,
}

struct State {
    queues: Vec<Arc<Queue<Item>>>,
    /// For the first subscription; `None` once it is made.
    held: Option<Held>,
    /// Why there are no more messages; [`Error::Stopped`] is not said.
    ended: Option<Error>,
}

#[derive(Default)]
struct Held {
    items: VecDeque<(ServerMessage, usize)>,
    bytes: usize,
    lost: Option<Gap>,
}

impl Held {
    fn push(&mut self, message: ServerMessage, bytes: usize) {
        self.items.push_back((message, bytes));
        self.bytes += bytes;
        while self.bytes > HELD_BYTES
            && let Some((message, bytes)) = self.items.pop_front()
        {
            self.bytes -= bytes;
            self.lose(&message);
        }
    }

    /// Widens the gap over `message`.
    fn lose(&mut self, message: &ServerMessage) {
        let (from, to, restarted) = match message {
            ServerMessage::Gap(gap) => (gap.from, gap.to, gap.restarted),
            ServerMessage::Sdk(message) => (message.seq(), message.seq(), false),
            _ => (None, None, false),
        };
        let lost = self.lost.get_or_insert(Gap { from, to, restarted });
        lost.to = to.or(lost.to);
        lost.restarted |= restarted;
    }
}

impl Subscribers {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let state = State { queues: Vec::new(), held: Some(Held::default()), ended: None };
        Self { state: Mutex::new(state), limit_bytes }
    }

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands messages, each with its size, to everybody, and takes them out of
    /// `messages` as it goes. `Err` holds the first one that some have no room
    /// for; the others have it, and nobody has what is behind it.
    pub(crate) fn try_deliver(
        &self,
        messages: &mut VecDeque<(ServerMessage, usize)>,
    ) -> Result<(), Stalled> {
        // What the queue itself takes counts too: messages can be tiny.
        let mut next = || {
            let (message, bytes) = messages.pop_front()?;
            Some((message, bytes + size_of::<Item>()))
        };
        self.with(|state| {
            // Most programs have but one subscription, which gets the messages
            // themselves, all under one lock.
            if let (None, [only]) = (&state.held, &state.queues[..]) {
                only.try_push_all(|| next().map(|(message, bytes)| (Ok(message), bytes)));
            }
            while let Some((message, bytes)) = next() {
                if let Some(held) = &mut state.held {
                    held.push(message.clone(), bytes);
                }
                let mut full = state.queues.clone();
                full.retain(|queue| queue.try_push(Ok(message.clone()), bytes).is_err());
                if !full.is_empty() {
                    return Err(Stalled { message, bytes, full });
                }
            }
            Ok(())
        })
    }

    /// A new subscription: from now on, or, if it is the first and `held` is
    /// asked for, with all that has come since the start.
    pub(crate) fn subscribe(&self, held: bool) -> Arc<Queue<Item>> {
        let queue = Arc::new(Queue::new(self.limit_bytes));
        self.with(|state| {
            if held && let Some(held) = state.held.take() {
                let gap = held.lost.map(|gap| (ServerMessage::Gap(gap), 0));
                for (message, bytes) in gap.into_iter().chain(held.items) {
                    // Bounded by what is held.
                    queue.push_over(Ok(message), bytes);
                }
            }
            match &state.ended {
                Some(error) => queue.end(last_word(error)),
                None => state.queues.push(Arc::clone(&queue)),
            }
        });
        queue
    }

    pub(crate) fn unsubscribe(&self, queue: &Arc<Queue<Item>>) {
        queue.abandon();
        self.with(|state| state.queues.retain(|other| !Arc::ptr_eq(other, queue)));
    }

    /// Tells everybody that there is no more. Only the first call counts.
    pub(crate) fn end(&self, error: &Error) {
        self.with(|state| {
            if state.ended.is_none() {
                state.ended = Some(error.clone());
                for queue in state.queues.drain(..) {
                    queue.end(last_word(error));
                }
            }
        });
    }

    /// Why there is no more, once there is no more.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.with(|state| state.ended.clone())
    }
}

/// A message that not all subscribers have room for.
pub(crate) struct Stalled {
    message: ServerMessage,
    bytes: usize,
    full: Vec<Arc<Queue<Item>>>,
}

impl Stalled {
    /// Waits for each of them. This is the backpressure: nothing is read from
    /// the server meanwhile. Cancelling it loses nothing: what is left is
    /// still here.
    pub(crate) async fn deliver(&mut self) {
        while let Some(queue) = self.full.last() {
            queue.room().await;
            // There is one writer, so the room is still there.
            let _ = queue.try_push(Ok(self.message.clone()), self.bytes);
            self.full.pop();
        }
    }

    /// Delivers now, with so much on top of each limit. Whether all have it.
    pub(crate) fn deliver_over(&mut self, more_bytes: usize) -> bool {
        self.full.retain(|queue| {
            queue.try_push_over(Ok(self.message.clone()), self.bytes, more_bytes).is_err()
        });
        self.full.is_empty()
    }
}

/// A stream that was stopped on purpose just ends.
fn last_word(error: &Error) -> Option<Item> {
    (!matches!(error, Error::Stopped)).then(|| Err(error.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> ServerMessage {
        ServerMessage::Info(text.into())
    }

    fn deliver(subscribers: &Subscribers, text: &str, bytes: usize) -> Result<(), Stalled> {
        subscribers.try_deliver(&mut VecDeque::from([(info(text), bytes)]))
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
        let subscribers = Subscribers::new(1000);
        assert!(deliver(&subscribers, "1", 1).is_ok());
        let now = subscribers.subscribe(false);
        let first = subscribers.subscribe(true);
        let second = subscribers.subscribe(true);
        assert!(deliver(&subscribers, "2", 1).is_ok());
        subscribers.end(&Error::Stopped);
        assert_eq!(all(&first).await, ["1", "2"]);
        assert_eq!(all(&second).await, ["2"]);
        assert_eq!(all(&now).await, ["2"]);
        assert!(all(&subscribers.subscribe(true)).await.is_empty());
    }

    #[tokio::test]
    async fn what_is_held_too_long_is_a_gap() {
        let subscribers = Subscribers::new(1000);
        for _ in 0..3 {
            assert!(deliver(&subscribers, "x", HELD_BYTES / 2).is_ok());
        }
        let first = subscribers.subscribe(true);
        subscribers.end(&Error::Stopped);
        assert_eq!(all(&first).await, ["gap", "x"]);
    }

    #[tokio::test]
    async fn what_the_only_subscriber_has_no_room_for_stays_in_its_order() {
        let subscribers = Subscribers::new(size_of::<Item>() + 1);
        let only = subscribers.subscribe(true);
        let mut messages: VecDeque<_> = ["1", "2", "3", "4"].map(|text| (info(text), 1)).into();
        let Err(mut stalled) = subscribers.try_deliver(&mut messages) else { panic!("room") };
        assert_eq!(messages.len(), 2, "one went in, one is held up");
        assert!(stalled.deliver_over(usize::MAX));
        while let Err(mut stalled) = subscribers.try_deliver(&mut messages) {
            assert!(stalled.deliver_over(usize::MAX));
        }
        subscribers.end(&Error::Stopped);
        assert_eq!(all(&only).await, ["1", "2", "3", "4"]);
    }

    #[tokio::test]
    async fn one_slow_subscriber_is_named_and_the_others_have_the_message() {
        let subscribers = Subscribers::new(1);
        let slow = subscribers.subscribe(true);
        assert!(deliver(&subscribers, "1", 1).is_ok());
        let quick = subscribers.subscribe(true);
        let Err(Stalled { full, .. }) = deliver(&subscribers, "2", 1) else { panic!("room") };
        assert_eq!(full.len(), 1);
        assert!(Arc::ptr_eq(&full[0], &slow));
        subscribers.unsubscribe(&slow);
        full[0].room().await;
        subscribers.end(&Error::Stopped);
        assert_eq!(all(&quick).await, ["2"]);
    }
}
