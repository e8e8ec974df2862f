//! The builder of a client.

mod callbacks;
mod conversation;
#[cfg(feature = "e2b")]
pub(super) mod copies;
#[cfg(feature = "e2b")]
mod in_sandbox;
mod limits;
mod start;
#[cfg(feature = "e2b")]
mod wanted;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::api::client::Client;
use crate::driver::{Direction, Position, Tap};
use crate::types::Secret;
use crate::types::callbacks::Callbacks;
use crate::types::config::{Configuration, SystemPrompt};
use crate::types::connection::Options;
use crate::types::permission::{Decision, Handler, PermissionRequest};

/// The largest message that is read by default: the server's 64 MiB for a
/// line of the agent, and the frame around it.
pub const MAX_MESSAGE_BYTES: usize = (64 << 20) + 4096;

/// Settings of a [`Client`], each with a default.
#[derive(Clone)]
pub struct ClientBuilder {
    connection_url: Option<String>,
    token: Option<Secret>,
    headers: Vec<(String, String)>,
    configuration: Configuration,
    merges: bool,
    environment: bool,
    allow_plaintext: bool,
    roots: Vec<Vec<u8>>,
    start: Start,
    handler: Option<Handler>,
    callbacks: Callbacks,
    tap: Tap,
    buffer_bytes: usize,
    waits_for_tasks: bool,
    options: Options,
    #[cfg(feature = "e2b")]
    wanted: wanted::Wanted,
}

impl Client {
    /// Begins with a [`ClientBuilder`].
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder().connection_url("http://localhost:3000").start().await?;
    /// client.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

/// The place in the server's stream where a client begins.
#[derive(Debug, Clone)]
enum Start {
    Now,
    Beginning,
    After(Position),
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            connection_url: None,
            token: None,
            headers: Vec::new(),
            configuration: Configuration::default(),
            merges: false,
            environment: true,
            allow_plaintext: false,
            roots: Vec::new(),
            start: Start::Now,
            handler: None,
            callbacks: Callbacks::default(),
            tap: Tap::default(),
            buffer_bytes: 4 << 20,
            waits_for_tasks: true,
            options: Options {
                connect_timeout: Duration::from_secs(10),
                reconnect_for: Duration::from_secs(300),
                ping_interval: Duration::from_secs(30),
                pong_timeout: Duration::from_secs(10),
                max_message_bytes: MAX_MESSAGE_BYTES,
                takeover: false,
                questions: false,
                watch: false,
                hooks: false,
                host_tools: false,
            },
            #[cfg(feature = "e2b")]
            wanted: wanted::Wanted::default(),
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers can hold tokens.
        f.debug_struct("ClientBuilder")
            .field("connection_url", &self.connection_url)
            .field("configuration", &self.configuration)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    /// The server's address: `http`, `https`, `ws` or `wss`. A base path is
    /// kept: `https://host/base` means `https://host/base/ws`. Required,
    /// unless the server is to run in a sandbox.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().connection_url("https://relay.example/base");
    /// ```
    #[must_use]
    pub fn connection_url(mut self, url: impl Into<String>) -> Self {
        self.connection_url = Some(url.into());
        self
    }

    /// The server's token. It goes into the `Authorization` header and
    /// nowhere else.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().token("the server's token");
    /// ```
    #[must_use]
    pub fn token(mut self, token: impl Into<Secret>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// One more header for every request, such as a gateway's own token.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().header("X-Gateway-Key", "a key");
    /// ```
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The agent's configuration. [`start`](Self::start) posts it, which
    /// replaces the server's as a whole. With nothing set, the server's is
    /// left as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Client, Configuration};
    ///
    /// let builder = Client::builder()
    ///     .configuration(Configuration { max_turns: Some(8), ..Default::default() });
    /// ```
    #[must_use]
    pub fn configuration(mut self, configuration: Configuration) -> Self {
        self.configuration = configuration;
        self
    }

    /// Sets whether the [`configuration`](Self::configuration) is laid over the
    /// server's own, which then keeps what it does not name. Without it, it
    /// replaces the server's as a whole. A fresh sandbox has none of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().model("opus").merge_configuration(true);
    /// ```
    #[must_use]
    pub fn merge_configuration(mut self, merges: bool) -> Self {
        self.merges = merges;
        self
    }

    /// Changes one thing of the [`configuration`](Self::configuration).
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder()
    ///     .configure(|configuration| configuration.include_partial_messages = Some(true));
    /// ```
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Configuration)) -> Self {
        change(&mut self.configuration);
        self
    }

    /// Configures the model.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().model("opus");
    /// ```
    #[must_use]
    pub fn model(self, model: impl Into<String>) -> Self {
        self.configure(|configuration| configuration.model = Some(model.into()))
    }

