//! A client whose server runs in a sandbox of E2B's cloud: how one is asked
//! for, and how it is started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claude_relay_e2b::{E2b, Egress, Lease, NewSandbox, SandboxId, template_defaults};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::copies::Used;
use super::start::Server;
use super::wanted::{Wanted, Which};
use super::{ClientBuilder, Start};
use crate::api::client::Client;
use crate::api::environment::Environment;
use crate::driver::new_backoff;
use crate::e2b::{SandboxHost, outside};
use crate::error::{ConfigureError, ConnectError, RequestError};
use crate::net::routes;
use crate::types::Secret;
use crate::types::config::Applies;

/// The longest wait between two looks whether it does.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

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

    /// Closes the sandbox's way to the internet but for these hosts (names,
    /// `*.example.com`, addresses and blocks) and that of the model's API.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().template("").e2b_allow(["github.com", "*.npmjs.org"]);
    /// ```
    #[must_use]
    pub fn e2b_allow<T: Into<String>>(mut self, hosts: impl IntoIterator<Item = T>) -> Self {
        let allowed = self.wanted.allowed.get_or_insert_default();
        allowed.extend(hosts.into_iter().map(Into::into));
        self
    }

    /// Sets whether the credential for the model is sent into a fresh sandbox.
    /// Default: no, where it is one for Anthropic's or OpenAI's own address:
    /// E2B then puts it on the agent's requests outside of the sandbox, and the
    /// agent gets a placeholder. For other addresses it is sent in any case.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().template("").key_in_sandbox(true);
    /// ```
    #[must_use]
    pub fn key_in_sandbox(mut self, inside: bool) -> Self {
        self.wanted.key_inside = inside;
        self
    }

    /// See [`Client::attach`].
    pub(crate) fn attached(id: String) -> Self {
        let wanted = Wanted { which: Some(Which::Old(id)), ..Wanted::default() };
        // What others have configured, their key among it, is not ours to remove.
        Self { wanted, start: Start::Beginning, merges: true, ..Self::default() }
    }

    /// A sandbox, a server in it that is ours, a connection. What was created
    /// is killed before an error is returned, and if this future is dropped.
    pub(super) async fn start_in_sandbox(mut self) -> Result<Client, ConnectError> {
        let wanted = std::mem::take(&mut self.wanted);
        let e2b = wanted.e2b(&self.roots)?;
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
                let used = Used::of(&self.start);
                self.settle_in(Arc::new(host), &wanted, used).await
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
                self.set_network(&wanted, &mut new.egress);
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
        self.callbacks.configure(&mut self.configuration);
        let wanted = std::mem::take(&mut self.wanted);
        self.complete_for_sandbox()?;
        let mut egress = lease.egress().clone();
        self.set_network(&wanted, &mut egress);
        let changed = (egress != *lease.egress()).then_some(egress);
        let host = SandboxHost::take_over(lease.into_guard(), wanted.time).await?;
        if let Some(egress) = changed
            && let Err(error) = host.sandbox_ref().set_egress(&egress).await
        {
            host.give_up().await;
            return Err(error.into());
        }
        self.move_in(host, &wanted).await
    }

    /// Takes the credential out of the configuration, and opens and closes the
    /// ways to the outside.
    fn set_network(&mut self, wanted: &Wanted, egress: &mut Egress) {
        if !wanted.key_inside {
            outside::keep_outside(&mut self.configuration, egress);
        }
        if let Some(allowed) = &wanted.allowed {
            let model = outside::model_hosts(&self.configuration);
            egress.close_to_all_but(allowed.iter().cloned().chain(model));
        }
    }

    /// Claims the server in a fresh sandbox and connects to it. The sandbox is
    /// gone before an error is returned.
    async fn move_in(mut self, host: SandboxHost, wanted: &Wanted) -> Result<Client, ConnectError> {
        let host = Arc::new(host);
        let token = self.claim(&host);
        let mut used = Used::of(&self.start);
        // Nothing has been said there, so that nothing has to be passed over.
        if token.is_some() && matches!(self.start, Start::Now) {
            self.start = Start::Beginning;
        }
        let (former, of_snapshot) = oneshot::channel();
        used.told = Some(of_snapshot);
        let stored = async {
            let Some(token) = &token else { return Ok(()) };
            // Whoever is not interested any more has a server, or none.
            let _ = former.send(host.sandbox_ref().stored_token().await?);
            Ok(host.sandbox_ref().store_token(token).await?)
        };
        let settled = tokio::try_join!(self.settle_in(Arc::clone(&host), wanted, used), stored);
        match settled {
            Ok((client, ())) => Ok(client),
            Err(error) => {
                host.give_up().await;
                Err(error)
            }
        }
    }

    /// A fresh sandbox holds no credential, and its agent is of no use without.
    fn complete_for_sandbox(&mut self) -> Result<(), RequestError> {
        let configuration = &mut self.configuration;
        if !self.environment || configuration.has_credential() || configuration.env.is_some() {
            return Ok(());
        }
        let named = configuration.anthropic_base_url.is_some();
        Environment::credential_for_sandbox(configuration);
        if !named
            && let Some(url) = configuration.anthropic_base_url.as_deref()
            && outside::is_on_this_machine(url)
        {
            return Err(RequestError::InvalidOption {
                option: "ANTHROPIC_BASE_URL",
                reason: format!(
                    "{url} is this machine, which a sandbox does not reach: its own localhost is \
                     another one. Name an address that it reaches, or unset the variable"
                ),
            });
        }
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

    /// Draws the token with which the server will be claimed.
    fn claim(&mut self, host: &SandboxHost) -> Option<Secret> {
        // In debug mode the server is one that somebody has started here.
        if host.sandbox_ref().sandbox().e2b().settings().is_debug() {
            return None;
        }
        let configured = self.configuration.auth_token.take();
        let token = self
            .token
            .take()
            .or(configured)
            .unwrap_or_else(|| claude_relay_random::hexadecimal::<32>().into());
        self.configuration.auth_token = Some(token.clone());
        self.token = Some(token.clone());
        Some(token)
    }

    /// Claims a fresh server with the configuration, and connects; again and
    /// again while the server is not up.
    async fn settle_in(
        mut self,
        host: Arc<SandboxHost>,
        wanted: &Wanted,
        mut used: Used,
    ) -> Result<Client, ConnectError> {
        let (url, headers) = host.sandbox_ref().endpoint()?;
        self.connection_url = Some(url);
        self.headers.extend(headers);
        let http = self.http()?.on_one_connection();
        let deadline = Instant::now() + wanted.start_timeout;
        let mut backoff = new_backoff();
        let claims = self.configuration.auth_token.is_some() && !self.merges;
        let mut server = Server::Unknown;
        let mut is_reclaimed = false;
        loop {
            let attempt = async {
                if claims && matches!(server, Server::Unknown) && !is_reclaimed {
                    match routes::configure(&http, &self.configuration).await {
                        Ok(configured) => {
                            // Only our own server says when it applies.
                            let takes_configuration = configured.applies != Applies::Unknown;
                            server = Server::Claimed { takes_configuration };
                        }
                        Err(ConfigureError::Request(
                            refused @ RequestError::Unauthorized { .. },
                        )) => {
                            used.reclaim(&http, self.token.as_ref(), refused).await?;
                            is_reclaimed = true;
                            self.start = used.start.clone();
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                self.clone().connect(http.clone(), Some(Arc::clone(&host)), server).await
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
