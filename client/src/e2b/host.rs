//! The sandbox that a client's server runs in, and who ends it.

use std::sync::Arc;
use std::time::Duration;

use claude_relay_e2b as e2b;
use claude_relay_e2b::{E2b, Guard, NewSandbox, SandboxId, SandboxState, template_defaults};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::keep_alive::{Trouble, keep_alive};
use crate::error::{ConnectionError, SandboxError};
use crate::types::Secret;
use crate::types::connection::ConnectionState;

/// The file of the claim token in the sandbox: in the home directory of a user whose
/// files E2B opens to those who have a key of the account.
const TOKEN_FILE: &str = "/root/.claude-relay-token";
/// The user of that file.
const TOKEN_USER: &str = "root";
/// The longest token that is read back.
const MAX_TOKEN_BYTES: usize = 4096;
/// The wait for the end of a sandbox whose start has failed. After
/// that it goes on by itself.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(10);

/// A sandbox as the place where a server runs. Cheap to clone; it does not
/// keep the sandbox.
#[derive(Clone)]
pub(crate) struct SandboxRef(e2b::Sandbox);

/// A sandbox as the thing that somebody has to end.
pub(crate) struct SandboxHost {
    sandbox: SandboxRef,
    time: Duration,
    /// The task that gives it new time.
    keep_alive: Mutex<Option<JoinHandle<()>>>,
    /// The failure that keeps it from getting new time.
    trouble: Arc<watch::Sender<Trouble>>,
    /// The state of the connection, once there is one.
    connection: Mutex<Option<watch::Receiver<ConnectionState>>>,
    /// Held while the sandbox is being ended, so that all who end it wait.
    owner: Arc<Mutex<Owner>>,
}

/// Whose business the end of the sandbox is.
enum Owner {
    /// It was created for us: it ends with us.
    Owned(Guard),
    /// We came back to it: it ends when we are told to end it.
    Attached,
    /// Somebody has paused it or taken it over on purpose: it is theirs.
    Theirs,
    /// It was ended, or left.
    Released,
}

impl SandboxHost {
    pub(crate) async fn create(e2b: &E2b, new: &NewSandbox) -> Result<Self, SandboxError> {
        Self::of(e2b.create_guarded(new).await?, new.timeout)
    }

    /// Takes over a sandbox that others have created, and its end.
    pub(crate) async fn take_over(guard: Guard, time: Duration) -> Result<Self, SandboxError> {
        if let Some(sandbox) = guard.sandbox() {
            sandbox.set_timeout(time).await?;
        }
        Self::of(guard, time)
    }

    fn of(guard: Guard, time: Duration) -> Result<Self, SandboxError> {
        let Some(sandbox) = guard.sandbox().cloned() else {
            return Err(SandboxError::NoSandbox);
        };
        Ok(Self::owned_by(sandbox, time, Owner::Owned(guard)))
    }

    fn owned_by(sandbox: e2b::Sandbox, time: Duration, owner: Owner) -> Self {
        Self {
            sandbox: SandboxRef(sandbox),
            time,
            keep_alive: Mutex::default(),
            trouble: Arc::new(watch::Sender::new(None)),
            connection: Mutex::default(),
            owner: Arc::new(Mutex::new(owner)),
        }
    }

    /// Comes back to a sandbox, resuming it if it is paused.
    pub(crate) async fn reattach(
        e2b: &E2b,
        id: &SandboxId,
        time: Duration,
    ) -> Result<Self, SandboxError> {
        let gone = |error| match error {
            e2b::Error::NotFound(_) => SandboxError::Expired { sandbox: id.to_string() },
            error => error.into(),
        };
        let sandbox = e2b.connect(id, time).await.map_err(gone)?;
        Ok(Self::owned_by(sandbox, time, Owner::Attached))
    }

    pub(crate) fn sandbox_ref(&self) -> &SandboxRef {
        &self.sandbox
    }

    /// Gives the sandbox new time until the client has ended.
    pub(crate) async fn keep_alive(&self, connection: watch::Receiver<ConnectionState>) {
        let (sandbox, time) = (self.sandbox.0.clone(), self.time);
        let attached = matches!(*self.owner.lock().await, Owner::Attached);
        let extend = move || {
            let sandbox = sandbox.clone();
            async move {
                match attached {
                    // Others may have given it more time than this, which
                    // setting it would take away again.
                    true => sandbox.e2b().connect(sandbox.id(), time).await.map(drop),
                    false => sandbox.set_timeout(time).await,
                }
            }
        };
        *self.connection.lock().await = Some(connection.clone());
        // The end of the sandbox must not wait for this task's.
        let (trouble, owner) = (Arc::clone(&self.trouble), Arc::downgrade(&self.owner));
        let task = tokio::spawn(async move {
            keep_alive(extend, time, connection.clone(), &trouble).await;
            if is_theirs(&connection)
                && let Some(owner) = owner.upgrade()
            {
                release(&mut *owner.lock().await, Owner::Theirs);
            }
        });
        *self.keep_alive.lock().await = Some(task);
    }

    /// The failure that keeps the sandbox from getting new time, while it
    /// lasts.
    pub(crate) fn trouble(&self) -> watch::Receiver<Trouble> {
        self.trouble.subscribe()
    }

