//! A sandbox that does not outlive its owner.
//!
//! Creating one and losing hold of it, by an error or because a future was
//! dropped in the middle, would leave it running and costing until its time
//! is over. A guard kills it instead.

use std::time::Duration;

use crate::error::Error;
use crate::http::E2b;
use crate::sandbox::{NewSandbox, Sandbox};

/// Holds a sandbox and kills it when dropped, unless it was taken out with
/// [`Guard::keep`]. The kill runs as a task of the runtime: wait for it with
/// [`E2b::settled`] before the process ends.
#[derive(Debug)]
pub struct Guard {
    sandbox: Option<Sandbox>,
}

impl Guard {
    /// Takes charge of a sandbox.
    #[must_use]
    pub fn new(sandbox: Sandbox) -> Self {
        Self { sandbox: Some(sandbox) }
    }

    /// The sandbox.
    #[must_use]
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandbox.as_ref()
    }

    /// Takes the sandbox out: from now on its end is the caller's business.
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
            tracing::error!(id = %sandbox.id(), "a sandbox was dropped outside of a runtime: it lives until its time is over");
            return;
        };
        let kill = {
            let sandbox = sandbox.clone();
            async move {
                if let Err(error) = sandbox.kill().await {
                    tracing::error!(id = %sandbox.id(), %error, "a dropped sandbox could not be killed: it lives until its time is over");
                }
            }
        };
        sandbox.e2b().cleanup().spawn_on(kill, &runtime);
    }
}

impl E2b {
    /// Creates a sandbox that is killed when its guard is dropped. Dropping
    /// the returned future is safe too: the request goes on to its end, and
    /// what it made is killed.
    ///
    /// # Errors
    /// As [`E2b::create`].
    pub async fn create_guarded(&self, new: &NewSandbox) -> Result<Guard, Error> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let (e2b, new) = (self.clone(), new.clone());
        let operation = format!("create a sandbox of {:?}", new.template);
        self.cleanup().spawn(async move {
            // If nobody waits any more the guard comes back in the error and
            // is dropped here, which kills the sandbox.
            drop(sender.send(e2b.create(&new).await.map(Guard::new)));
        });
        receiver.await.unwrap_or(Err(Error::Malformed {
            operation,
            problem: "the runtime ended before the answer came".to_owned(),
        }))
    }

    /// Waits until everything that dropped guards set going is done, at most
    /// `patience`. Whether it is done by then. Guards may still be made and
    /// dropped afterwards.
    pub async fn settled(&self, patience: Duration) -> bool {
        let tasks = self.cleanup();
        tasks.close();
        let done = tokio::time::timeout(patience, tasks.wait()).await.is_ok();
        tasks.reopen();
        done
    }
}
