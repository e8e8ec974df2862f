//! The start of a client by its settings, and what can be asked of a server
//! without one.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hyper::HeaderMap;

use super::{ClientBuilder, Start};
use crate::api::client::{Client, Inner};
use crate::api::environment::Environment;
use crate::driver::{DriverHandle, DriverOptions, StartingPoint};
use crate::e2b::SandboxHost;
use crate::error::{ConfigureError, ConnectError, RequestError};
use crate::net::address::Address;
use crate::net::dial::Dialer;
use crate::net::http::{self, Http};
use crate::net::routes::{self, Health};
use crate::types::config::Configured;

/// What is known of a server before the connection.
#[derive(Clone, Copy)]
pub(super) enum Server {
    /// Nothing.
    Unknown,
    /// It is in a fresh sandbox, claimed and configured.
    #[cfg(feature = "e2b")]
    Claimed {
        /// It takes a configuration with the connection.
        takes_configuration: bool,
    },
}

impl ClientBuilder {
    /// Posts the configuration, connects, and returns when the server says
    /// `connected`. Dropping the future leaves nothing behind; a sandbox that
    /// was created for it is killed.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder().connection_url("http://localhost:3000").start().await?;
    /// println!("{}", client.ask("Hello!").await?.text);
    /// client.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// A variant of its own for each refusal: [`ConnectError::Busy`],
    /// [`ConnectError::ConfigurationRefused`], and within
    /// [`ConnectError::Request`] [`RequestError::Unauthorized`],
    /// [`RequestError::Forbidden`], [`RequestError::Unavailable`],
    /// [`RequestError::NotARelay`]; never a hang, never a success that is none.
    pub async fn start(mut self) -> Result<Client, ConnectError> {
        self.callbacks.configure(&mut self.configuration);
        #[cfg(feature = "e2b")]
        if self.connection_url.is_none() && self.wanted.is_some() {
            return Box::pin(self.start_in_sandbox()).await;
        }
        self.complete();
        let http = self.http()?;
        // The steps are large, and a program may hold many of these futures.
        Box::pin(self.connect(http, None, Server::Unknown)).await
    }

    /// Connects, and configures a server that is not: with the connection, so
    /// that a client that is refused changes nothing, or before it, where the
    /// server does not know that or is claimed with it.
    pub(super) async fn connect(
        self,
        http: Http,
        host: Option<Arc<SandboxHost>>,
        server: Server,
    ) -> Result<Client, ConnectError> {
        let http = http.on_one_connection();
        let configuration = self.configuration.without_claim().map_err(|error| {
            RequestError::InvalidOption { option: "configuration", reason: error.to_string() }
        })?;
        let wants_health = configuration.is_some() || matches!(self.start, Start::Now);
        let (health, takes_configuration) = match server {
            #[cfg(feature = "e2b")]
            Server::Claimed { takes_configuration } => (None, takes_configuration),
            Server::Unknown if wants_health => {
                let health = routes::health_if_any(&http).await?;
                let takes = health.as_ref().is_some_and(Health::takes_configuration);
                (health, takes)
            }
            Server::Unknown => (None, false),
        };
        let configuration = configuration.filter(|_| takes_configuration);
        let claims = self.configuration.auth_token.is_some();
        let is_configured = if !matches!(server, Server::Unknown) || self.configuration.is_empty() {
            true
        } else if claims || configuration.is_none() {
            if self.merges {
                Box::pin(routes::update(&http, &self.configuration)).await?;
            } else {
                Box::pin(routes::configure(&http, &self.configuration)).await?;
            }
            true
        } else {
            false
        };
        let parts = DriverOptions {
            starting_point: self.starting_point(health.as_ref()),
            configuration,
            configures: !is_configured,
            merges: self.merges,
            http: http.clone(),
            options: self.options,
            handler: self.handler,
            callbacks: self.callbacks,
            tap: self.tap,
            buffer_bytes: self.buffer_bytes,
        };
        let driver = DriverHandle::start(parts, host.as_deref()).await?;
        Ok(Client::from_inner(Inner {
            driver,
            http: http.on_separate_connections(),
            control_prefix: claude_relay_random::hexadecimal::<4>(),
            next_control: AtomicU64::new(1),
            waits_for_tasks: self.waits_for_tasks,
            host,
        }))
    }

    /// Reads along beside the client that holds the slot, or without one: what
    /// [`Client::messages`](crate::Client::messages) gives is all that can be
    /// had, and whatever is sent is answered with an error. One that reads too
    /// slowly is told of a [`Gap`](crate::Gap). It does not go with a
    /// configuration or with [`takeover`](Self::takeover). Default: no.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().watch(true);
    /// ```
    #[must_use]
    pub fn watch(mut self, watch: bool) -> Self {
        self.options.watch = watch;
        self
    }

