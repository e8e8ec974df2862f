//! Tests of the access rules, as tables. The cases come from known attacks:
//! pages that opened a WebSocket to localhost, DNS names that resolve to
//! 127.0.0.1, prefixes that passed for hosts.

use hyper::http::Request;
use proptest::prelude::*;

use super::*;

mod names;
mod tokens;

/// All but the page, which every Host and Origin may read.
const GUARDED: [Endpoint; 6] = [
    Endpoint::Unknown,
    Endpoint::Health,
    Endpoint::Ready,
    Endpoint::Metrics,
    Endpoint::Config,
    Endpoint::Socket,
];

fn rules() -> AccessRules {
    AccessRules { loopback: true, ..AccessRules::default() }
}

fn with_token() -> AccessPolicy {
    AccessPolicy::new(AccessRules { token: Some(secret("correct-horse")), ..rules() })
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// The head of a `GET` with these headers.
fn get(uri: &str, headers: &[(&str, &str)]) -> Parts {
    head(Method::GET, uri, headers)
}

fn head(method: Method, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn status(access: &AccessPolicy, endpoint: Endpoint, head: &Parts) -> u16 {
    access.check(endpoint, head).map_or_else(|denial| denial.status.as_u16(), |_| 200)
}

/// Status of every endpoint but the page for a request with this Host alone.
fn host(access: &AccessPolicy, host: &str) -> u16 {
    let head = get("/", &[("host", host)]);
    let answers = GUARDED.map(|endpoint| status(access, endpoint, &head));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{host}: {answers:?}");
    answers[0]
}

/// Status of every endpoint but the page for this Origin under this Host.
fn origin(access: &AccessPolicy, host: &str, origin: &str) -> u16 {
    let head = get("/", &[("host", host), ("origin", origin)]);
    let answers = GUARDED.map(|endpoint| status(access, endpoint, &head));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{origin}: {answers:?}");
    answers[0]
}

/// Status of `/config` and `/ws`, and true if `/health` would give its details.
fn token(access: &AccessPolicy, uri: &str, authorizations: &[&str]) -> (u16, bool) {
    let mut headers = vec![("host", "localhost")];
    headers.extend(authorizations.iter().map(|value| ("authorization", *value)));
    let head = get(uri, &headers);
    let guarded =
        [Endpoint::Config, Endpoint::Socket].map(|endpoint| status(access, endpoint, &head));
    assert_eq!(guarded[0], guarded[1]);
    let open = [Endpoint::Page, Endpoint::Health]
        .map(|endpoint| access.check(endpoint, &head).unwrap().authorized);
    assert_eq!(open[0], open[1]);
    (guarded[0], open[0])
}

/// Texts similar to those that pass.
fn near_origin() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => proptest::collection::vec(
            prop_oneof![
                Just("http"), Just("https"), Just("://"), Just(":"), Just("/"), Just("@"), Just("."),
                Just("localhost"), Just("evil.example"), Just("3000"), Just("80"), Just("127.0.0.1"),
                Just("["), Just("::1"), Just("]"), Just(" "), Just("\t"), Just(","), Just("null"),
                Just("%"), Just("#"), Just("?"), Just("\\"),
            ],
            0..9,
        )
        .prop_map(|parts| parts.concat()),
        1 => "\\PC{0,40}",
    ]
}

proptest! {
    #[test]
    fn only_the_own_origin_passes(text in near_origin()) {
        let access = AccessPolicy::new(rules());
        let mut head = get("/", &[("host", "localhost:3000")]);
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            head.headers.insert(ORIGIN, value);
            let own = ["http://localhost:3000", "https://localhost:3000"];
            let passes = own.contains(&text.as_str());
            prop_assert_eq!(status(&access, Endpoint::Socket, &head) == 200, passes, "{}", text);
        }
    }

    #[test]
    fn a_host_that_passes_is_loopback_and_maybe_a_port(text in near_origin()) {
        let access = AccessPolicy::new(rules());
        let mut head = get("/", &[]);
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            head.headers.insert(HOST, value);
            if status(&access, Endpoint::Socket, &head) == 200 {
                let name = text.rsplit_once(':').filter(|(host, _)| !host.ends_with(':'));
                let name = name.map_or(text.as_str(), |(host, _)| host);
                let loopback = matches!(name, "localhost" | "localhost." | "[::1]")
                    || name.starts_with("127.") && name.parse::<std::net::Ipv4Addr>().is_ok();
                prop_assert!(loopback, "{}", text);
            }
        }
    }

    #[test]
    fn only_the_token_passes(offered in "[ -~]{0,20}", near in 0..15_usize, sign in "[ -~]") {
        let access = with_token();
        let mut mutated = "correct-horse".to_owned();
        mutated.insert_str(near.min(mutated.len()), &sign);
        for text in [offered, mutated] {
            let header = format!("Bearer {text}");
            let passes = text.trim() == "correct-horse";
            prop_assert_eq!(token(&access, "/", &[&header]).1, passes, "{}", text);
        }
    }
}
