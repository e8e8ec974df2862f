//! A client whose server runs in a sandbox of E2B's cloud: how one is asked
//! for, and how it is started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claude_relay_e2b::{E2b, Lease, NewSandbox, Options, SandboxId, template_defaults};
use tokio::time::sleep;

use super::{ClientBuilder, Start};
use crate::api::client::Client;
use crate::api::environment::Environment;
use crate::driver::new_backoff;
use crate::e2b::SandboxHost;
use crate::error::{ConnectError, RequestError, SandboxError};
use crate::net::routes;
use crate::types::Secret;

/// The time that a server may take until it answers in its sandbox, by default.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest wait between two looks whether it does.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The sandbox that is wanted.
#[derive(Clone)]
pub(super) struct Wanted {
    which: Option<Which>,
    e2b: Option<E2b>,
    api_key: Option<Secret>,
    time: Duration,
    changes: Vec<Change>,
    start_timeout: Duration,
}

#[derive(Clone)]
enum Which {
    /// A fresh one of this template.
    New(String),
    /// The one of this id.
    Old(String),
}

type Change = Arc<dyn Fn(&mut NewSandbox) + Send + Sync>;

impl Default for Wanted {
    fn default() -> Self {
        Self {
            which: None,
            e2b: None,
            api_key: None,
            time: claude_relay_e2b::sandbox::DEFAULT_TIMEOUT,
            changes: Vec::new(),
            start_timeout: START_TIMEOUT,
        }
    }
}

impl Wanted {
    pub(super) fn is_some(&self) -> bool {
        self.which.is_some()
    }

    fn e2b(&self) -> Result<E2b, SandboxError> {
        if let Some(e2b) = &self.e2b {
            return Ok(e2b.clone());
        }
        let api_key = self.api_key.as_ref().map(|key| key.expose().to_owned().into());
        let settings = Options { api_key, ..Options::default() }.resolve();
        settings.map_err(Into::into).and_then(E2b::new).map_err(SandboxError::from)
    }
}

