//! The rules as tables. What the cases were taken from is known: pages that
//! opened a WebSocket to localhost, names pointed at 127.0.0.1, prefixes that
//! passed for hosts.

use hyper::http::Request;
use proptest::prelude::*;

use super::*;

const EVERY_DOOR: [Door; 4] = [Door::Page, Door::Health, Door::Config, Door::Socket];

fn rules() -> AccessRules {
    AccessRules { loopback: true, ..AccessRules::default() }
}

fn with_token() -> Access {
    Access::new(AccessRules { token: Some(secret("correct-horse")), ..rules() })
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

fn status(access: &Access, door: Door, head: &Parts) -> u16 {
    access.check(door, head).map_or_else(|denial| denial.status.as_u16(), |_| 200)
}

/// What every door says to a request with this Host and nothing else.
fn host(access: &Access, host: &str) -> u16 {
    let head = get("/", &[("host", host)]);
    let answers = EVERY_DOOR.map(|door| status(access, door, &head));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{host}: {answers:?}");
    answers[0]
}

/// What every door says to this Origin under this Host.
fn origin(access: &Access, host: &str, origin: &str) -> u16 {
    let head = get("/", &[("host", host), ("origin", origin)]);
    let answers = EVERY_DOOR.map(|door| status(access, door, &head));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{origin}: {answers:?}");
    answers[0]
}

#[test]
fn on_a_loopback_bind_the_host_is_a_loopback_one() {
    let access = Access::new(rules());
    for ours in [
        "localhost",
        "localhost:3000",
        "LocalHost:3000",
        "localhost.",
        "localhost.:3000",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.8.9.10:65535",
        "[::1]",
        "[::1]:3000",
        "[0:0:0:0:0:0:0:1]:3000",
        "[::ffff:127.0.0.1]:3000",
    ] {
        assert_eq!(host(&access, ours), 200, "{ours}");
    }
    for foreign in [
        "attacker.example",
        "attacker.example:3000",
        "localhost.attacker.example",
        "localhost-attacker.example",
        "attackerlocalhost",
        "127.0.0.1.attacker.example:3000",
        "127.0.0.1.nip.example",
        "app.localhost",
        "localhost.localdomain",
        "0.0.0.0:3000",
        "[::]:3000",
        "[::2]",
        "192.168.1.5",
        "10.0.0.1:3000",
        "126.255.255.255",
        "128.0.0.1",
        "[::ffff:10.0.0.1]",
        // Only some programs take these for 127.0.0.1. No browser sends them.
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
    ] {
        assert_eq!(host(&access, foreign), 403, "{foreign}");
    }
}

#[test]
fn a_malformed_host_is_a_bad_request_on_any_bind() {
    for loopback in [true, false] {
        let access = Access::new(AccessRules { loopback, ..rules() });
        for bad in [
            "",
            " ",
            ":3000",
            "localhost:",
            "localhost:x",
            "localhost:+80",
            "localhost:-1",
            "localhost:65536",
            "localhost:3000:3000",
            "localhost:3000,attacker.example",
            "user@localhost",
            "attacker.example@localhost:3000",
            "localhost/",
            "localhost#x",
            "localhost?x",
            "http://localhost",
            "local host",
            "..",
            ".",
            ".localhost",
            "localhost..",
            "%6cocalhost",
            "::1",
            "[::1",
            "::1]",
            "[localhost]",
            "[127.0.0.1]",
            "[::1%lo]",
            "[::1]x",
            "[::1]x:3000",
            "x[::1]",
            "[[::1]]",
            "[]",
        ] {
            assert_eq!(host(&access, bad), 400, "{bad:?}");
        }
    }
    let none = get("/", &[]);
    let two = get("/", &[("host", "localhost"), ("host", "localhost")]);
    let not_ascii = {
        let mut head = get("/", &[]);
        head.headers.insert(HOST, HeaderValue::from_bytes(b"localh\xf6st").unwrap());
        head
    };
    for head in [none, two, not_ascii] {
        for door in EVERY_DOOR {
            assert_eq!(status(&Access::new(rules()), door, &head), 400, "{head:?}");
        }
    }
}

#[test]
fn an_absolute_target_has_to_agree_with_the_host() {
    let access = Access::new(rules());
    let ask = |uri, host| status(&access, Door::Health, &get(uri, &[("host", host)]));
    assert_eq!(ask("http://localhost:3000/health", "localhost:3000"), 200);
    assert_eq!(ask("http://LOCALHOST:3000/health", "localhost:3000"), 200);
    assert_eq!(ask("http://attacker.example/health", "localhost:3000"), 400);
    assert_eq!(ask("http://localhost:3001/health", "localhost:3000"), 400);
    assert_eq!(ask("http://a@localhost:3000/health", "localhost:3000"), 400);
    assert_eq!(ask("http://attacker.example/health", "attacker.example"), 403);
}

#[test]
fn a_host_can_be_allowed_by_name() {
    let allow_hosts = ["Relay.example", "192.168.1.5", "[fd00::7]", "app.localhost"];
    let allow_hosts: Vec<_> = allow_hosts.map(|host| host.parse().unwrap()).into();
    for loopback in [true, false] {
        let access = Access::new(AccessRules {
            loopback,
            allow_hosts: allow_hosts.clone(),
            ..AccessRules::default()
        });
        for ours in [
            "relay.example",
            "RELAY.EXAMPLE:8443",
            "192.168.1.5:3000",
            "[fd00:0::7]",
            "app.localhost:3000",
            "localhost",
            "127.0.0.1:3000",
        ] {
            assert_eq!(host(&access, ours), 200, "{ours}");
        }
        for foreign in ["relay.example.", "x.relay.example", "relay.example.x", "192.168.1.6"] {
            assert_eq!(host(&access, foreign), 403, "{foreign}");
        }
    }
}

#[test]
fn bound_to_another_address_every_well_formed_host_passes() {
    let access = Access::new(AccessRules::default());
    for name in ["3000-isbx0f3k1.e2b.app", "192.168.1.5:3000", "relay_1:3000", "localhost"] {
        assert_eq!(host(&access, name), 200, "{name}");
    }
}

#[test]
fn an_allowed_host_is_a_host_and_nothing_more() {
    let error = |text: &str| text.parse::<AllowedHost>().unwrap_err();
    for (text, expected) in [
        ("a.example:3000", AllowedHostError::Port("a.example:3000".into())),
        ("[::1]:3000", AllowedHostError::Port("[::1]:3000".into())),
        ("*", AllowedHostError::Wildcard("*".into())),
        ("*.e2b.app", AllowedHostError::Wildcard("*.e2b.app".into())),
        ("https://a.example", AllowedHostError::Url("https://a.example".into())),
        ("a.example/", AllowedHostError::Url("a.example/".into())),
        ("", AllowedHostError::Malformed(String::new())),
        (" a.example", AllowedHostError::Malformed(" a.example".into())),
        ("::1", AllowedHostError::Malformed("::1".into())),
        ("user@a.example", AllowedHostError::Malformed("user@a.example".into())),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn the_origin_is_the_servers_own_or_none() {
    let access = Access::new(rules());
    for (host, own) in [
        ("localhost:3000", "http://localhost:3000"),
        ("localhost:3000", "https://localhost:3000"),
        ("LOCALHOST:3000", "http://localhost:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("localhost.:3000", "http://localhost.:3000"),
        // A port that the scheme implies is named by neither, or by one.
        ("localhost", "http://localhost"),
        ("localhost", "https://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "https://localhost:443"),
    ] {
        assert_eq!(origin(&access, host, own), 200, "{own} at {host}");
    }
    for foreign in [
        "https://evil.example",
        "http://evil.example:3000",
        "null",
        "",
        "http://localhost",
        "http://localhost:3001",
        "http://localhost:30000",
        "http://localhost:03000x",
        "http://localhost:3000/",
        "http://localhost:3000/x",
        "http://localhost:3000#x",
        "http://localhost:3000?x",
        "http://localhost:3000 http://evil.example",
        "http://evil.example http://localhost:3000",
        "http://localhost:3000, http://evil.example",
        "http://localhost.evil.example",
        "http://localhost.evil.example:3000",
        "http://localhost:3000.evil.example",
        "http://evil.example/localhost:3000",
        "http://localhost@evil.example",
        "http://localhost:3000@evil.example",
        "http://evil.example@localhost:3000",
        "http://127.0.0.1.evil.example:3000",
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
        "http://localhost.:3000",
        "http://evil-localhost:3000",
        "http://app.localhost:3000",
        "ftp://localhost:3000",
        "ws://localhost:3000",
        "wss://localhost:3000",
        "file://",
        "file://localhost:3000",
        "chrome-extension://localhost:3000",
        "httpx://localhost:3000",
        "http:localhost:3000",
        "http:/localhost:3000",
        "http:///localhost:3000",
        "//localhost:3000",
        "localhost:3000",
        "localhost",
        "*",
    ] {
        assert_eq!(origin(&access, "localhost:3000", foreign), 403, "{foreign}");
    }
    // A port that is not the scheme's own.
    assert_eq!(origin(&access, "localhost", "http://localhost:443"), 403);
    assert_eq!(origin(&access, "localhost:80", "https://localhost"), 403);
}

#[test]
fn origin_comes_once_and_as_text() {
    let access = Access::new(rules());
    let own = ("origin", "http://localhost:3000");
    let two = get("/", &[("host", "localhost:3000"), own, own]);
    let mut not_ascii = get("/", &[("host", "localhost:3000")]);
    not_ascii
        .headers
        .insert(ORIGIN, HeaderValue::from_bytes(b"http://localhost:3000\xff").unwrap());
    for head in [two, not_ascii] {
        for door in EVERY_DOOR {
            assert_eq!(status(&access, door, &head), 403, "{head:?}");
        }
    }
}

#[test]
fn on_any_bind_a_foreign_origin_is_refused() {
    // A stranger's page that asks a server in the local network by its name.
    let access = Access::new(AccessRules::default());
    assert_eq!(origin(&access, "relay.lan:3000", "https://evil.example"), 403);
    assert_eq!(origin(&access, "relay.lan:3000", "http://relay.lan:3000"), 200);
    let token =
        Access::new(AccessRules { token: Some(secret("correct-horse")), ..AccessRules::default() });
    // Not even with the token: pages are not to have it.
    let head = get(
        "/ws?token=correct-horse",
        &[("host", "relay.lan"), ("origin", "https://evil.example")],
    );
    assert_eq!(status(&token, Door::Socket, &head), 403);
}

#[test]
fn origins_can_be_allowed() {
    let allow_origins = [
        "https://App.example",
        "http://localhost:5173",
        "tauri://localhost",
        "http://b.example:80",
    ];
    let access = Access::new(AccessRules {
        allow_origins: allow_origins.map(|origin| origin.parse().unwrap()).into(),
        ..rules()
    });
    for ours in [
        "https://app.example",
        "https://app.example:443",
        "http://localhost:5173",
        "tauri://localhost",
        "http://b.example",
        "http://localhost:3000",
    ] {
        assert_eq!(origin(&access, "localhost:3000", ours), 200, "{ours}");
    }
    for foreign in [
        "http://app.example",
        "https://app.example:444",
        "https://app.example.evil.example",
        "https://x.app.example",
        "https://app.example.",
        "http://localhost:5174",
        "tauri://localhost:1",
        "http://127.0.0.1:5173",
        "null",
    ] {
        assert_eq!(origin(&access, "localhost:3000", foreign), 403, "{foreign}");
    }
    // An allowed page does not make a stranger's name ours.
    assert_eq!(origin(&access, "attacker.example", "https://app.example"), 403);
}

#[test]
fn an_allowed_origin_is_an_origin_and_nothing_more() {
    let error = |text: &str| text.parse::<AllowedOrigin>().unwrap_err();
    for (text, expected) in [
        ("null", AllowedOriginError::Null),
        ("*", AllowedOriginError::Wildcard("*".into())),
        ("https://*.example", AllowedOriginError::Wildcard("https://*.example".into())),
        ("app.example", AllowedOriginError::NoScheme("app.example".into())),
        ("localhost:5173", AllowedOriginError::NoScheme("localhost:5173".into())),
        ("", AllowedOriginError::NoScheme(String::new())),
        ("https://app.example/", AllowedOriginError::Path("https://app.example/".into())),
        ("https://a.example?x", AllowedOriginError::Path("https://a.example?x".into())),
        ("https://", AllowedOriginError::Malformed("https://".into())),
        ("https://a b", AllowedOriginError::Malformed("https://a b".into())),
        ("https://u@a.example", AllowedOriginError::Malformed("https://u@a.example".into())),
        ("https://a.example:x", AllowedOriginError::Malformed("https://a.example:x".into())),
        ("1http://a.example", AllowedOriginError::Malformed("1http://a.example".into())),
    ] {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn cors_is_for_allowed_foreign_origins_alone() {
    let access = Access::new(AccessRules {
        allow_origins: vec!["https://app.example".parse().unwrap()],
        ..rules()
    });
    let cors = |origins: &[&str]| {
        let mut headers = vec![("host", "localhost:3000")];
        headers.extend(origins.iter().map(|origin| ("origin", *origin)));
        access.cors_origin(&get("/", &headers).headers)
    };
    assert_eq!(cors(&["https://app.example"]).unwrap(), "https://app.example");
    for none in [
        &["https://evil.example"][..],
        &["http://localhost:3000"],
        &["null"],
        &["*"],
        &[],
        &["https://app.example", "https://app.example"],
        &["https://app.example", "https://evil.example"],
    ] {
        assert_eq!(cors(none), None, "{none:?}");
    }
}

/// What `/config` and `/ws` say, and whether `/health` would tell more.
fn token(access: &Access, uri: &str, authorizations: &[&str]) -> (u16, bool) {
    let mut headers = vec![("host", "localhost")];
    headers.extend(authorizations.iter().map(|value| ("authorization", *value)));
    let head = get(uri, &headers);
    let guarded = [Door::Config, Door::Socket].map(|door| status(access, door, &head));
    assert_eq!(guarded[0], guarded[1]);
    let open = [Door::Page, Door::Health].map(|door| access.check(door, &head).unwrap().authorized);
    assert_eq!(open[0], open[1]);
    (guarded[0], open[0])
}

#[test]
fn the_token_opens_configuration_socket_and_details() {
    let access = with_token();
    for (uri, authorizations) in [
        ("/", &["Bearer correct-horse"][..]),
        ("/", &["bearer correct-horse"]),
        ("/", &["BEARER   correct-horse"]),
        ("/?token=correct-horse", &[]),
        ("/?after=0&token=correct-horse&x", &[]),
        ("/?token=%63orrect%2Dhorse", &[]),
        ("/?token=correct-horse", &["Bearer correct-horse"]),
    ] {
        assert_eq!(token(&access, uri, authorizations), (200, true), "{uri} {authorizations:?}");
    }
}

#[test]
fn anything_but_the_token_opens_nothing() {
    let access = with_token();
    for (uri, authorizations) in [
        ("/", &[][..]),
        ("/?", &[]),
        ("/?token", &[]),
        ("/?token=", &[]),
        ("/?token=wrong", &[]),
        ("/?token=correct-hors", &[]),
        ("/?token=correct-horses", &[]),
        ("/?token=orrect-horse", &[]),
        ("/?token=Correct-Horse", &[]),
        ("/?token=correct%2dhors", &[]),
        ("/?token=correct+horse", &[]),
        ("/?token=%00correct-horse", &[]),
        ("/?Token=correct-horse", &[]),
        ("/?atoken=correct-horse", &[]),
        ("/token=correct-horse", &[]),
        ("/", &["Bearer"]),
        ("/", &["Bearer "]),
        ("/", &["Bearer wrong"]),
        ("/", &["Bearer correct-hors"]),
        ("/", &["Bearer correct-horse2"]),
        ("/", &["Bearer CORRECT-HORSE"]),
        ("/", &["Bearer correct-horse, Bearer correct-horse"]),
        ("/", &["Bearer Bearer correct-horse"]),
        ("/", &["Basic correct-horse"]),
        ("/", &["correct-horse"]),
        ("/", &["Bearercorrect-horse"]),
        ("/", &["Token correct-horse"]),
        ("/", &["Digest correct-horse"]),
        // Twice, even if both are right: somebody in between may have read one.
        ("/", &["Bearer correct-horse", "Bearer correct-horse"]),
        ("/", &["Bearer correct-horse", "Bearer wrong"]),
        ("/?token=correct-horse&token=correct-horse", &[]),
        ("/?token=wrong&token=correct-horse", &[]),
        ("/?token=correct-horse&token=wrong", &[]),
        // Header and query that disagree.
        ("/?token=wrong", &["Bearer correct-horse"]),
        ("/?token=correct-horse", &["Bearer wrong"]),
        ("/?token=correct-horse", &["Basic eDp5"]),
        ("/?token=", &["Bearer correct-horse"]),
    ] {
        assert_eq!(token(&access, uri, authorizations), (401, false), "{uri} {authorizations:?}");
    }
    let long = "x".repeat(1 << 20);
    assert_eq!(token(&access, "/", &[&format!("Bearer {long}")]), (401, false));
}

#[test]
fn a_token_may_hold_any_sign() {
    let access = Access::new(AccessRules { token: Some(secret("a+b/c=%41&d")), ..rules() });
    assert_eq!(token(&access, "/", &["Bearer a+b/c=%41&d"]), (200, true));
    assert_eq!(token(&access, "/?token=a%2Bb%2Fc%3D%2541%26d", &[]), (200, true));
    let pasted = Access::new(AccessRules { token: Some(secret("a+b/c==")), ..rules() });
    assert_eq!(token(&pasted, "/?token=a+b/c==", &[]), (200, true));
}

#[test]
fn without_a_token_nobody_is_asked_for_one() {
    let access = Access::new(rules());
    assert_eq!(token(&access, "/", &[]), (200, true));
    assert_eq!(token(&access, "/?token=x&token=y", &["Bearer z", "Basic z"]), (200, true));
}

#[test]
fn every_refusal_of_a_status_reads_the_same() {
    let access = with_token();
    let denied = |head: &Parts| access.check(Door::Config, head).unwrap_err();
    let localhost = ("host", "localhost");
    let unauthorized = [
        get("/", &[localhost]),
        get("/?token=x", &[localhost]),
        get("/", &[localhost, ("authorization", "Bearer correct-hors")]),
    ];
    for head in unauthorized {
        let denial = denied(&head);
        assert_eq!((denial.status.as_u16(), denial.error), (401, "Unauthorized"));
    }
    let forbidden = [
        get("/", &[("host", "attacker.example")]),
        get("/", &[localhost, ("origin", "https://evil.example")]),
        get("/", &[localhost, ("origin", "null")]),
    ];
    for head in forbidden {
        let denial = denied(&head);
        assert_eq!((denial.status.as_u16(), denial.error), (403, "Forbidden"));
    }
}

#[test]
fn a_stranger_is_turned_away_before_the_token_is_looked_at() {
    // Or the answers would tell a foreign page whether it has guessed it.
    let access = with_token();
    for token in ["correct-horse", "wrong"] {
        let authorization = format!("Bearer {token}");
        let evil = ("origin", "https://evil.example");
        let head = get("/", &[("host", "localhost"), evil, ("authorization", &authorization)]);
        assert_eq!(access.check(Door::Socket, &head).unwrap_err().cause, Cause::ForeignOrigin);
        let head = get("/", &[("host", "evil.example"), ("authorization", &authorization)]);
        assert_eq!(access.check(Door::Socket, &head).unwrap_err().cause, Cause::ForeignHost);
    }
}

#[test]
fn a_browser_posts_its_configuration_as_json() {
    let access = Access::new(rules());
    let own = ("origin", "http://localhost");
    let post = |types: &[&str], headers: &[(&str, &str)], door| {
        let mut all = vec![("host", "localhost")];
        all.extend(headers);
        all.extend(types.iter().map(|media_type| ("content-type", *media_type)));
        status(&access, door, &head(Method::POST, "/", &all))
    };
    for json in [
        &["application/json"][..],
        &["Application/JSON"],
        &["application/json;charset=utf-8"],
        &["application/json ; charset=utf-8"],
    ] {
        assert_eq!(post(json, &[own], Door::Config), 200, "{json:?}");
    }
    for other in [
        &[][..],
        &[""],
        &["text/plain"],
        &["text/plain; application/json"],
        &["text/plain;charset=application/json"],
        &["application/x-www-form-urlencoded"],
        &["multipart/form-data; boundary=application/json"],
        &["application/jsonp"],
        &["application/json, text/plain"],
        &["text/plain, application/json"],
        &["application/json", "text/plain"],
        &["application/json", "application/json"],
    ] {
        assert_eq!(post(other, &[own], Door::Config), 415, "{other:?}");
        // Programs may call it what they like, as those of old do.
        assert_eq!(post(other, &[], Door::Config), 200, "{other:?}");
        assert_eq!(post(other, &[own], Door::Health), 200, "{other:?}");
    }
}

#[test]
fn a_preflight_needs_no_token_and_gets_no_further() {
    let access = Access::new(AccessRules {
        token: Some(secret("correct-horse")),
        allow_origins: vec!["https://app.example".parse().unwrap()],
        ..rules()
    });
    let ask = |origin| {
        let head = head(Method::OPTIONS, "/", &[("host", "localhost"), ("origin", origin)]);
        access.check(Door::Config, &head)
    };
    assert_eq!(ask("https://app.example"), Ok(Admission { authorized: false }));
    assert_eq!(ask("https://evil.example").unwrap_err().cause, Cause::ForeignOrigin);
}

#[test]
fn the_first_claim_is_the_last() {
    let access = Access::new(rules());
    let ask = |text: &str| token(&access, "/", &[&format!("Bearer {text}")]);
    assert!(!access.has_token());
    assert_eq!(token(&access, "/", &[]), (200, true));

    assert!(access.claim(secret("first-token")));
    assert!(access.has_token());
    assert_eq!(token(&access, "/", &[]), (401, false));
    assert_eq!(ask("first-token"), (200, true));

    assert!(!access.claim(secret("second-token")));
    assert_eq!(ask("first-token"), (200, true));
    assert_eq!(ask("second-token"), (401, false));

    // A client that posts its configuration once more is told the same.
    assert!(access.claim(secret("first-token")));
}

#[test]
fn a_token_of_the_operator_cannot_be_claimed_away() {
    let access = with_token();
    assert!(!access.claim(secret("another-token")));
    assert_eq!(token(&access, "/?token=correct-horse", &[]), (200, true));
    assert_eq!(token(&access, "/?token=another-token", &[]), (401, false));
}

#[test]
fn of_many_who_claim_at_once_one_wins() {
    let access = Access::new(rules());
    let winners: Vec<_> = std::thread::scope(|scope| {
        let claims: Vec<_> = (0..8)
            .map(|n| {
                let access = &access;
                scope.spawn(move || access.claim(secret(&format!("token-{n}"))))
            })
            .collect();
        claims.into_iter().map(|claim| claim.join().unwrap()).collect()
    });
    assert_eq!(winners.iter().filter(|won| **won).count(), 1);
    let winner = winners.iter().position(|won| *won).unwrap();
    assert_eq!(token(&access, &format!("/?token=token-{winner}"), &[]), (200, true));
}

#[test]
fn nothing_shows_the_token() {
    let access = with_token();
    let head = get("/?token=canary", &[("host", "localhost"), ("authorization", "Bearer canary")]);
    let denial = access.check(Door::Config, &head).unwrap_err();
    let shown = format!("{access:?} {denial:?} {}", denial.cause);
    assert!(!shown.contains("horse") && !shown.contains("canary"), "{shown}");
}

/// Texts near the ones that pass.
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
        let access = Access::new(rules());
        let mut head = get("/", &[("host", "localhost:3000")]);
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            head.headers.insert(ORIGIN, value);
            let own = ["http://localhost:3000", "https://localhost:3000"];
            let passes = own.contains(&text.as_str());
            prop_assert_eq!(status(&access, Door::Socket, &head) == 200, passes, "{}", text);
        }
    }

    #[test]
    fn a_host_that_passes_is_loopback_and_maybe_a_port(text in near_origin()) {
        let access = Access::new(rules());
        let mut head = get("/", &[]);
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            head.headers.insert(HOST, value);
            if status(&access, Door::Socket, &head) == 200 {
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
