//! The queue between the connection and one subscriber: bounded in bytes, so
//! that a slow program slows the server down instead of growing.
//!
//! A channel of tokio counts items; ours have anything between 50 bytes and
//! 64 MiB. The reader takes all there is in one go, so the lock is touched
//! once for many messages.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// Items with their sizes.
pub(crate) struct Queue<T> {
    // A std lock, because nothing is awaited while it is held.
    state: Mutex<State<T>>,
    /// Something was taken, or the reader went.
    drained: Notify,
    limit_bytes: usize,
}

struct State<T> {
    items: VecDeque<T>,
    bytes: usize,
    /// No reader: what is pushed is dropped.
    abandoned: bool,
    /// No writer: what is there is the last.
    ended: bool,
    /// The reader that waits for something to come.
    reader: Option<Waker>,
}

impl<T> Queue<T> {
    pub(crate) fn new(limit_bytes: usize) -> Self {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            abandoned: false,
            ended: false,
            reader: None,
        };
        Self { state: Mutex::new(state), drained: Notify::new(), limit_bytes }
    }

    fn with<R>(&self, f: impl FnOnce(&mut State<T>) -> R) -> R {
        // A panic under this lock cannot leave the state half changed.
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds an item if less than the limit is waiting; an item may go over
    /// the limit, so that one larger than it gets through at all.
    pub(crate) fn try_push(&self, item: T, bytes: usize) -> Result<(), T> {
        self.try_push_over(item, bytes, 0)
    }

    /// The same with `more_bytes` on top of the limit.
    pub(crate) fn try_push_over(&self, item: T, bytes: usize, more_bytes: usize) -> Result<(), T> {
        let reader = self.with(|state| {
            if state.abandoned || state.ended {
                return Ok(None);
            }
            if state.bytes >= self.limit_bytes.saturating_add(more_bytes) {
                return Err(item);
            }
            state.items.push_back(item);
            state.bytes += bytes;
            Ok(state.reader.take())
        })?;
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Adds items as long as less than the limit is waiting. What there is no
    /// room for is not asked for.
    pub(crate) fn try_push_all(&self, mut next: impl FnMut() -> Option<(T, usize)>) {
        let reader = self.with(|state| {
            while (state.abandoned || state.ended || state.bytes < self.limit_bytes)
                && let Some((item, bytes)) = next()
            {
                if !state.abandoned && !state.ended {
                    state.items.push_back(item);
                    state.bytes += bytes;
                }
            }
            state.reader.take()
        });
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Adds items whatever the limit: the caller has a bound of its own. The reader
    /// may be waiting already.
    pub(crate) fn push_over(&self, items: impl IntoIterator<Item = (T, usize)>) {
        let reader = self.with(|state| {
            for (item, bytes) in items {
                state.items.push_back(item);
                state.bytes += bytes;
            }
            if state.items.is_empty() { None } else { state.reader.take() }
        });
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Waits until [`try_push`](Self::try_push) can succeed. There is one
    /// writer, so it then does.
    pub(crate) async fn room(&self) {
        while self.with(|state| !state.abandoned && !state.ended && state.bytes >= self.limit_bytes)
        {
            self.drained.notified().await;
        }
    }

    /// The last item has come. Goes in whatever the limit.
    pub(crate) fn end(&self, last: Option<T>) {
        let reader = self.with(|state| {
            if !state.ended && !state.abandoned {
                state.items.extend(last);
            }
            state.ended = true;
            state.reader.take()
        });
        if let Some(reader) = reader {
            reader.wake();
        }
        self.drained.notify_one();
    }

    /// The reader goes: frees what is waiting, lets the writer go on.
    pub(crate) fn abandon(&self) {
        self.with(|state| {
            state.abandoned = true;
            state.items = VecDeque::new();
            state.bytes = 0;
        });
        self.drained.notify_one();
    }

    /// Takes everything there is into `into`, which is empty; `false` at the
    /// end. There is one reader.
    pub(crate) fn poll_take(&self, into: &mut VecDeque<T>, cx: &mut Context<'_>) -> Poll<bool> {
        debug_assert!(into.is_empty());
        let taken = self.with(|state| {
            std::mem::swap(&mut state.items, into);
            state.bytes = 0;
            if !into.is_empty() {
                return Poll::Ready(true);
            }
            if state.ended {
                return Poll::Ready(false);
            }
            state.reader = Some(cx.waker().clone());
            Poll::Pending
        });
        if taken == Poll::Ready(true) {
            self.drained.notify_one();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    async fn take<T>(queue: &Queue<T>, into: &mut VecDeque<T>) -> bool {
        std::future::poll_fn(|cx| queue.poll_take(into, cx)).await
    }

    #[tokio::test]
    async fn the_limit_holds_the_writer_until_the_reader_takes() {
        let queue = Queue::new(10);
        queue.try_push(1, 9).unwrap();
        queue.try_push(2, 1000).unwrap();
        assert_eq!(queue.try_push(3, 0), Err(3));
        let mut waiting = Box::pin(queue.room());
        let pending = tokio::time::timeout(std::time::Duration::from_millis(5), &mut waiting);
        assert!(pending.await.is_err());
        let mut taken = VecDeque::new();
        assert!(take(&queue, &mut taken).await);
        assert_eq!(taken, [1, 2]);
        waiting.await;
        queue.try_push(3, 0).unwrap();
    }

    #[tokio::test]
    async fn many_go_in_as_far_as_there_is_room_and_the_rest_is_not_asked_for() {
        let queue = Queue::new(10);
        let mut items = VecDeque::from([(1, 9), (2, 1), (3, 1)]);
        queue.try_push_all(|| items.pop_front());
        assert_eq!(items, [(3, 1)]);
        let mut taken = VecDeque::new();
        assert!(take(&queue, &mut taken).await);
        assert_eq!(taken, [1, 2]);
        // Without a reader they are dropped.
        queue.abandon();
        queue.try_push_all(|| items.pop_front());
        assert!(items.is_empty());
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_whatever_way_an_item_comes() {
        let ways: [fn(&Queue<i32>); 4] = [
            |queue| queue.try_push(1, 1).unwrap(),
            |queue| {
                let mut items = VecDeque::from([(1, 1)]);
                queue.try_push_all(|| items.pop_front());
            },
            |queue| queue.push_over([(1, 1)]),
            |queue| queue.end(Some(1)),
        ];
        for (number, push) in ways.into_iter().enumerate() {
            let queue = Queue::new(10);
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            let mut taken = VecDeque::new();
            let mut context = Context::from_waker(&waker);
            assert_eq!(queue.poll_take(&mut taken, &mut context), Poll::Pending);
            push(&queue);
            assert!(woken.0.load(Ordering::Relaxed), "way {number}");
            assert_eq!(queue.poll_take(&mut taken, &mut context), Poll::Ready(true));
            assert_eq!(taken, [1], "way {number}");
        }
    }

    #[tokio::test]
    async fn the_end_comes_after_what_is_waiting() {
        let queue = Queue::new(1);
        queue.try_push(1, 1).unwrap();
        queue.end(Some(2));
        queue.try_push(3, 1).unwrap();
        let mut taken = VecDeque::new();
        assert!(take(&queue, &mut taken).await);
        assert_eq!(taken, [1, 2]);
        taken.clear();
        assert!(!take(&queue, &mut taken).await);
    }

    #[tokio::test]
    async fn a_reader_that_goes_lets_the_writer_go_on() {
        let queue = Queue::new(1);
        queue.try_push(1, 1).unwrap();
        queue.abandon();
        queue.room().await;
        queue.try_push(2, 1).unwrap();
    }
}
