//! The sandbox that a client's server runs in, and who ends it.

use std::time::{Duration, SystemTime};

use claude_relay_e2b as e2b;
use claude_relay_e2b::{E2b, Guard, NewSandbox, SandboxId, SandboxState, shipped};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use super::keep_alive::keep_alive;
use crate::error::Error;
use crate::secret::Secret;
use crate::session::Connection;

/// Where the claim token lies in the sandbox: in the home of a user whose
/// files E2B opens to those who have a key of the account.
const TOKEN_FILE: &str = "/root/.claude-relay-token";
/// The user of that file.
const TOKEN_USER: &str = "root";
/// The longest token that is read back.
const MAX_TOKEN_BYTES: usize = 4096;
/// How long the end of a sandbox whose start has failed is waited for. After
/// that it goes on by itself.
const GIVE_UP_PATIENCE: Duration = Duration::from_secs(10);

/// A sandbox as the place where a server runs. Cheap to clone; it does not
/// keep the sandbox.
#[derive(Clone)]
pub(crate) struct Place(e2b::Sandbox);

/// A sandbox as the thing that somebody has to end.
pub(crate) struct Home {
    place: Place,
    time: Duration,
    ends_at: Instant,
    /// Held while the sandbox is being ended, so that all who end it wait.
    owner: Mutex<Owner>,
}

/// Whose business the end of the sandbox is.
enum Owner {
    /// It was created for us: it ends with us.
    Us(Guard),
    /// We came back to it: it ends when we are told to end it.
    Visitor,
    /// It was ended, or left.
    Nobody,
}

impl Home {
    pub(crate) async fn create(e2b: &E2b, new: &NewSandbox) -> Result<Self, Error> {
        let asked_at = Instant::now();
        let guard = e2b.create_guarded(new).await?;
        Self::of(guard, new.timeout, asked_at)
    }

    /// Takes over a sandbox that others have created, and its end.
    pub(crate) async fn take_over(guard: Guard, time: Duration) -> Result<Self, Error> {
        let asked_at = Instant::now();
        if let Some(sandbox) = guard.sandbox() {
            sandbox.set_timeout(time).await?;
        }
        Self::of(guard, time, asked_at)
    }

    fn of(guard: Guard, time: Duration, since: Instant) -> Result<Self, Error> {
        let Some(sandbox) = guard.sandbox().cloned() else {
            return Err(Error::NoSandbox);
        };
        let owner = Mutex::new(Owner::Us(guard));
        Ok(Self { place: Place(sandbox), time, ends_at: since + time, owner })
    }

    /// Comes back to a sandbox, resuming it if it is paused.
    pub(crate) async fn back_to(e2b: &E2b, id: &SandboxId, time: Duration) -> Result<Self, Error> {
        let gone = |error| match error {
            e2b::Error::NotFound(_) => Error::SandboxExpired { sandbox: id.to_string() },
            error => error.into(),
        };
        let sandbox = e2b.connect(id, time).await.map_err(gone)?;
        // It may live longer than was asked for, and must not be cut short.
        let mut ends_at = Instant::now() + time;
        if !e2b.settings().is_debug() {
            let info = e2b.info(id).await.map_err(gone)?;
            let left = info.end_at.duration_since(SystemTime::now()).unwrap_or_default();
            ends_at = Instant::now() + left;
        }
        Ok(Self { place: Place(sandbox), time, ends_at, owner: Mutex::new(Owner::Visitor) })
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Gives the sandbox new time until the client has ended.
    pub(crate) fn keep_alive(
        &self,
        connection: watch::Receiver<Connection>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (sandbox, time, ends_at) = (self.place.0.clone(), self.time, self.ends_at);
        let extend = move || {
            let sandbox = sandbox.clone();
            async move { sandbox.set_timeout(time).await }
        };
        keep_alive(extend, time, ends_at, connection)
    }

    /// Ends the sandbox and waits for it. If that fails and it is ours, it is
    /// tried once more when this is dropped.
    pub(crate) async fn end(&self) -> Result<(), Error> {
        let mut owner = self.owner.lock().await;
        if !matches!(*owner, Owner::Nobody) {
            self.place.0.kill().await?;
            leave(&mut owner);
        }
        Ok(())
    }

    /// Ends the sandbox after a start that has failed.
    pub(crate) async fn give_up(&self) {
        // What is left undone, the guard does.
        let _ = timeout(GIVE_UP_PATIENCE, self.end()).await;
    }

    /// From now on its end is the business of others.
    pub(crate) async fn leave(&self) {
        leave(&mut *self.owner.lock().await);
    }
}

impl Place {
    pub(crate) fn id(&self) -> &SandboxId {
        self.0.id()
    }

    pub(crate) fn sandbox(&self) -> &e2b::Sandbox {
        &self.0
    }

    /// The server's address, and what every request to it must carry.
    pub(crate) fn endpoint(&self) -> Result<(String, Vec<(String, String)>), Error> {
        let endpoint = self.0.endpoint(shipped::PORT)?;
        let headers = endpoint.headers.iter().filter_map(|(name, value)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        });
        Ok((endpoint.url.to_string(), headers.collect()))
    }

    pub(crate) async fn store_token(&self, token: &Secret) -> Result<(), Error> {
        let files = self.0.files()?.as_user(TOKEN_USER);
        Ok(files.write(TOKEN_FILE, token.expose().as_bytes()).await?)
    }

    /// The token that whoever created the sandbox has drawn, if it was one of
    /// us.
    pub(crate) async fn stored_token(&self) -> Result<Option<Secret>, Error> {
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
    pub(crate) async fn still_there(&self) -> Result<(), Error> {
        let e2b = self.0.e2b();
        if e2b.settings().is_debug() {
            return Ok(());
        }
        let sandbox = || self.id().to_string();
        match e2b.info(self.id()).await {
            Ok(info) if info.state == SandboxState::Paused => {
                Err(Error::SandboxPaused { sandbox: sandbox() })
            }
            Err(e2b::Error::NotFound(_)) => Err(Error::SandboxExpired { sandbox: sandbox() }),
            _ => Ok(()),
        }
    }
}

fn leave(owner: &mut Owner) {
    if let Owner::Us(guard) = std::mem::replace(owner, Owner::Nobody) {
        drop(guard.keep());
    }
}
