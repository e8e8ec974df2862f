//! The token, the endpoints that need it, and the claim.

use super::*;

#[test]
fn the_token_admits_to_configuration_socket_and_details() {
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
fn a_wrong_token_is_unauthorized() {
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
        // Repeated tokens are refused even if both are right.
        ("/", &["Bearer correct-horse", "Bearer correct-horse"]),
        ("/", &["Bearer correct-horse", "Bearer wrong"]),
        ("/?token=correct-horse&token=correct-horse", &[]),
        ("/?token=wrong&token=correct-horse", &[]),
        ("/?token=correct-horse&token=wrong", &[]),
        // Header and query disagree.
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
fn a_token_may_hold_any_character() {
    let access = AccessPolicy::new(AccessRules { token: Some(secret("a+b/c=%41&d")), ..rules() });
    assert_eq!(token(&access, "/", &["Bearer a+b/c=%41&d"]), (200, true));
    assert_eq!(token(&access, "/?token=a%2Bb%2Fc%3D%2541%26d", &[]), (200, true));
    let pasted = AccessPolicy::new(AccessRules { token: Some(secret("a+b/c==")), ..rules() });
    assert_eq!(token(&pasted, "/?token=a+b/c==", &[]), (200, true));
}

#[test]
fn without_a_token_every_request_is_authorized() {
    let access = AccessPolicy::new(rules());
    assert_eq!(token(&access, "/", &[]), (200, true));
    assert_eq!(token(&access, "/?token=x&token=y", &["Bearer z", "Basic z"]), (200, true));
}

#[test]
fn refusal_of_a_token_reads_the_same_and_that_of_a_name_tells_the_flag() {
    let access = with_token();
    let denied = |head: &Parts| access.check(Endpoint::Config, head).unwrap_err();
    let localhost = ("host", "localhost");
    let unauthorized = [
        get("/", &[localhost]),
        get("/?token=x", &[localhost]),
        get("/", &[localhost, ("authorization", "Bearer correct-hors")]),
    ];
    for head in unauthorized {
        let denial = denied(&head);
        assert_eq!((denial.status.as_u16(), denial.error), (401, UNAUTHORIZED));
    }
    let forbidden = [
        (get("/", &[("host", "attacker.example")]), "--allow-host NAME"),
        (get("/", &[localhost, ("origin", "https://evil.example")]), "--allow-origin ORIGIN"),
        (get("/", &[localhost, ("origin", "null")]), "--allow-origin ORIGIN"),
    ];
    for (head, flag) in forbidden {
        let denial = denied(&head);
        assert_eq!(denial.status.as_u16(), 403);
        assert!(denial.error.contains(flag), "{}", denial.error);
        assert!(!denial.error.contains("example"), "{}", denial.error);
    }
}

#[test]
fn page_is_served_whatever_host_and_origin_say() {
    let access = with_token();
    for (host, origin) in
        [("attacker.example", None), ("localhost", Some("null")), ("a.example", Some("https://b"))]
    {
        let mut fields = vec![("host", host)];
        fields.extend(origin.map(|origin| ("origin", origin)));
        assert_eq!(status(&access, Endpoint::Page, &get("/", &fields)), 200, "{fields:?}");
        assert_eq!(status(&access, Endpoint::Unknown, &get("/x", &fields)), 403, "{fields:?}");
    }
    assert_eq!(status(&access, Endpoint::Page, &get("/", &[])), 400);
}

#[test]
fn host_and_origin_are_checked_before_the_token() {
    // Otherwise the answer would tell a foreign page that it has guessed the
    // token.
    let access = with_token();
    for token in ["correct-horse", "wrong"] {
        let authorization = format!("Bearer {token}");
        let evil = ("origin", "https://evil.example");
        let head = get("/", &[("host", "localhost"), evil, ("authorization", &authorization)]);
        assert_eq!(access.check(Endpoint::Socket, &head).unwrap_err().cause, Cause::ForeignOrigin);
        let head = get("/", &[("host", "evil.example"), ("authorization", &authorization)]);
        assert_eq!(access.check(Endpoint::Socket, &head).unwrap_err().cause, Cause::ForeignHost);
    }
}

#[test]
fn a_browser_posts_its_configuration_as_json() {
    let access = AccessPolicy::new(rules());
    let own = ("origin", "http://localhost");
    let post = |types: &[&str], headers: &[(&str, &str)], endpoint| {
        let mut all = vec![("host", "localhost")];
        all.extend(headers);
        all.extend(types.iter().map(|media_type| ("content-type", *media_type)));
        status(&access, endpoint, &head(Method::POST, "/", &all))
    };
    for json in [
        &["application/json"][..],
        &["Application/JSON"],
        &["application/json;charset=utf-8"],
        &["application/json ; charset=utf-8"],
    ] {
        assert_eq!(post(json, &[own], Endpoint::Config), 200, "{json:?}");
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
        assert_eq!(post(other, &[own], Endpoint::Config), 415, "{other:?}");
        // Other programs may send any content type, as clients of
        // claude-agent-server do.
        assert_eq!(post(other, &[], Endpoint::Config), 200, "{other:?}");
        assert_eq!(post(other, &[own], Endpoint::Health), 200, "{other:?}");
    }
}

#[test]
fn a_preflight_needs_no_token_and_is_not_authorized() {
    let access = AccessPolicy::new(AccessRules {
        token: Some(secret("correct-horse")),
        allow_origins: vec!["https://app.example".parse().unwrap()],
        ..rules()
    });
    let ask = |origin| {
        let head = head(Method::OPTIONS, "/", &[("host", "localhost"), ("origin", origin)]);
        access.check(Endpoint::Config, &head)
    };
    assert_eq!(ask("https://app.example"), Ok(Admission { authorized: false }));
    assert_eq!(ask("https://evil.example").unwrap_err().cause, Cause::ForeignOrigin);
}

#[test]
fn the_first_claim_is_the_last() {
    let access = AccessPolicy::new(rules());
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

    // Repeating the claim with the same token succeeds.
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
fn of_concurrent_claims_one_succeeds() {
    let access = AccessPolicy::new(rules());
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
fn debug_output_does_not_show_the_token() {
    let access = with_token();
    let head = get("/?token=canary", &[("host", "localhost"), ("authorization", "Bearer canary")]);
    let denial = access.check(Endpoint::Config, &head).unwrap_err();
    let shown = format!("{access:?} {denial:?} {}", denial.cause);
    assert!(!shown.contains("horse") && !shown.contains("canary"), "{shown}");
}