    /// Configures what the agent is told about itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Answer, Client};
    ///
    /// let builder = Client::builder().system_prompt("Answer in one sentence.");
    /// ```
    #[must_use]
    pub fn system_prompt(self, prompt: impl Into<SystemPrompt>) -> Self {
        self.configure(|configuration| configuration.system_prompt = Some(prompt.into()))
    }

    /// Configures the tools that run without asking.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().allowed_tools(["Read", "Glob", "Grep"]);
    /// ```
    #[must_use]
    pub fn allowed_tools<T: Into<String>>(self, tools: impl IntoIterator<Item = T>) -> Self {
        let tools = tools.into_iter().map(Into::into).collect();
        self.configure(|configuration| configuration.allowed_tools = Some(tools))
    }

    /// Configures the key of the Anthropic API.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().anthropic_api_key("a key");
    /// ```
    #[must_use]
    pub fn anthropic_api_key(self, key: impl Into<Secret>) -> Self {
        self.configure(|configuration| configuration.anthropic_api_key = Some(key.into()))
    }

    /// Posts `ANTHROPIC_API_KEY` of this program's environment
    /// when no credential is configured. Default: yes, as the original client
    /// does. The server's own credential then no longer counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().environment(false);
    /// ```
    #[must_use]
    pub fn environment(mut self, use_it: bool) -> Self {
        self.environment = use_it;
        self
    }

    /// Allows secrets to be sent unencrypted to another machine, where the
    /// network itself is trusted. Default: refused with
    /// [`RequestError::InsecureTransport`](crate::RequestError::InsecureTransport).
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().allow_plaintext(true);
    /// ```
    #[must_use]
    pub fn allow_plaintext(mut self, allow: bool) -> Self {
        self.allow_plaintext = allow;
        self
    }

    /// A certificate, in PEM, to trust beside the platform's.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().root_certificate("-----BEGIN CERTIFICATE-----\n…");
    /// ```
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Begins with everything the server still keeps, instead of what comes
    /// from now on.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().from_beginning();
    /// ```
    #[must_use]
    pub fn from_beginning(mut self) -> Self {
        self.start = Start::Beginning;
        self
    }

    /// Begins with what comes from now on, as it is by default for an address.
    /// After [`attach`](Client::attach) nothing is given again then.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().from_now();
    /// ```
    #[must_use]
    pub fn from_now(mut self) -> Self {
        self.start = Start::Now;
        self
    }

    /// Goes on where another client left off: [`Client::position`]. What is
    /// no longer kept is a [`Gap`](crate::ServerMessage::Gap).
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Client, Position};
    ///
    /// let builder = Client::builder()
    ///     .resume_at(Position { stream: "a stream".into(), seq: 41 });
    /// ```
    #[must_use]
    pub fn resume_at(mut self, position: Position) -> Self {
        self.start = Start::After(position);
        self
    }

    /// Throws another client out, if one is connected. Default: the server
    /// refuses, which is [`ConnectError::Busy`](crate::ConnectError::Busy).
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().takeover(true);
    /// ```
    #[must_use]
    pub fn takeover(mut self, takeover: bool) -> Self {
        self.options.takeover = takeover;
        self
    }

    /// Decides about every [`PermissionRequest`]. Several can be asked at
    /// once. A decision is given up when the agent withdraws the request; a
    /// handler that panics denies.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Client, Decision};
    ///
    /// let builder = Client::builder()
    ///     .on_permission(|request| async move {
    ///         match request.tool.as_str() {
    ///             "Read" => Decision::allow(),
    ///             tool => Decision::deny(format!("{tool} is not allowed here")),
    ///         }
    ///     });
    /// ```
    #[must_use]
    pub fn on_permission<F, D>(mut self, decide: F) -> Self
    where
        F: Fn(PermissionRequest) -> D + Send + Sync + 'static,
        D: Future<Output = Decision> + Send + 'static,
    {
        self.handler = Some(Arc::new(move |request| Box::pin(decide(request))));
        self
    }

    /// Takes the agent's forms and dialogs for a person: each comes as
    /// [`ServerMessage::AgentRequest`](crate::ServerMessage::AgentRequest) and
    /// waits for [`Client::answer`]. Default: no, and the agent is told at once
    /// that nobody answers.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder().questions(true);
    /// ```
    #[must_use]
    pub fn questions(mut self, questions: bool) -> Self {
        self.options.questions = questions;
        self
    }

    /// Sees every message as it is sent and received, for a trace. It runs in
    /// the middle of the traffic, so it must be quick. Secrets of the
    /// configuration are not part of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Client;
    ///
    /// let builder = Client::builder()
    ///     .on_traffic(|direction, text| println!("{direction:?} {text}"));
    /// ```
    #[must_use]
    pub fn on_traffic(mut self, tap: impl Fn(Direction, &str) + Send + Sync + 'static) -> Self {
        self.tap = Tap::new(tap);
        self
    }
}
