//! Login with a PIN, whose SHA-256 is the token.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use claude_relay_protocol::Secret;
use claude_relay_server::http::{Answer, Refusal, json_answer};
use hyper::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::settings::pin_token;

/// Number of attempts within [`WINDOW`], of all peers together: a PIN can be
/// guessed.
const MAX_ATTEMPTS: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// The body of a login.
#[derive(Deserialize, JsonSchema)]
pub(super) struct PinLogin {
    /// The PIN.
    pin: String,
}

/// The answer to a login.
#[derive(Serialize, JsonSchema)]
pub(super) struct LoggedIn {
    /// The token for the query of the WebSocket and for `Authorization`.
    token: String,
}

/// The PIN, and the attempts to guess it.
#[derive(Debug)]
pub(super) struct Login {
    token: Secret,
    attempts: Mutex<(Instant, u32)>,
}

impl Login {
    pub(super) fn new(token: Secret) -> Self {
        Self { token, attempts: Mutex::new((Instant::now(), 0)) }
    }

    pub(super) fn answer(&self, body: &[u8]) -> Result<Answer, Refusal> {
        if !self.may_try(Instant::now()) {
            return Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many attempts; wait a minute",
            ));
        }
        let PinLogin { pin } = serde_json::from_slice(body)
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, r#"expected {"pin":"…"}"#))?;
        let token = pin_token(&pin);
        if !self.token.matches(token.as_bytes()) {
            return Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Unauthorized: the PIN is wrong; it is the one that the hub was started with (--pin)",
            ));
        }
        Ok(json_answer(StatusCode::OK, &json!(LoggedIn { token })))
    }

    fn may_try(&self, now: Instant) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = &mut *attempts;
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= MAX_ATTEMPTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_limited_and_allowed_again_later() {
        let login = Login::new(pin_token("123456").into());
        let now = Instant::now();
        assert_eq!((0..20).filter(|_| login.may_try(now)).count(), 10);
        assert!(login.may_try(now + WINDOW));
    }
}
