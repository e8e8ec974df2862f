//! Login with a PIN, whose SHA-256 is the token.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use claude_relay_listen::answer::{Answer, Refusal, json_answer};
use claude_relay_protocol::Secret;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::settings::pin_token;

/// Number of wrong PINs and tokens within [`WINDOW`], of all peers together: a PIN
/// can be guessed. An address that has had the token before has as many of its own,
/// so that others cannot keep it out.
const MAX_ATTEMPTS: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// Maximum number of addresses that are known to have had the token.
const MAX_KNOWN: usize = 1024;

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

/// The PIN, and the attempts to guess it or its token.
#[derive(Debug)]
pub(super) struct Login {
    token: Secret,
    attempts: Mutex<Attempts>,
}

#[derive(Debug)]
struct Attempts {
    since: Instant,
    /// Wrong ones of addresses that never had the token.
    of_others: u32,
    /// Wrong ones of those that had it.
    of_known: BTreeMap<IpAddr, u32>,
}

/// The refusal of a peer that has been wrong too often.
pub(super) fn too_many() -> Refusal {
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, "too many attempts; wait a minute")
}

/// Refuses what a browser loads for a page of another site, such as a picture: it
/// comes without an `Origin`, from the address of the person who looks at the page, and
/// would use up the attempts of that person.
pub(super) fn check_site(headers: &HeaderMap) -> Result<(), Refusal> {
    // "none" is an address that a person has typed; programs say nothing.
    let is_own = |site: &HeaderValue| matches!(site.as_bytes(), b"same-origin" | b"none");
    let is_own = headers.get_all("sec-fetch-site").iter().all(is_own);
    if !is_own && !headers.contains_key(header::ORIGIN) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "Forbidden: a page of another site has made this request; open the hub's own page",
        ));
    }
    Ok(())
}

impl Login {
    pub(super) fn new(token: Secret) -> Self {
        let attempts = Attempts { since: Instant::now(), of_others: 0, of_known: BTreeMap::new() };
        Self { token, attempts: Mutex::new(attempts) }
    }

    pub(super) fn answer(&self, peer: IpAddr, body: &[u8]) -> Result<Answer, Refusal> {
        let now = Instant::now();
        if !self.may_try(peer, now) {
            return Err(too_many());
        }
        let PinLogin { pin } = serde_json::from_slice(body)
            .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, r#"expected {"pin":"…"}"#))?;
        let token = pin_token(&pin);
        let is_right = self.token.matches(token.as_bytes());
        self.on_attempt(peer, is_right, now);
        if !is_right {
            return Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "Unauthorized: the PIN is wrong; it is the one that the hub was started with (--pin)",
            ));
        }
        Ok(json_answer(StatusCode::OK, &json!(LoggedIn { token })))
    }

    /// Returns true if what a peer gives may be compared.
    pub(super) fn may_try(&self, peer: IpAddr, now: Instant) -> bool {
        let attempts = self.attempts(now);
        *attempts.of_known.get(&peer).unwrap_or(&attempts.of_others) < MAX_ATTEMPTS
    }

    /// A peer has given a PIN or a token.
    pub(super) fn on_attempt(&self, peer: IpAddr, is_right: bool, now: Instant) {
        let mut attempts = self.attempts(now);
        let attempts = &mut *attempts;
        match attempts.of_known.get_mut(&peer) {
            _ if is_right => {
                if attempts.of_known.len() < MAX_KNOWN {
                    attempts.of_known.entry(peer).or_default();
                }
            }
            Some(wrong) => *wrong += 1,
            None => attempts.of_others += 1,
        }
    }

    fn attempts(&self, now: Instant) -> MutexGuard<'_, Attempts> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(attempts.since) >= WINDOW {
            attempts.since = now;
            attempts.of_others = 0;
            attempts.of_known.values_mut().for_each(|wrong| *wrong = 0);
        }
        attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u16) -> IpAddr {
        IpAddr::from([0, 0, 0, 0, 0, 0, 1, number])
    }

    fn wrong_ones(login: &Login, peer: IpAddr, now: Instant) -> usize {
        (0..20)
            .filter(|_| {
                let may_try = login.may_try(peer, now);
                login.on_attempt(peer, false, now);
                may_try
            })
            .count()
    }

    #[test]
    fn attempts_are_limited_and_allowed_again_later() {
        let login = Login::new(pin_token("123456").into());
        let now = Instant::now();
        assert_eq!(wrong_ones(&login, peer(1), now), 10);
        assert_eq!(wrong_ones(&login, peer(2), now), 0);
        assert!(login.may_try(peer(1), now + WINDOW));
    }

    #[test]
    fn an_address_that_had_the_token_has_attempts_of_its_own() {
        let login = Login::new(pin_token("123456").into());
        let now = Instant::now();
        login.on_attempt(peer(1), true, now);
        assert_eq!(wrong_ones(&login, peer(2), now), 10);
        assert_eq!(wrong_ones(&login, peer(1), now), 10);
        assert!(login.may_try(peer(1), now + WINDOW));
    }

    #[test]
    fn addresses_that_are_known_are_bounded() {
        let login = Login::new(pin_token("123456").into());
        let now = Instant::now();
        for number in 0..2000 {
            login.on_attempt(peer(number), true, now);
        }
        assert_eq!(login.attempts(now).of_known.len(), MAX_KNOWN);
        assert_eq!(wrong_ones(&login, peer(1999), now), 10);
    }
}