    /// Waits, once the client has ended, until nothing gives the sandbox new
    /// time any more.
    async fn stop_keep_alive(&self) {
        if let Some(keep_alive) = self.keep_alive.lock().await.take() {
            // That it has panicked would be its end as well.
            let _ = keep_alive.await;
        }
    }

    /// Pauses the sandbox, whose end is then the business of others.
    pub(crate) async fn pause(&self) -> Result<(), SandboxError> {
        // A request that comes behind the pause could resume it.
        self.stop_keep_alive().await;
        self.sandbox.0.pause().await?;
        release(&mut *self.owner.lock().await, Owner::Released);
        Ok(())
    }

    /// Ends the sandbox and waits for it, unless somebody has paused it or taken
    /// it over on purpose. If that fails and it is ours, it is tried once more when this
    /// is dropped.
    pub(crate) async fn end(&self) -> Result<(), SandboxError> {
        let connection = self.connection.lock().await;
        if connection.as_ref().is_some_and(is_theirs) {
            release(&mut *self.owner.lock().await, Owner::Theirs);
            return Ok(());
        }
        drop(connection);
        self.kill().await
    }

    /// Ends the sandbox whatever its state, and waits for it.
    pub(crate) async fn kill(&self) -> Result<(), SandboxError> {
        let mut owner = self.owner.lock().await;
        if !matches!(*owner, Owner::Released) {
            self.sandbox.0.kill().await?;
            release(&mut owner, Owner::Released);
        }
        Ok(())
    }

    /// Ends the sandbox after a start that has failed.
    pub(crate) async fn give_up(&self) {
        // The guard does the rest.
        let _ = timeout(CLEANUP_TIMEOUT, self.end()).await;
    }

    /// From now on its end is the business of others.
    pub(crate) async fn leave(&self) {
        self.stop_keep_alive().await;
        release(&mut *self.owner.lock().await, Owner::Released);
    }
}

impl Drop for SandboxHost {
    /// Lets go of a sandbox that is others', even while it is being given new time.
    fn drop(&mut self) {
        // If somebody else holds the owner, it is to release it.
        if self.connection.get_mut().as_ref().is_some_and(is_theirs)
            && let Ok(mut owner) = self.owner.try_lock()
        {
            release(&mut owner, Owner::Theirs);
        }
    }
}

impl SandboxRef {
    pub(crate) fn id(&self) -> &SandboxId {
        self.0.id()
    }

    pub(crate) fn sandbox(&self) -> &e2b::Sandbox {
        &self.0
    }

    pub(crate) fn of(sandbox: e2b::Sandbox) -> Self {
        Self(sandbox)
    }

    /// The server's address, and what every request to it must carry.
    pub(crate) fn endpoint(&self) -> Result<(String, Vec<(String, String)>), SandboxError> {
        let endpoint = self.0.endpoint(template_defaults::PORT)?;
        let headers = endpoint.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        Ok((endpoint.url.to_string(), headers.collect()))
    }

    pub(crate) async fn set_egress(&self, egress: &e2b::Egress) -> Result<(), SandboxError> {
        Ok(self.0.e2b().set_egress(self.id(), egress).await?)
    }

    pub(crate) async fn store_token(&self, token: &Secret) -> Result<(), SandboxError> {
        let files = self.0.files()?.as_user(TOKEN_USER);
        Ok(files.write(TOKEN_FILE, token.expose().as_bytes()).await?)
    }

    /// The token that whoever created the sandbox has drawn, if it was one of
    /// us.
    pub(crate) async fn stored_token(&self) -> Result<Option<Secret>, SandboxError> {
        if self.0.e2b().settings().is_debug() {
            return Ok(None);
        }
        let files = self.0.files()?.as_user(TOKEN_USER);
        match files.read(TOKEN_FILE).await {
            Ok(token) if token.len() <= MAX_TOKEN_BYTES => {
                Ok(str::from_utf8(&token).ok().map(|token| token.trim().into()))
            }
            Ok(_) | Err(e2b::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// An error if the sandbox is gone or paused, for certain. That E2B's API
    /// does not answer proves nothing.
    pub(crate) async fn still_there(&self) -> Result<(), SandboxError> {
        let e2b = self.0.e2b();
        if e2b.settings().is_debug() {
            return Ok(());
        }
        let sandbox = || self.id().to_string();
        match e2b.info(self.id()).await {
            Ok(info) if info.state == SandboxState::Paused => {
                Err(SandboxError::Paused { sandbox: sandbox() })
            }
            Err(e2b::Error::NotFound(_)) => Err(SandboxError::Expired { sandbox: sandbox() }),
            _ => Ok(()),
        }
    }
}

fn release(owner: &mut Owner, to: Owner) {
    if let Owner::Owned(guard) = std::mem::replace(owner, to) {
        drop(guard.keep());
    }
}

/// Returns true if the connection has ended because somebody has paused the
/// sandbox, or has taken it over: also while this client was away, which the server
/// tells as it comes back.
fn is_theirs(connection: &watch::Receiver<ConnectionState>) -> bool {
    matches!(
        &*connection.borrow(),
        ConnectionState::Ended(
            ConnectionError::Sandbox(SandboxError::Paused { .. })
                | ConnectionError::Replaced { .. }
                | ConnectionError::Busy { .. }
        )
    )
}
