//! The server's HTTP routes, typed.

use std::collections::BTreeMap;

use claude_relay_protocol::json::{elements, fields};
use serde_json::value::RawValue;

use crate::error::{ConfigureError, RequestError};
use crate::net::http::{Answer, Http};
use crate::types::config::Configuration;
use crate::types::raw_json::{RawJson, text_of};

/// The server's answer to a configuration.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The configuration as it is now, without its secrets.
    pub config: RawJson,
    /// The time at which it takes effect.
    pub applies: Applies,
    /// Fields that the server does not know and did not keep.
    pub ignored: Vec<String>,
    /// For some of those, the known name that was probably meant.
    pub hints: BTreeMap<String, String>,
    /// For options of the SDK among those, why a configuration cannot carry
    /// them.
    pub reasons: BTreeMap<String, String>,
    /// Names of the secrets that are set, such as `env.TOKEN`.
    pub secrets: Vec<String>,
}

/// The time at which a configuration takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applies {
    /// With the next message.
    Now,
    /// The agent is running with another one; the next client to connect gets
    /// this one, in the same conversation.
    NextStart,
    /// The server does not say.
    Unknown,
}

/// The state of the server.
#[derive(Debug, Clone)]
pub struct Health {
    /// The server's version.
    pub version: Option<String>,
    /// All it says, as JSON. Without the token that is no more than this.
    pub details: RawJson,
}

impl Health {
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
    let names = ["config", "applies", "ignored", "secrets", "hints", "reasons"];
    let [config, applies, ignored, secrets, hints, reasons] = fields(text, names)
        .map_err(|_| http.not_a_relay("its answer about the configuration is not JSON"))?;
    Ok(Configured {
        config: config_field(http, config)?,
        applies: match text_of(applies).as_deref() {
            Some("now") => Applies::Now,
            Some("next_start") => Applies::NextStart,
            _ => Applies::Unknown,
        },
        ignored: texts(ignored),
        hints: about(hints),
        reasons: about(reasons),
        secrets: texts(secrets),
    })
}

fn texts(list: Option<&RawValue>) -> Vec<String> {
    let list = list.and_then(|list| elements(list).ok()).unwrap_or_default();
    list.into_iter().filter_map(|name| text_of(Some(name)).map(Into::into)).collect()
}

fn about(map: Option<&RawValue>) -> BTreeMap<String, String> {
    map.and_then(|map| serde_json::from_str(map.get()).ok()).unwrap_or_default()
}

/// `GET /config`.
pub(crate) async fn configuration(http: &Http) -> Result<RawJson, RequestError> {
    let answer = http.get("/config").await?;
    let text = ok_text(http, &answer)?;
    let [config] = fields(text, ["config"])
        .map_err(|_| http.not_a_relay("its answer to GET /config is not JSON"))?;
    config_field(http, config)
}

fn config_field(http: &Http, config: Option<&RawValue>) -> Result<RawJson, RequestError> {
    config
        .map(RawJson::from_raw)
        .ok_or_else(|| http.not_a_relay("its answer to /config holds no `config`"))
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
