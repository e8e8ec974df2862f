use super::*;

fn variables(pairs: &[(&'static str, &str)]) -> ProxyVariables {
    let find = |wanted: &str| {
        let found = pairs.iter().find(|(name, _)| *name == wanted);
        found.map(|(name, value)| (*name, (*value).to_owned()))
    };
    ProxyVariables {
        http: find("HTTP_PROXY"),
        https: find("HTTPS_PROXY"),
        all: find("ALL_PROXY"),
        no: find("NO_PROXY").map(|(_, value)| value),
    }
}

/// The proxy as `tls host port`, `direct`, or the error.
fn way(pairs: &[(&'static str, &str)], url: &str) -> String {
    match Proxy::on_the_way(&variables(pairs), &Address::parse(url).unwrap()) {
        Ok(Some(Proxy { kind, host, port, .. })) => format!("{} {host} {port}", kind.scheme()),
        Ok(None) => "direct".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_scheme_of_the_address_chooses_the_variable() {
    let all =
        &[("HTTP_PROXY", "http://one:1"), ("HTTPS_PROXY", "https://two"), ("ALL_PROXY", "three:3")];
    assert_eq!(way(all, "ws://relay.example"), "http one 1");
    assert_eq!(way(all, "wss://relay.example"), "https two 443");
    assert_eq!(way(&all[2..], "ws://relay.example"), "http three 3");
    assert_eq!(way(&all[2..], "wss://relay.example"), "http three 3");
    assert_eq!(way(&all[..1], "wss://relay.example"), "direct");
    assert_eq!(way(&[("ALL_PROXY", "http://[::1]:3128/")], "wss://x.test"), "http ::1 3128");
}

#[test]
fn this_machine_is_reached_directly() {
    let proxy = &[("ALL_PROXY", "http://proxy:1")];
    for url in ["http://127.0.0.1:3000", "ws://[::1]:3000", "wss://localhost", "a.localhost:1"] {
        assert_eq!(way(proxy, url), "direct", "{url}");
    }
}

#[test]
fn every_usual_form_of_an_exception_holds() {
    for (no, direct) in [
        ("relay.example", true),
        ("RELAY.example", true),
        (".example", true),
        ("*.example", true),
        ("example", true),
        ("*", true),
        ("other.test, relay.example", true),
        ("other.test relay.example", true),
        ("relay.example:8443", true),
        ("*.example:8443", true),
        ("relay.example:443", false),
        ("lay.example", false),
        ("sub.relay.example", false),
        ("", false),
        (",, ,", false),
    ] {
        let pairs = &[("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", no)];
        let way = way(pairs, "wss://relay.example:8443");
        assert_eq!(way == "direct", direct, "{no}: {way}");
    }
    for (no, url, direct) in [
        ("10.0.0.0/8", "http://10.1.2.3:3000", true),
        ("10.1.2.3", "http://10.1.2.3:3000", true),
        ("10.1.2.3:3000", "http://10.1.2.3:3000", true),
        ("10.1.2.3:80", "http://10.1.2.3:3000", false),
        ("10.0.0.0/16", "http://10.1.2.3:3000", false),
        ("fd00::/8", "http://[fd00::1]:3000", true),
        ("fd00::1", "http://[fd00::1]:3000", true),
        ("[fd00::1]:3000", "http://[fd00::1]:3000", true),
        ("[fd00::1]:80", "http://[fd00::1]:3000", false),
        ("fd00::2", "http://[fd00::1]:3000", false),
    ] {
        let pairs = &[("HTTP_PROXY", "http://proxy:1"), ("NO_PROXY", no)];
        let way = way(pairs, url);
        assert_eq!(way == "direct", direct, "{no}: {way}");
    }
}

#[test]
fn a_proxy_that_cannot_be_used_is_told_and_never_avoided() {
    for (value, reason) in [
        ("socks4://u:hunter2@proxy", "of the kind socks4 cannot be used"),
        ("ftp://proxy", "not the address of a proxy"),
        ("http:/proxy", "not the address of a proxy"),
        ("not a URL", "not the address of a proxy"),
        ("http://", "not the address of a proxy"),
    ] {
        for variable in ["HTTPS_PROXY", "ALL_PROXY"] {
            let told = way(&[(variable, value)], "wss://relay.example");
            assert!(told.starts_with(variable) && told.contains(reason), "{value}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
    let excepted = &[("ALL_PROXY", "socks5://proxy:1"), ("NO_PROXY", "relay.example")];
    assert_eq!(way(excepted, "wss://relay.example"), "direct");
}

#[test]
fn credentials_are_decoded_and_never_shown() {
    let variables = variables(&[("ALL_PROXY", "http://user:p%40ss@proxy:1")]);
    let address = Address::parse("wss://relay.example").unwrap();
    let proxy = Proxy::on_the_way(&variables, &address).unwrap().unwrap();
    let Kind::Http { credentials, .. } = &proxy.kind else { panic!("{proxy:?}") };
    assert_eq!(credentials.as_ref().unwrap(), "Basic dXNlcjpwQHNz");
    let shown = format!("{proxy:?} {}", proxy.failed(None, "x"));
    assert!(!shown.contains("dXNl") && !shown.contains("p%40ss"), "{shown}");
}

#[test]
fn socks_is_a_way_with_the_name_looked_up_here_or_there() {
    let way = |value| way(&[("ALL_PROXY", value)], "wss://relay.example");
    assert_eq!(way("socks5h://proxy"), "socks5h proxy 1080");
    assert_eq!(way("socks5://[::1]:9050"), "socks5 ::1 9050");
    let variables = variables(&[("ALL_PROXY", "socks5h://user:p%40ss@proxy")]);
    let address = Address::parse("wss://relay.example").unwrap();
    let proxy = Proxy::on_the_way(&variables, &address).unwrap().unwrap();
    let Kind::Socks { login, .. } = &proxy.kind else { panic!("{proxy:?}") };
    assert_eq!(*login, Some(("user".to_owned(), "p@ss".to_owned())));
    assert!(!format!("{proxy:?}").contains("p@ss"), "{proxy:?}");
}
