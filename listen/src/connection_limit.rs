//! Places for connections of a port: when none is free, the connection that has
//! been idle for the longest time makes room, unless it has shown that it is
//! the owner's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A number of places, and the connections that can be made to leave theirs.
#[derive(Debug, Clone)]
pub struct ConnectionLimit {
    free: Arc<Semaphore>,
    order: Arc<Mutex<EvictionQueue>>,
}

/// Connections that have shown nothing, the one with the oldest activity first.
#[derive(Debug, Default)]
struct EvictionQueue {
    count: u64,
    connections: BTreeMap<u64, Arc<Notify>>,
}

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub struct ConnectionPermit {
    places: ConnectionLimit,
    /// Position in the order, or `None` for a connection that keeps its place.
    position: Mutex<Option<u64>>,
    evicted: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionLimit {
    /// Creates places for `count` connections.
    #[must_use]
    pub fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), order: Arc::default() }
    }

    /// Waits for a place, for which the oldest connection is evicted if none is
    /// free. Returns `None` if there never will be one.
    pub async fn take(&self) -> Option<ConnectionPermit> {
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.evict_oldest();
                Arc::clone(&self.free).acquire_owned().await.ok()?
            }
        };
        let place = ConnectionPermit {
            places: self.clone(),
            position: Mutex::new(None),
            evicted: Arc::default(),
            _permit: permit,
        };
        place.set_position(true);
        Some(place)
    }

    /// Returns the number of free places.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Evicts the connection with the oldest activity. Returns false if there is
    /// none that can be.
    pub fn evict_oldest(&self) -> bool {
        let oldest = self.order().connections.pop_first();
        oldest.map(|(_, evicted)| evicted.notify_one()).is_some()
    }

    fn order(&self) -> MutexGuard<'_, EvictionQueue> {
        // Each change is one step, so it is valid after a panic.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// Records activity of the connection.
    pub fn touch(&self) {
        self.set_position(false);
    }

    fn set_position(&self, is_new: bool) {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        let mut order = self.places.order();
        let had_position = position.is_some();
        if let Some(old) = position.take()
            && order.connections.remove(&old).is_none()
        {
            // It has been evicted.
            return;
        } else if !had_position && !is_new {
            // It keeps its place.
            return;
        }
        order.count += 1;
        let new = order.count;
        order.connections.insert(new, Arc::clone(&self.evicted));
        *position = Some(new);
    }

    /// Lets the connection keep its place to its end.
    pub fn keep(&self) {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = position.take() {
            self.places.order().connections.remove(&old);
        }
    }

    /// Waits until the connection has to leave.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.keep();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    async fn is_evicted(place: &ConnectionPermit) -> bool {
        timeout(Duration::from_millis(1), place.evicted()).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_activity_leaves_first_and_a_kept_place_never() {
        let places = ConnectionLimit::new(3);
        let kept = places.take().await.unwrap();
        kept.keep();
        let first = places.take().await.unwrap();
        let second = places.take().await.unwrap();
        first.touch();
        let waiting = places.take();
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_millis(1), &mut waiting).await.is_err());
        assert!(is_evicted(&second).await);
        // What it does now comes too late.
        second.touch();
        drop(second);
        let third = waiting.await.unwrap();
        assert!(places.evict_oldest() && is_evicted(&first).await);
        assert!(places.evict_oldest() && is_evicted(&third).await);
        assert!(!places.evict_oldest() && !is_evicted(&kept).await);
        drop((kept, first, third));
        assert_eq!(places.free(), 3);
    }
}
