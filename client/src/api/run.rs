//! Connections to a run of `/agent`, for a program that stands in for the CLI
//! towards the official Agent SDKs. Messages go whole; their numbers and what
//! is sent again are that program's affair (`claude_relay_protocol::run`).

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use hyper::HeaderMap;

use crate::api::environment::Environment;
use crate::error::{ConnectionError, RequestError};
use crate::net::address::Address;
use crate::net::dial::Dialer;
use crate::net::http::Http;
use crate::net::socket;
use crate::net::socket::MessageForm;
use crate::types::Secret;

/// The most bytes of a message: a line of the agent in its envelope.
const MESSAGE_BYTES: usize = (64 << 20) + 1024;

/// A server with runs.
#[derive(Clone)]
pub struct RunServer {
    http: Http,
}

/// The reading half of a connection to a run.
pub struct RunReader(socket::Reader);

/// The writing half.
pub struct RunWriter(socket::Writer);

/// A message that has come.
#[derive(Debug)]
pub enum RunIncoming {
    /// A message of the server.
    Text(RunText),
    /// A ping, to be answered with its payload.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// The end of the connection.
    Close {
        /// The close code.
        code: u16,
        /// The server's words.
        reason: String,
    },
}

/// A text whose parts can be kept without a copy.
#[derive(Debug, Clone)]
pub struct RunText(ByteString);

impl RunText {
    /// Returns the text.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(text: claude_relay_client::RunText) -> Result<(), Box<dyn std::error::Error>> {
    /// assert!(text.as_str().starts_with('{'));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a part of the text, which shares its memory. `part` must be a
    /// slice of it.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(text: claude_relay_client::RunText) -> Result<(), Box<dyn std::error::Error>> {
    /// let first = text.share(&text.as_str()[..1]);
    /// assert_eq!(&first[..], b"{");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn share(&self, part: &str) -> Bytes {
        self.0.as_bytes().slice_ref(part.as_bytes())
    }
}

impl RunServer {
    /// A server at `url`. All steps of connecting together take `limit` at
    /// most. What a run sends may hold credentials, so it goes unencrypted to
    /// this machine alone, unless `allow_plaintext` is set.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::RunServer;
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let limit = std::time::Duration::from_secs(10);
    /// let server = RunServer::new("http://127.0.0.1:3000", None, limit, false)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the address or the token cannot be used.
    pub fn new(
        url: &str,
        token: Option<&Secret>,
        limit: Duration,
        allow_plaintext: bool,
    ) -> Result<Self, RequestError> {
        let address = Address::parse(url)?;
        if !address.is_private() && !allow_plaintext {
            return Err(RequestError::InsecureTransport { host: address.host.clone() });
        }
        let dialer = Dialer::new(address, &[], &Environment::proxies())?;
        let mut http = Http::new(dialer, HeaderMap::new(), limit);
        if let Some(token) = token {
            http.set_token(token.expose())?;
        }
        Ok(Self { http })
    }

    /// The server of a client.
    pub(super) fn of(http: Http) -> Self {
        Self { http }
    }

    /// Connects to the run `id`, of which everything up to `after` is there.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(server: claude_relay_client::RunServer) -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut reader, writer) = server.connect("0123456789abcdef", 0).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if there is no connection, or the server refuses it:
    /// [`RequestError::RunLost`] if it does not know the run.
    pub async fn connect(
        &self,
        id: &str,
        after: u64,
    ) -> Result<(RunReader, RunWriter), RequestError> {
        let upgraded = self.http.upgrade(&format!("/agent?run={id}&after={after}")).await?;
        let (reader, writer) = socket::split(upgraded, MESSAGE_BYTES);
        Ok((RunReader(reader), RunWriter(writer)))
    }
}

impl RunReader {
    /// The next message. Cancelling it loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::RunIncoming;
    ///
    /// # async fn example(mut reader: claude_relay_client::RunReader) -> Result<(), Box<dyn std::error::Error>> {
    /// if let RunIncoming::Text(text) = reader.read().await? {
    ///     println!("{}", text.as_str());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is lost or the server breaks the
    /// protocol.
    pub async fn read(&mut self) -> Result<RunIncoming, ConnectionError> {
        Ok(match self.0.read().await? {
            socket::Incoming::Text(text) => RunIncoming::Text(RunText(text)),
            socket::Incoming::Ping(payload) => RunIncoming::Ping(payload),
            socket::Incoming::Pong(_) => RunIncoming::Pong,
            socket::Incoming::Close { code, reason } => RunIncoming::Close { code, reason },
        })
    }
}

impl RunWriter {
    /// Sends one message; a long one in parts, with a ping behind each, or in the
    /// [form](Self::set_form) that was set.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(mut writer: claude_relay_client::RunWriter) -> Result<(), Box<dyn std::error::Error>> {
    /// writer.text(r#"{"type":"ack","seq":1}"#.to_owned()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the connection is lost.
    pub async fn text(&mut self, text: String) -> Result<(), ConnectionError> {
        self.0.text(text).await
    }

    /// Sets the form of the long messages that follow.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{MessageForm, RunWriter};
    ///
    /// # async fn example(mut writer: RunWriter, form: MessageForm) {
    /// writer.set_form(form);
    /// # }
    /// ```
    pub fn set_form(&mut self, form: MessageForm) {
        self.0.set_form(form);
    }

    /// Sends a ping.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(mut writer: claude_relay_client::RunWriter) -> Result<(), Box<dyn std::error::Error>> {
    /// writer.ping().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`RunWriter::text`].
    pub async fn ping(&mut self) -> Result<(), ConnectionError> {
        self.0.ping(&[]).await
    }

    /// Answers a ping.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(mut writer: claude_relay_client::RunWriter) -> Result<(), Box<dyn std::error::Error>> {
    /// writer.pong(b"1").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`RunWriter::text`].
    pub async fn pong(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        self.0.pong(payload).await
    }

    /// Sends a close frame.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(mut writer: claude_relay_client::RunWriter) -> Result<(), Box<dyn std::error::Error>> {
    /// writer.close().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`RunWriter::text`].
    pub async fn close(&mut self) -> Result<(), ConnectionError> {
        self.0.close(1000).await
    }

    /// Hands what was written to the system.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(mut writer: claude_relay_client::RunWriter) -> Result<(), Box<dyn std::error::Error>> {
    /// writer.flush().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As of [`RunWriter::text`].
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        self.0.flush().await
    }
}
