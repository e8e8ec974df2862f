//! Many sandboxes: some kept warm, handed out, never more than allowed, none
//! left behind.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use claude_relay_protocol::Backoff;
use futures_util::future::join_all;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::Error;
use crate::guard::Guard;
use crate::http::E2b;
use crate::orphans::POOL_MARK;
use crate::sandbox::{NewSandbox, Sandbox};
use crate::sandboxes::Killed;

/// The wait after a warm sandbox could not be started; doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest such wait.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// What a pool is to do.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The pool's name, a mark on each of its sandboxes by which
    /// [`crate::orphans::owned`] finds them.
    pub name: String,
    /// What its sandboxes are. `timeout` is how long one lives after it was
    /// handed out; a warm one is kept alive until then.
    pub new: NewSandbox,
    /// How many may live at once, warm ones included. At least 1.
    pub max_size: usize,
    /// How many are kept warm. At most `max_size`.
    pub warm: usize,
    /// How many are started at a time. At least 1.
    pub starting: usize,
}

/// A pool of sandboxes of one kind. Clones are the same pool. When the last
/// one is dropped, so are its warm sandboxes; what is lent stays with those
/// who hold it.
#[derive(Clone, Debug)]
pub struct SandboxPool {
    shared: Arc<Shared>,
    keeper: Arc<Keeper>,
}

/// How many sandboxes a pool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolCounts {
    /// Ready to be handed out.
    pub warm: usize,
    /// Alive or being started, warm ones included.
    pub alive: usize,
}

/// A sandbox that was handed out. Killed when dropped: wait for that with
/// [`E2b::wait_for_cleanup`]. Its place in the pool is free when it is gone.
#[derive(Debug)]
pub struct Lease {
    guard: Guard,
}

/// A place among those that may live at once. Held until the sandbox in it
/// is gone, or nobody's business any more.
#[derive(Debug)]
struct Place {
    permit: Option<OwnedSemaphorePermit>,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Shared {
    e2b: E2b,
    options: PoolOptions,
    places: Arc<Semaphore>,
    starts: Semaphore,
    // A std mutex: nothing awaits while it is held.
    warm: Mutex<VecDeque<Warm>>,
    /// A warm sandbox was put in.
    filled: Notify,
    /// A place or a warm sandbox was taken or given back.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Warm {
    guard: Guard,
    extend_at: Instant,
}

/// Ends the task that keeps sandboxes warm.
#[derive(Debug)]
struct Keeper {
    // A std mutex: nothing awaits while it is held.
    task: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

impl Keeper {
    /// Stops keeping, and waits until what was under way is dropped too.
    async fn end(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            // Cancelled, which is what was asked for.
            let _ = task.await;
        }
        self.shared.warm().clear();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
        self.shared.warm().clear();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Given back first: whoever is woken must find it.
        drop(self.permit.take());
        self.changed.notify_one();
    }
}

impl SandboxPool {
    /// Opens a pool, which begins to start its warm sandboxes at once. Must
    /// be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Argument`] if the numbers make no sense.
    pub fn open(e2b: E2b, mut options: PoolOptions) -> Result<Self, Error> {
        if options.max_size == 0 || options.starting == 0 || options.warm > options.max_size {
            return Err(Error::Argument(format!(
                "a pool of {} sandboxes cannot keep {} warm and start {} at a time",
                options.max_size, options.warm, options.starting
            )));
        }
        options.new.metadata.insert(POOL_MARK.to_owned(), options.name.clone());
        let shared = Arc::new(Shared {
            e2b,
            places: Arc::new(Semaphore::new(options.max_size)),
            starts: Semaphore::new(options.starting),
            options,
            warm: Mutex::default(),
            filled: Notify::new(),
            changed: Arc::default(),
        });
        let task = tokio::spawn(keep_warm(Arc::clone(&shared)));
        let task = Mutex::new(Some(task));
        let keeper = Arc::new(Keeper { task, shared: Arc::clone(&shared) });
        Ok(Self { shared, keeper })
    }

