//! Host, Origin, and CORS.

use super::*;

#[test]
fn on_a_loopback_bind_the_host_is_a_loopback_one() {
    let access = AccessPolicy::new(rules());
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
        // Only some programs read these as 127.0.0.1. Browsers never send them.
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
        let access = AccessPolicy::new(AccessRules { loopback, ..rules() });
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
        for endpoint in GUARDED {
            assert_eq!(status(&AccessPolicy::new(rules()), endpoint, &head), 400, "{head:?}");
        }
    }
}

#[test]
fn an_absolute_target_has_to_agree_with_the_host() {
    let access = AccessPolicy::new(rules());
    let ask = |uri, host| status(&access, Endpoint::Health, &get(uri, &[("host", host)]));
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
        let access = AccessPolicy::new(AccessRules {
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
    let access = AccessPolicy::new(AccessRules::default());
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
    let access = AccessPolicy::new(rules());
    for (host, own) in [
        ("localhost:3000", "http://localhost:3000"),
        ("localhost:3000", "https://localhost:3000"),
        ("LOCALHOST:3000", "http://localhost:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("localhost.:3000", "http://localhost.:3000"),
        // The default port may be named by either side, or by neither.
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
    // A port that is not the default of the scheme.
    assert_eq!(origin(&access, "localhost", "http://localhost:443"), 403);
    assert_eq!(origin(&access, "localhost:80", "https://localhost"), 403);
}

#[test]
fn origin_comes_once_and_as_text() {
    let access = AccessPolicy::new(rules());
    let own = ("origin", "http://localhost:3000");
    let two = get("/", &[("host", "localhost:3000"), own, own]);
    let mut not_ascii = get("/", &[("host", "localhost:3000")]);
    not_ascii
        .headers
        .insert(ORIGIN, HeaderValue::from_bytes(b"http://localhost:3000\xff").unwrap());
    for head in [two, not_ascii] {
        for endpoint in GUARDED {
            assert_eq!(status(&access, endpoint, &head), 403, "{head:?}");
        }
    }
}

#[test]
fn on_any_bind_a_foreign_origin_is_refused() {
    // A foreign page that addresses a server in the local network by name.
    let access = AccessPolicy::new(AccessRules::default());
    assert_eq!(origin(&access, "relay.lan:3000", "https://evil.example"), 403);
    assert_eq!(origin(&access, "relay.lan:3000", "http://relay.lan:3000"), 200);
    let token = AccessPolicy::new(AccessRules {
        token: Some(secret("correct-horse")),
        ..AccessRules::default()
    });
    // The right token does not help: pages must not have it.
    let head = get(
        "/ws?token=correct-horse",
        &[("host", "relay.lan"), ("origin", "https://evil.example")],
    );
    assert_eq!(status(&token, Endpoint::Socket, &head), 403);
}

#[test]
fn origins_can_be_allowed() {
    let allow_origins = [
        "https://App.example",
        "http://localhost:5173",
        "tauri://localhost",
        "http://b.example:80",
    ];
    let access = AccessPolicy::new(AccessRules {
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
    // An allowed origin does not make a foreign host acceptable.
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
    let access = AccessPolicy::new(AccessRules {
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
