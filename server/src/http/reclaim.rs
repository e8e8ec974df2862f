//! `POST /reclaim`: the owner of a server that was claimed gives it another
//! token. It is for a copy of a running server, which has the token, the
//! connections and the conversation of the one it was copied from.

use bytes::Bytes;
use claude_relay_listen::access::Endpoint;
use claude_relay_listen::answer::{Answer, Refusal, json_answer};
use claude_relay_protocol::{ConfigError, QueryConfig, Secret};
use hyper::StatusCode;
use hyper::http::request::Parts;
use serde_json::json;

use super::routes::Routes;

impl Routes {
    /// Exchanges the token, and ends what belongs to the former one.
    pub(super) async fn reclaim(&self, head: Parts, body: Bytes) -> Result<Answer, Refusal> {
        let token = token(&body)?;
        let _permit = self.configuring.acquire().await;
        // The token may have been exchanged while this body was arriving.
        self.admit(Endpoint::Reclaim, &head)?;
        self.access
            .reclaim(token.clone())
            .map_err(|error| Refusal::new(StatusCode::CONFLICT, error.to_string()))?;
        // What the copy draws from now on is its own.
        claude_relay_random::mix(&body);
        self.keep_claim(&token);
        self.session.change_owner().await.map_err(|_| Refusal::shutting_down())?;
        if let Ok(runs) = &self.runs {
            runs.end_all().await;
        }
        Ok(json_answer(StatusCode::OK, &json!({ "success": true })))
    }
}

/// Reads `{"authToken": …}`, by the rules of the configuration's field.
fn token(body: &[u8]) -> Result<Secret, Refusal> {
    let bad = |text: String| Refusal::new(StatusCode::BAD_REQUEST, text);
    let none = QueryConfig::default();
    let parsed =
        QueryConfig::parse(body, &none).map_err(|error: ConfigError| bad(error.to_string()))?;
    match parsed.auth_token {
        Some(token) if parsed.config.is_equivalent(&none) && parsed.ignored.is_empty() => Ok(token),
        _ => Err(bad("expected {\"authToken\": TOKEN} and nothing else".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn nothing_but_a_token_is_taken() {
        assert!(token(br#"{"authToken":"0123456789"}"#).is_ok());
        for body in [
            "{}",
            "null",
            r#"{"authToken":"short"}"#,
            r#"{"authToken":"***"}"#,
            r#"{"authToken":"0123456789","model":"m"}"#,
            r#"{"authToken":"0123456789","unknown":1}"#,
            r#"{"authToken":1}"#,
        ] {
            let refusal = token(body.as_bytes()).map(drop).expect_err(body);
            assert_eq!(refusal.status, hyper::StatusCode::BAD_REQUEST, "{body}");
        }
    }
}