impl ClientBuilder {
    /// Creates a sandbox of this template of E2B's cloud and connects to the
    /// server in it; the empty text means `claude-agent-server`, the name that
    /// `claude-relay-e2b build` gives. A
    /// [`connection_url`](Self::connection_url) beats it.
    ///
    /// The E2B key comes from [`e2b_api_key`](Self::e2b_api_key) or
    /// `E2B_API_KEY` and goes to E2B's API alone. The agent's credential comes
    /// from the configuration or, unless [`environment`](Self::environment)
    /// says no, from `ANTHROPIC_API_KEY`, `CLAUDE_CODE_OAUTH_TOKEN` or
    /// `ANTHROPIC_AUTH_TOKEN` (with `ANTHROPIC_BASE_URL`), also out of a `.env`
    /// file.
    ///
    /// Nobody else reaches the server: its port is behind E2B's traffic token,
    /// and it is claimed with a token of its own before it gets the
    /// configuration. The sandbox's time is extended as long as the client
    /// is connected; [`Client::stop`] and dropping the client end the sandbox,
    /// [`Client::detach`] and [`Client::pause`] do not.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder().template("claude-agent-server").start().await?;
    /// println!("{}", client.ask("What is in this machine?").await?.text);
    /// client.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn template(mut self, template: impl Into<String>) -> Self {
        let template = template.into();
        let template =
            if template.is_empty() { template_defaults::DEFAULT_NAME.to_owned() } else { template };
        self.wanted.which = Some(Which::New(template));
        self
    }

    /// The E2B account to use, made with settings of its own. Default: one
    /// from the environment.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let account = claude_relay_client::e2b::E2b::from_environment()?;
    /// let client = Client::builder().template("").e2b(account).start().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn e2b(mut self, e2b: E2b) -> Self {
        self.wanted.e2b = Some(e2b);
        self
    }

    /// The key of E2B's API. Default: `E2B_API_KEY`.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().template("").e2b_api_key("a key");
    /// ```
    #[must_use]
    pub fn e2b_api_key(mut self, key: impl Into<Secret>) -> Self {
        self.wanted.api_key = Some(key.into());
        self
    }

    /// The time that the sandbox lives on when this client is gone without having
    /// ended it; while it is connected, the time is extended again and again.
    /// Default: 5 min. A part of a second counts as a whole one; the plan sets
    /// the most.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder()
    ///     .template("").sandbox_timeout(Duration::from_secs(900));
    /// ```
    #[must_use]
    pub fn sandbox_timeout(mut self, time: Duration) -> Self {
        self.wanted.time = time;
        self
    }

    /// Changes what is asked for when the sandbox is created: marks, what it
    /// may reach, whether it is paused at the end of its time.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder()
    ///     .template("").configure_sandbox(|sandbox| {
    ///         sandbox.metadata.insert("purpose".into(), "review".into());
    ///     });
    /// ```
    #[must_use]
    pub fn configure_sandbox(
        mut self,
        change: impl Fn(&mut NewSandbox) + Send + Sync + 'static,
    ) -> Self {
        self.wanted.changes.push(Arc::new(change));
        self
    }

    /// The time that the server may take, from the sandbox's creation or return on,
    /// until it has let this client in. Default: 60 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().template("").start_timeout(Duration::from_secs(120));
    /// ```
    #[must_use]
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.wanted.start_timeout = limit;
        self
    }

    /// See [`Client::attach`].
    pub(crate) fn attached(id: String) -> Self {
        let wanted = Wanted { which: Some(Which::Old(id)), ..Wanted::default() };
        Self { wanted, start: Start::Beginning, ..Self::default() }
    }

    /// A sandbox, a server in it that is ours, a connection. What was created
    /// is killed before an error is returned, and if this future is dropped.
    pub(super) async fn start_in_sandbox(mut self) -> Result<Client, ConnectError> {
        let wanted = std::mem::take(&mut self.wanted);
        let e2b = wanted.e2b()?;
        match &wanted.which {
            Some(Which::Old(id)) => {
                let id: SandboxId = id.parse().map_err(|error| RequestError::InvalidOption {
                    option: "sandbox",
                    reason: format!("{error}"),
                })?;
                let host = SandboxHost::reattach(&e2b, &id, wanted.time).await?;
                let token = match self.token.take() {
                    Some(token) => Some(token),
                    None => host.sandbox_ref().stored_token().await?,
                };
                self.token = token;
                self.settle_in(Arc::new(host), &wanted).await
            }
            which => {
                self.complete_for_sandbox()?;
                let mut new = NewSandbox::new(match which {
                    Some(Which::New(template)) => template,
                    _ => template_defaults::DEFAULT_NAME,
                });
                new.timeout = wanted.time;
                for change in &wanted.changes {
                    change(&mut new);
                }
                let host = SandboxHost::create(&e2b, &new).await?;
                self.move_in(host, &wanted).await
            }
        }
    }

    /// As [`start`](Self::start), in a sandbox that a
    /// [pool](claude_relay_e2b::SandboxPool) has handed out, which is up
    /// already. From here on it is the client's as one that it has created:
    /// its end frees the place in the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example(pool: claude_relay_client::e2b::SandboxPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder().start_in(pool.take().await?).await?;
    /// client.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start). The sandbox is killed then.
    pub async fn start_in(mut self, lease: Lease) -> Result<Client, ConnectError> {
        let wanted = std::mem::take(&mut self.wanted);
        self.complete_for_sandbox()?;
        let host = SandboxHost::take_over(lease.into_guard(), wanted.time).await?;
        self.move_in(host, &wanted).await
    }

    /// Claims the server in a fresh sandbox and connects to it. The sandbox is
    /// gone before an error is returned.
    async fn move_in(mut self, host: SandboxHost, wanted: &Wanted) -> Result<Client, ConnectError> {
        let host = Arc::new(host);
        let settled = match self.claim(&host).await {
            Ok(()) => self.settle_in(Arc::clone(&host), wanted).await,
            Err(error) => Err(error.into()),
        };
        if settled.is_err() {
            host.give_up().await;
        }
        settled
    }

    /// A fresh sandbox holds no credential, and its agent is of no use without.
    fn complete_for_sandbox(&mut self) -> Result<(), RequestError> {
        let configuration = &mut self.configuration;
        if !self.environment || configuration.has_credential() || configuration.env.is_some() {
            return Ok(());
        }
        Environment::credential_for_sandbox(configuration);
        let other = configuration.provider.as_deref().is_some_and(|name| name != "claude");
        if configuration.has_credential() || other {
            return Ok(());
        }
        Err(RequestError::InvalidOption {
            option: "anthropic_api_key",
            reason: "an agent in a fresh sandbox needs a credential: set ANTHROPIC_API_KEY or \
                     CLAUDE_CODE_OAUTH_TOKEN, or configure one; environment(false) says that the \
                     template has its own"
                .into(),
        })
    }

    /// Draws the token with which the server will be claimed, and leaves it
    /// where those who may open the sandbox find it again.
    async fn claim(&mut self, host: &SandboxHost) -> Result<(), SandboxError> {
        // In debug mode the server is one that somebody has started here.
        if host.sandbox_ref().sandbox().e2b().settings().is_debug() {
            return Ok(());
        }
        let configured = self.configuration.auth_token.take();
        let token = self
            .token
            .take()
            .or(configured)
            .unwrap_or_else(|| claude_relay_random::hexadecimal::<32>().into());
        host.sandbox_ref().store_token(&token).await?;
        self.configuration.auth_token = Some(token.clone());
        self.token = Some(token);
        Ok(())
    }

    /// Posts the configuration, which claims a fresh server, and connects;
    /// again and again while the server is not up.
    async fn settle_in(
        mut self,
        host: Arc<SandboxHost>,
        wanted: &Wanted,
    ) -> Result<Client, ConnectError> {
        let (url, headers) = host.sandbox_ref().endpoint()?;
        self.connection_url = Some(url);
        self.headers.extend(headers);
        let http = self.http()?;
        let deadline = Instant::now() + wanted.start_timeout;
        let mut backoff = new_backoff();
        let mut configured = self.configuration.is_empty();
        loop {
            let attempt = async {
                if !configured {
                    routes::configure(&http, &self.configuration).await?;
                    configured = true;
                }
                self.clone().connect(http.clone(), Some(Arc::clone(&host)), configured).await
            };
            let error = match attempt.await {
                Ok(client) => return Ok(client),
                Err(error) if error.is_transient() => error,
                Err(error) => return Err(error),
            };
            // Closed is a port that opens later; gone is gone.
            host.sandbox_ref().still_there().await?;
            let wait = backoff.next_jittered(claude_relay_random::number()).min(LONGEST_WAIT);
            if Instant::now() + wait >= deadline {
                return Err(ConnectError::ServerNotReady {
                    sandbox: host.sandbox_ref().id().to_string(),
                    limit: wanted.start_timeout,
                    source: Box::new(error),
                });
            }
            sleep(wait).await;
        }
    }
}
