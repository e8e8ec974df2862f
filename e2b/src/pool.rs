//! Pool of sandboxes: keeps some warm, hands them out, limits their number and
//! kills all of them at the end.

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
use crate::network::Egress;
use crate::orphans::POOL_MARK;
use crate::sandbox::{NewSandbox, Sandbox};
use crate::sandboxes::Killed;

/// First delay after a warm sandbox could not be started; doubled each time.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// Longest such delay.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// Options of a pool.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The pool's name. Each of its sandboxes is marked with it, and
    /// [`crate::orphans::owned`] finds them by it.
    pub name: String,
    /// The options of its sandboxes. `timeout` is the lifetime after one is
    /// handed out; the pool extends the time of warm ones until then.
    pub new: NewSandbox,
    /// The maximum number of live sandboxes, including warm ones. At least 1.
    pub max_size: usize,
    /// The number of warm sandboxes. At most `max_size`.
    pub warm: usize,
    /// The maximum number of concurrent starts. At least 1.
    pub starting: usize,
}

/// Pool of sandboxes of one kind. Clones refer to the same pool. Dropping the
/// last one kills the warm sandboxes; leases stay valid.
#[derive(Clone, Debug)]
pub struct SandboxPool {
    shared: Arc<Shared>,
    warm_task: Arc<WarmTask>,
}

/// Numbers of sandboxes in a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolCounts {
    /// Ready to be handed out.
    pub warm: usize,
    /// Alive or being started, warm ones included.
    pub alive: usize,
}

/// A sandbox from the pool. Dropping it kills the sandbox: wait for that with
/// [`E2b::wait_for_cleanup`]. Its permit is free once the sandbox is gone.
#[derive(Debug)]
pub struct Lease {
    guard: Guard,
    egress: Egress,
}

/// Permit for one live sandbox. Held until the sandbox is gone or taken out of
/// the pool.
#[derive(Debug)]
struct LivePermit {
    permit: Option<OwnedSemaphorePermit>,
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Shared {
    e2b: E2b,
    options: PoolOptions,
    live: Arc<Semaphore>,
    starts: Semaphore,
    // A std mutex: it is not held across an await.
    warm: Mutex<VecDeque<Warm>>,
    /// Notified when a warm sandbox is added.
    filled: Notify,
    /// Notified when a permit or a warm sandbox is taken or returned.
    changed: Arc<Notify>,
}

#[derive(Debug)]
struct Warm {
    guard: Guard,
    extend_at: Instant,
}

/// Handle of the task that keeps sandboxes warm; aborts it when dropped.
#[derive(Debug)]
struct WarmTask {
    // A std mutex: it is not held across an await.
    task: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

impl WarmTask {
    /// Stops the task, and waits until its unfinished work is dropped too.
    async fn end(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            // The task was cancelled, as requested.
            let _ = task.await;
        }
        self.shared.warm().clear();
    }
}

impl Drop for WarmTask {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
        self.shared.warm().clear();
    }
}

impl Drop for LivePermit {
    fn drop(&mut self) {
        // Released before the notification: the task that wakes must find it.
        drop(self.permit.take());
        self.changed.notify_one();
    }
}

impl SandboxPool {
    /// Opens a pool and begins to start its warm sandboxes. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Argument`] if the numbers are inconsistent.
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
            live: Arc::new(Semaphore::new(options.max_size)),
            starts: Semaphore::new(options.starting),
            options,
            warm: Mutex::default(),
            filled: Notify::new(),
            changed: Arc::default(),
        });
        let task = tokio::spawn(keep_warm(Arc::clone(&shared)));
        let task = Mutex::new(Some(task));
        let warm_task = Arc::new(WarmTask { task, shared: Arc::clone(&shared) });
        Ok(Self { shared, warm_task })
    }

    /// Hands out a sandbox: a warm one if there is one, otherwise a new one as
    /// soon as the limit allows it. Dropping the future leaks nothing.
    ///
    /// # Errors
    /// Same as [`E2b::create`].
    pub async fn take(&self) -> Result<Lease, Error> {
        let shared = &self.shared;
        loop {
            let filled = shared.filled.notified();
            tokio::pin!(filled);
            // A sandbox that is added after this line is not missed.
            filled.as_mut().enable();
            let warm = shared.warm().pop_front();
            if let Some(Warm { guard, .. }) = warm {
                shared.changed.notify_one();
                if !shared.warm().is_empty() {
                    // The notification woke one waiter; there may be another.
                    shared.filled.notify_one();
                }
                // Extending its time starts its lifetime and shows whether it
                // still exists.
                match shared.extend(&guard).await {
                    Ok(()) => return Ok(self.lease(guard)),
                    Err(error) => tracing::debug!(%error, "a warm sandbox was gone"),
                }
                continue;
            }
            tokio::select! {
                permit = Arc::clone(&shared.live).acquire_owned() => {
                    let permit = permit.map_err(|_| Error::Argument("the pool is closed".to_owned()))?;
                    let guard = shared.start(permit).await?;
                    return Ok(self.lease(guard));
                }
                () = filled => {}
            }
        }
    }

    fn lease(&self, guard: Guard) -> Lease {
        Lease { guard, egress: self.shared.options.new.egress.clone() }
    }

    /// Returns the numbers of sandboxes.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        PoolCounts {
            warm: self.shared.warm().len(),
            alive: self.shared.options.max_size - self.shared.live.available_permits(),
        }
    }

    /// Closes the pool: pending calls of [`take`](Self::take) fail, and warm
    /// sandboxes are killed. Waits for the kills, at most `timeout`, and
    /// returns whether all are done. Leases stay valid.
    pub async fn close(self, timeout: Duration) -> bool {
        let e2b = self.shared.e2b.clone();
        self.shared.live.close();
        self.warm_task.end().await;
        e2b.wait_for_cleanup(timeout).await
    }
}

