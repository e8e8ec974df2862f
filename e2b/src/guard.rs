//! Guards: a sandbox does not outlive the guard that holds it.
//!
//! Without a guard, an error or a dropped future after the creation would leave
//! the sandbox running, and costing, until its time runs out. A guard kills it
//! instead.

use std::time::Duration;

use crate::error::Error;
use crate::http::E2b;
use crate::orphans::{OWNER, OWNER_MARK, START_MARK};
use crate::sandbox::{NewSandbox, Sandbox};
use crate::sandbox_id::SandboxId;
use crate::sandboxes::Filter;

/// Times of the searches for a sandbox whose creation was not answered: it may
/// appear a while after the connection was cut.
const LOOK_AFTER: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(5), Duration::from_secs(30)];

/// Owner of a sandbox that kills it when dropped, unless [`Guard::keep`] has
/// taken it out. The kill runs as a task of the runtime: wait for it with
/// [`E2b::wait_for_cleanup`] before the process ends.
pub struct Guard {
    sandbox: Option<Sandbox>,
    /// Dropped after the end of the sandbox.
    held: Option<Box<dyn Send + Sync>>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("sandbox", &self.sandbox).finish_non_exhaustive()
    }
}

impl Guard {
    /// Takes ownership of a sandbox.
    #[must_use]
    pub fn new(sandbox: Sandbox) -> Self {
        Self { sandbox: Some(sandbox), held: None }
    }

    /// Holds a value until the sandbox is gone or kept, such as its permit in a
    /// pool.
    #[must_use]
    pub fn holding(mut self, held: impl Send + Sync + 'static) -> Self {
        self.held = Some(Box::new(held));
        self
    }

    /// Returns the sandbox.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref()
    }

    /// Takes the sandbox out: from now on the caller has to kill it.
    #[must_use]
    pub fn keep(mut self) -> Option<Sandbox> {
        self.sandbox.take()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(sandbox) = self.sandbox.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            sandbox.e2b().cleanup().could_not_end(sandbox.id());
            tracing::error!(id = %sandbox.id(), "a sandbox was dropped outside of a runtime: it lives until its time is over");
            return;
        };
        let held = self.held.take();
        let kill = {
            let sandbox = sandbox.clone();
            async move {
                let _held = held;
                let _permit = sandbox.e2b().cleanup().kill_permit().await;
                if let Err(error) = sandbox.kill().await {
                    sandbox.e2b().cleanup().could_not_end(sandbox.id());
                    tracing::error!(id = %sandbox.id(), %error, "a dropped sandbox could not be killed: it lives until its time is over");
                }
            }
        };
        sandbox.e2b().cleanup().tasks.spawn_on(kill, &runtime);
    }
}

impl E2b {
    /// Creates a sandbox that is killed when its guard is dropped. Dropping the
    /// returned future is safe too: the request continues to its end, and its
    /// sandbox is killed. After a lost answer, a background task finds the
    /// sandbox by a unique mark and kills it.
    ///
    /// # Errors
    /// Same as [`E2b::create`].
    pub async fn create_guarded(&self, new: &NewSandbox) -> Result<Guard, Error> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (e2b, mut new) = (self.clone(), new.clone());
        let operation = format!("create a sandbox of {:?}", new.template);
        let start = claude_relay_random::hexadecimal::<16>();
        new.metadata.insert(OWNER_MARK.to_owned(), OWNER.to_owned());
        new.metadata.insert(START_MARK.to_owned(), start.clone());
        self.cleanup().tasks.spawn(async move {
            let created = e2b.create_once(&new, &start).await;
            let lost = created.as_ref().is_err_and(Error::may_have_had_effect);
            // If the receiver is gone, the error contains the guard. It is
            // dropped here, which kills the sandbox.
            drop(sender.send(created.map(Guard::new)));
            if lost {
                e2b.kill_lost(&start).await;
            }
        });
        receiver.await.unwrap_or(Err(Error::Malformed {
            operation,
            source: "the runtime ended before the answer came".into(),
        }))
    }

    /// Kills the sandbox of a create request without an answer.
    async fn kill_lost(&self, start: &str) {
        let metadata = [(START_MARK.to_owned(), start.to_owned())].into();
        let filter = Filter { metadata, states: Vec::new() };
        let mut has_looked = false;
        for wait in LOOK_AFTER {
            tokio::time::sleep(wait).await;
            match self.list(&filter).await {
                Ok(found) if found.is_empty() => has_looked = true,
                Ok(found) => {
                    for sandbox in found {
                        if let Err(error) = self.kill(&sandbox.id).await {
                            self.cleanup().could_not_end(&sandbox.id);
                            tracing::error!(id = %sandbox.id, %error, "a sandbox nobody knows of could not be killed");
                        }
                    }
                    return;
                }
                Err(error) => {
                    has_looked = false;
                    tracing::warn!(%error, "looking for a sandbox whose creation was not answered")
                }
            }
        }
        // It may have appeared after a look that succeeded.
        if !has_looked {
            self.cleanup().could_not_look();
        }
    }

    /// Returns the sandboxes that dropped guards and searches after lost answers
    /// could not kill. They live until their time is over, unless they are killed.
    #[must_use]
    pub fn unended(&self) -> Vec<SandboxId> {
        self.cleanup().unended_ids()
    }

    /// Waits until the background work of dropped guards and lost answers is
    /// done, at most `timeout`. Returns whether it is done and has left nothing:
    /// [`E2b::unended`] names what could not be killed. Guards may still be made
    /// and dropped afterwards.
    pub async fn wait_for_cleanup(&self, timeout: Duration) -> bool {
        let tasks = &self.cleanup().tasks;
        tasks.close();
        let done = tokio::time::timeout(timeout, tasks.wait()).await.is_ok();
        tasks.reopen();
        done && !self.cleanup().has_left_something()
    }
}