    /// Asks how the server is, without connecting to it.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Client::builder().connection_url("http://localhost:3000");
    /// println!("{:?}", builder.health().await?.version);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// About the settings, the connection and the token.
    pub async fn health(&self) -> Result<Health, RequestError> {
        routes::health(&self.http()?).await
    }

    /// The server's configuration, without connecting to it.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Client::builder().connection_url("http://localhost:3000");
    /// println!("{}", builder.get_configuration().await?.get());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`health`](Self::health).
    pub async fn get_configuration(&self) -> Result<crate::RawJson, RequestError> {
        Ok(self.get_configured().await?.config)
    }

    /// The server's configuration with the names of the secrets that are set,
    /// without connecting to it.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Client::builder().connection_url("http://localhost:3000");
    /// println!("{:?}", builder.get_configured().await?.secrets);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`health`](Self::health).
    pub async fn get_configured(&self) -> Result<Configured, RequestError> {
        routes::configuration(&self.http()?).await
    }

    /// Replaces the server's configuration, without connecting to it, by any
    /// JSON.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Client, RawJson};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Client::builder().connection_url("http://localhost:3000");
    /// let configuration = RawJson::new(r#"{"model":"opus"}"#)?;
    /// println!("{:?}", builder.post_configuration(configuration).await?.applies);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`health`](Self::health), and
    /// [`ConfigureError::Refused`].
    pub async fn post_configuration(
        &self,
        json: crate::RawJson,
    ) -> Result<Configured, ConfigureError> {
        routes::configure_json(&self.http_for_configuration()?, json.get().to_owned()).await
    }

    /// Changes the server's configuration, without connecting to it, by a JSON
    /// Merge Patch: what it does not name stays, `null` removes.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Client, RawJson};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let builder = Client::builder().connection_url("http://localhost:3000");
    /// let changes = RawJson::new(r#"{"model":"opus","systemPrompt":null}"#)?;
    /// println!("{:?}", builder.patch_configuration(changes).await?.applies);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`post_configuration`](Self::post_configuration).
    pub async fn patch_configuration(
        &self,
        json: crate::RawJson,
    ) -> Result<Configured, ConfigureError> {
        routes::update_json(&self.http_for_configuration()?, json.get().to_owned()).await
    }

    /// The server's HTTP side, for a configuration, which may hold secrets.
    fn http_for_configuration(&self) -> Result<Http, RequestError> {
        let mut http = self.http()?;
        self.check_plaintext(&http.dialer.address, true)?;
        http.limit = self.options.connect_timeout;
        Ok(http)
    }

    /// Takes from the environment what was not set.
    fn complete(&mut self) {
        if self.environment && !self.configuration.has_credential() {
            self.configuration.anthropic_api_key = Environment::anthropic_api_key();
        }
        // A server that this configuration claims wants the token at once.
        if self.token.is_none() {
            self.token.clone_from(&self.configuration.auth_token);
        }
    }

    /// The settings, checked.
    pub(in crate::api) fn http(&self) -> Result<Http, RequestError> {
        let url = self.connection_url.as_deref().ok_or_else(|| RequestError::InvalidOption {
            option: "connection_url",
            reason: "it is needed: where is the server?".into(),
        })?;
        let address = Address::parse(url)?;
        self.check_plaintext(&address, self.configuration.has_secrets())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let (name, value) = http::header(name, value)?;
            headers.append(name, value);
        }
        let dialer = Dialer::new(address, &self.roots, &Environment::proxies())?;
        let mut http = Http::new(dialer, headers, self.options.connect_timeout);
        if let Some(token) = &self.token {
            http.set_token(token.expose())?;
        }
        Ok(http)
    }

    fn check_plaintext(&self, address: &Address, secrets: bool) -> Result<(), RequestError> {
        if (secrets || self.token.is_some()) && !self.allow_plaintext && !address.is_private() {
            return Err(RequestError::InsecureTransport { host: address.host.clone() });
        }
        Ok(())
    }

    /// The place in the server's stream to begin at.
    fn starting_point(&self, health: Option<&Health>) -> StartingPoint {
        match &self.start {
            Start::After(position) => StartingPoint::Position(position.clone()),
            Start::Beginning => StartingPoint::After(0),
            Start::Now => match health.and_then(Health::next_seq) {
                Some(next) => StartingPoint::After(next.saturating_sub(1)),
                None => StartingPoint::Unnumbered,
            },
        }
    }
}