impl Lease {
    /// Returns the sandbox.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.guard.sandbox()
    }

    /// Returns the rules for outgoing connections that it was created with.
    #[must_use]
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// Kills the sandbox and waits for the answer. Then its permit is free.
    ///
    /// # Errors
    /// Same as [`E2b::kill`]; after an error the kill is tried once more in the
    /// background.
    pub async fn kill(self) -> Result<Killed, Error> {
        let guard = self.guard;
        let killed = match guard.sandbox() {
            Some(sandbox) => sandbox.kill().await,
            None => Ok(Killed::AlreadyGone),
        };
        if killed.is_ok() {
            // Dropping the guard would kill the sandbox again.
            drop(guard.keep());
        }
        killed
    }

    /// Returns the guard, which kills the sandbox when dropped. Then its permit
    /// is free.
    #[must_use]
    pub fn into_guard(self) -> Guard {
        self.guard
    }

    /// Takes the sandbox out of the pool for good and frees its permit: the
    /// caller has to kill it.
    #[must_use]
    pub fn keep(self) -> Option<Sandbox> {
        self.guard.keep()
    }
}

impl Shared {
    fn warm(&self) -> MutexGuard<'_, VecDeque<Warm>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a sandbox with this permit.
    async fn start(&self, permit: OwnedSemaphorePermit) -> Result<Guard, Error> {
        let permit_guard = LivePermit { permit: Some(permit), changed: Arc::clone(&self.changed) };
        let _starting = self
            .starts
            .acquire()
            .await
            .map_err(|_| Error::Argument("the pool is closed".to_owned()))?;
        Ok(self.e2b.create_guarded(&self.options.new).await?.holding(permit_guard))
    }

    async fn extend(&self, guard: &Guard) -> Result<(), Error> {
        match guard.sandbox() {
            Some(sandbox) => sandbox.set_timeout(self.options.new.timeout).await,
            None => Ok(()),
        }
    }

    /// Returns the time to extend a warm sandbox: well before it ends.
    fn next_extension(&self) -> Instant {
        Instant::now() + self.options.new.timeout / 3
    }
}

/// Background task: keeps `options.warm` sandboxes warm and extends their time.
async fn keep_warm(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
    loop {
        extend_due(&shared).await;
        let missing = shared.options.warm.saturating_sub(shared.warm().len());
        let batch = missing.min(shared.options.starting);
        let permits: Vec<_> =
            (0..batch).map_while(|_| Arc::clone(&shared.live).try_acquire_owned().ok()).collect();
        if permits.is_empty() {
            let due = shared.warm().iter().map(|warm| warm.extend_at).min();
            let due = due.unwrap_or_else(|| shared.next_extension());
            let _ = tokio::time::timeout_at(due, shared.changed.notified()).await;
            continue;
        }
        // The starts run in this task and not in others: aborting it drops
        // them, and each unfinished start cleans up after itself.
        let starts = permits.into_iter().map(|permit| put_in(&shared, permit));
        let failed = join_all(starts).await.contains(&false);
        if failed {
            // Short enough that no warm sandbox times out meanwhile.
            tokio::time::sleep(backoff.next_wait().min(shared.options.new.timeout / 3)).await;
        } else {
            backoff.reset();
        }
    }
}

/// Starts a warm sandbox and adds it. Returns whether that succeeded.
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

/// Extends the warm sandboxes whose time runs out soon, and drops those that
/// are gone.
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
