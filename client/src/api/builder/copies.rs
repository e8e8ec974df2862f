//! Copies of a sandbox: each gets a server of its own.

use std::time::{Duration, Instant};

use claude_relay_e2b::Sandbox;
use hyper::StatusCode;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{ClientBuilder, Start};
use crate::driver::new_backoff;
use crate::e2b::SandboxRef;
use crate::error::{ConnectError, RequestError};
use crate::net::http::Http;
use crate::types::Secret;

/// The longest time in which the server of a copy has to answer. A copy that has
/// just been made is reached within seconds.
const RECLAIM_TIMEOUT: Duration = Duration::from_secs(30);

/// Outcome of [`ClientBuilder::reclaim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reclaimed {
    /// Its server has a token of its own.
    Now,
    /// No client of this kind has claimed its server: there is no token to exchange.
    Unclaimed,
    /// Its server is one that exchanges no token: it keeps that of the original.
    Unsupported,
}

impl ClientBuilder {
    /// Gives the server in `copy`, a fork of a sandbox, a token of its own. From then
    /// on the original's token opens the original alone, and the conversation of the
    /// copy goes on under an id of its own, after a turn that still runs. Of the
    /// builder's settings, certificates and the limits of a connection count.
    ///
    /// A server that is not reached is asked again for 30 s.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use claude_relay_client::Client;
    /// use claude_relay_client::e2b::{E2b, Options};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let e2b = E2b::new(Options::default().resolve()?)?;
    /// let id = "i0123456789abcdef".parse()?;
    /// for copy in e2b.fork(&id, 2, Duration::from_secs(600)).await? {
    ///     Client::builder().reclaim(&copy?).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// About the connection, or the file in the sandbox that keeps the token. The copy
    /// runs on, and may have either token.
    pub async fn reclaim(&self, copy: &Sandbox) -> Result<Reclaimed, ConnectError> {
        let copy = SandboxRef::of(copy.clone());
        let Some(former) = copy.stored_token().await? else {
            return Ok(Reclaimed::Unclaimed);
        };
        let token: Secret = claude_relay_random::hexadecimal::<32>().into();
        let (url, headers) = copy.endpoint()?;
        let mut place = Self { connection_url: Some(url), ..self.clone() };
        place.headers.extend(headers);
        let with = |token: &Secret| Self { token: Some(token.clone()), ..place.clone() }.http();
        let (by_former, by_own) = (with(&former)?, with(&token)?);
        let deadline = Instant::now() + RECLAIM_TIMEOUT;
        let mut backoff = new_backoff();
        loop {
            match exchange(&by_former, &by_own, &token).await {
                Ok(true) => break,
                Ok(false) => return Ok(Reclaimed::Unsupported),
                Err(error) if error.is_transient() && Instant::now() < deadline => {}
                Err(error) => return Err(error.into()),
            }
            copy.still_there().await?;
            sleep(backoff.next_jittered(claude_relay_random::number())).await;
        }
        copy.store_token(&token).await?;
        Ok(Reclaimed::Now)
    }
}

/// A sandbox that was used before: one of a snapshot.
pub(super) struct Used {
    /// Gives the token of the server in it, once that has been read.
    pub(super) told: Option<oneshot::Receiver<Option<Secret>>>,
    former: Option<Secret>,
    /// The place in the stream to begin at, where something has been said.
    pub(super) start: Start,
}

impl Used {
    pub(super) fn of(start: &Start) -> Self {
        Self { told: None, former: None, start: start.clone() }
    }

    /// Exchanges the token of a server that has `refused` to be claimed with `token`.
    pub(super) async fn reclaim(
        &mut self,
        http: &Http,
        token: Option<&Secret>,
        refused: RequestError,
    ) -> Result<(), RequestError> {
        if let Some(told) = self.told.take() {
            // Nothing is sent where it cannot be read, and the start fails of that.
            self.former = told.await.ok().flatten();
        }
        let (Some(former), Some(token)) = (&self.former, token) else { return Err(refused) };
        let mut by_former = http.clone().on_separate_connections();
        by_former.set_token(former.expose())?;
        match exchange(&by_former, http, token).await? {
            true => Ok(()),
            false => Err(refused),
        }
    }
}

/// Exchanges the token; false where the server does not know of that.
async fn exchange(by_former: &Http, by_own: &Http, token: &Secret) -> Result<bool, RequestError> {
    let body = serde_json::json!({ "authToken": token.expose() }).to_string();
    let answer = by_former.post("/reclaim", body).await?;
    match answer.status {
        StatusCode::OK => Ok(true),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::CONFLICT => Ok(false),
        // The answer to an earlier request may have been lost.
        StatusCode::UNAUTHORIZED => match by_own.get("/config").await?.status {
            StatusCode::OK => Ok(true),
            _ => Err(by_former.refusal(&answer)),
        },
        _ => Err(by_former.refusal(&answer)),
    }
}