    /// Hands out a sandbox: a warm one if there is, otherwise one that is
    /// started now, as soon as fewer than the most are alive. Dropping the
    /// future leaks nothing.
    ///
    /// # Errors
    /// As [`E2b::create`].
    pub async fn take(&self) -> Result<Lease, Error> {
        let shared = &self.shared;
        loop {
            let filled = shared.filled.notified();
            tokio::pin!(filled);
            // From here on a sandbox that is put in is not missed.
            filled.as_mut().enable();
            let warm = shared.warm().pop_front();
            if let Some(Warm { guard, .. }) = warm {
                shared.changed.notify_one();
                if !shared.warm().is_empty() {
                    // The notice was for one; there may be another waiting.
                    shared.filled.notify_one();
                }
                // Whether it lives on is known only by asking; and its time
                // begins now.
                match shared.extend(&guard).await {
                    Ok(()) => return Ok(Lease { guard }),
                    Err(error) => tracing::debug!(%error, "a warm sandbox was gone"),
                }
                continue;
            }
            tokio::select! {
                permit = Arc::clone(&shared.places).acquire_owned() => {
                    let permit = permit.map_err(|_| Error::Argument("the pool is closed".to_owned()))?;
                    let guard = shared.start(permit).await?;
                    return Ok(Lease { guard });
                }
                () = filled => {}
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        PoolCounts {
            warm: self.shared.warm().len(),
            alive: self.shared.options.max_size - self.shared.places.available_permits(),
        }
    }

    /// Closes the pool: takers get an error, warm sandboxes are killed, and
    /// it is waited, at most `patience`, until they are. Whether they are.
    /// What is lent stays with those who hold it.
    pub async fn close(self, patience: Duration) -> bool {
        let e2b = self.shared.e2b.clone();
        self.shared.places.close();
        self.keeper.end().await;
        e2b.wait_for_cleanup(patience).await
    }
}

impl Lease {
    /// The sandbox.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.guard.sandbox()
    }

    /// Ends the sandbox and waits for it. Its place is free afterwards.
    ///
    /// # Errors
    /// As [`E2b::kill`]; the kill is tried once more in the background then.
    pub async fn kill(self) -> Result<Killed, Error> {
        let guard = self.guard;
        let killed = match guard.sandbox() {
            Some(sandbox) => sandbox.kill().await,
            None => Ok(Killed::AlreadyGone),
        };
        if killed.is_ok() {
            // Dropping the guard would kill it once more.
            drop(guard.keep());
        }
        killed
    }

    /// Hands the sandbox to somebody else who ends it. Its place is free when
    /// it is gone.
    #[must_use]
    pub fn into_guard(self) -> Guard {
        self.guard
    }

    /// Takes the sandbox out of the pool for good: its end is the caller's
    /// business, and its place is free.
    #[must_use]
    pub fn keep(self) -> Option<Sandbox> {
        self.guard.keep()
    }
}

impl Shared {
    fn warm(&self) -> MutexGuard<'_, VecDeque<Warm>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts one in this place.
    async fn start(&self, permit: OwnedSemaphorePermit) -> Result<Guard, Error> {
        let place = Place { permit: Some(permit), changed: Arc::clone(&self.changed) };
        let _starting = self
            .starts
            .acquire()
            .await
            .map_err(|_| Error::Argument("the pool is closed".to_owned()))?;
        Ok(self.e2b.create_guarded(&self.options.new).await?.holding(place))
    }

    async fn extend(&self, guard: &Guard) -> Result<(), Error> {
        match guard.sandbox() {
            Some(sandbox) => sandbox.set_timeout(self.options.new.timeout).await,
            None => Ok(()),
        }
    }

    /// When a warm sandbox is to be given new time: well before it ends.
    fn next_extension(&self) -> Instant {
        Instant::now() + self.options.new.timeout / 3
    }
}

/// Keeps as many warm as there shall be, and alive while they wait.
async fn keep_warm(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
    loop {
        extend_due(&shared).await;
        let missing = shared.options.warm.saturating_sub(shared.warm().len());
        let batch = missing.min(shared.options.starting);
        let permits: Vec<_> =
            (0..batch).map_while(|_| Arc::clone(&shared.places).try_acquire_owned().ok()).collect();
        if permits.is_empty() {
            let due = shared.warm().iter().map(|warm| warm.extend_at).min();
            let due = due.unwrap_or_else(|| shared.next_extension());
            let _ = tokio::time::timeout_at(due, shared.changed.notified()).await;
            continue;
        }
        // In this task and not in others: when it is ended, all of this is
        // dropped with it, and what is under way cleans up after itself.
        let starts = permits.into_iter().map(|permit| put_in(&shared, permit));
        let failed = join_all(starts).await.contains(&false);
        if failed {
            // Not so long that those that are warm come to their end.
            tokio::time::sleep(backoff.next_wait().min(shared.options.new.timeout / 3)).await;
        } else {
            backoff.reset();
        }
    }
}

/// Starts one and puts it in. Whether that went well.
async fn put_in(shared: &Shared, permit: OwnedSemaphorePermit) -> bool {
    match shared.start(permit).await {
        Ok(guard) => {
            let extend_at = shared.next_extension();
            shared.warm().push_back(Warm { guard, extend_at });
            shared.filled.notify_one();
            true
        }
        Err(error) => {
            tracing::warn!(%error, pool = shared.options.name, "a warm sandbox could not be started");
            false
        }
    }
}

/// Gives new time to the warm ones whose time comes to its end, and drops
/// those that are gone.
async fn extend_due(shared: &Shared) {
    let due: Vec<Warm> = {
        let mut warm = shared.warm();
        let now = Instant::now();
        let (due, rest): (Vec<_>, Vec<_>) = warm.drain(..).partition(|warm| warm.extend_at <= now);
        *warm = rest.into();
        due
    };
    for mut warm in due {
        match shared.extend(&warm.guard).await {
            Ok(()) => {
                warm.extend_at = shared.next_extension();
                shared.warm().push_back(warm);
                shared.filled.notify_one();
            }
            Err(error) => {
                tracing::warn!(%error, pool = shared.options.name, "a warm sandbox is gone");
            }
        }
    }
}
