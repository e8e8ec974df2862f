//! The server's HTTP routes, typed.

use claude_relay_protocol::json::fields;

use crate::error::{ConfigureError, RequestError};
use crate::net::http::{Answer, Http};
use crate::types::config::{Configuration, Configured};
use crate::types::raw_json::{RawJson, text_of};

/// The state of the server.
#[derive(Debug, Clone)]
pub struct Health {
    /// The server's version.
    pub version: Option<String>,
    /// All it says, as JSON. Without the token that is no more than this.
    pub details: RawJson,
}

impl Health {
    /// Returns true if the server takes the configuration with a connection.
    pub(crate) fn takes_configuration(&self) -> bool {
        fields(self.details.get(), ["agent_state"]).is_ok_and(|[state]| state.is_some())
    }

    /// The number the next frame of the server's stream will get.
    pub(crate) fn next_seq(&self) -> Option<u64> {
        let [replay] = fields(self.details.get(), ["replay"]).ok()?;
        let [next] = fields(replay?.get(), ["next"]).ok()?;
        serde_json::from_str(next?.get()).ok()
    }
}

/// `POST /config`.
pub(crate) async fn configure(
    http: &Http,
    configuration: &Configuration,
) -> Result<Configured, ConfigureError> {
    configure_json(http, text(configuration)?).await
}

fn text(configuration: &Configuration) -> Result<String, RequestError> {
    serde_json::to_string(configuration).map_err(|error| RequestError::InvalidOption {
        option: "configuration",
        reason: error.to_string(),
    })
}

/// `PATCH /config`: what is not said stays. The original server knows only
/// `POST`, and has nothing but what it is told with it.
pub(crate) async fn update(
    http: &Http,
    configuration: &Configuration,
) -> Result<Configured, ConfigureError> {
    let body = text(configuration)?;
    let answer = http.patch("/config", body.clone()).await?;
    match answer.status.as_u16() {
        404 | 405 => configure_json(http, body).await,
        _ => configured(http, &answer),
    }
}

/// `PATCH /config` with any JSON.
pub(crate) async fn update_json(http: &Http, body: String) -> Result<Configured, ConfigureError> {
    configured(http, &http.patch("/config", body).await?)
}

/// `POST /config` with any JSON.
pub(crate) async fn configure_json(
    http: &Http,
    body: String,
) -> Result<Configured, ConfigureError> {
    configured(http, &http.post("/config", body).await?)
}

fn configured(http: &Http, answer: &Answer) -> Result<Configured, ConfigureError> {
    if let status @ (400 | 413 | 422) = answer.status.as_u16() {
        return Err(ConfigureError::Refused { status, message: answer.message() });
    }
    let text = ok_text(http, answer)?;
    Configured::read(text).ok_or_else(|| {
        http.not_a_relay("its answer about the configuration holds no `config`").into()
    })
}

/// `GET /config`.
pub(crate) async fn configuration(http: &Http) -> Result<Configured, RequestError> {
    let answer = http.get("/config").await?;
    let text = ok_text(http, &answer)?;
    Configured::read(text)
        .ok_or_else(|| http.not_a_relay("its answer to GET /config holds no `config`"))
}

/// `GET /health`.
pub(crate) async fn health(http: &Http) -> Result<Health, RequestError> {
    let answer = http.get("/health").await?;
    health_answer(http, &answer)
}

/// `GET /health` of a server that may be the original, which has none.
pub(crate) async fn health_if_any(http: &Http) -> Result<Option<Health>, RequestError> {
    let answer = http.get("/health").await?;
    match answer.status.as_u16() {
        404 | 405 => Ok(None),
        _ => health_answer(http, &answer).map(Some),
    }
}

fn health_answer(http: &Http, answer: &Answer) -> Result<Health, RequestError> {
    let text = ok_text(http, answer)?;
    let [version] = fields(text, ["version"])
        .map_err(|_| http.not_a_relay("its answer to GET /health is not JSON"))?;
    let version = text_of(version).map(Into::into);
    let details = RawJson::new(text.to_owned())
        .map_err(|_| http.not_a_relay("its answer to GET /health is not JSON"))?;
    Ok(Health { version, details })
}

fn ok_text<'a>(http: &Http, answer: &'a Answer) -> Result<&'a str, RequestError> {
    if !answer.status.is_success() {
        return Err(http.refusal(answer));
    }
    str::from_utf8(&answer.body).map_err(|_| http.not_a_relay("its answer is not UTF-8"))
}
