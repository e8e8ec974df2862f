//! Host and Origin.

use claude_relay_listen::access::{AccessPolicy, AccessRules, Endpoint};
use hyper::Request;
use hyper::header::{HOST, HeaderValue, ORIGIN};

/// Takes a Host, a newline and an Origin. A Host that passes is this machine's,
/// and an Origin that passes is that Host behind `http` or `https`.
pub fn origin_host(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (Some(host), origin) = (parts.next(), parts.next()) else { return };
    let (mut head, ()) = Request::new(()).into_parts();
    let Ok(host) = HeaderValue::from_bytes(host) else { return };
    head.headers.insert(HOST, host.clone());
    let access = AccessPolicy::new(AccessRules { loopback: true, ..AccessRules::default() });
    let alone = access.check(Endpoint::Socket, &head).is_ok();
    let host = host.to_str().unwrap_or_default().to_ascii_lowercase();
    if alone {
        assert!(is_loopback(&host), "{host:?} passes");
    }
    let Some(Ok(origin)) = origin.map(HeaderValue::from_bytes) else { return };
    head.headers.insert(ORIGIN, origin.clone());
    let both = access.check(Endpoint::Socket, &head).is_ok();
    assert!(alone || !both, "an Origin makes no Host better");
    if both {
        let origin = origin.to_str().expect("what passes is ASCII").to_ascii_lowercase();
        let same = [("http://", "80"), ("https://", "443")].iter().any(|(scheme, port)| {
            origin
                .strip_prefix(scheme)
                .is_some_and(|rest| with_port(rest, port) == with_port(&host, port))
        });
        assert!(same, "{origin:?} passes at {host:?}");
    }
}

/// The whole list, without the parser under test.
fn is_loopback(authority: &str) -> bool {
    let (host, _) = split(authority);
    let address = host.trim_start_matches('[').trim_end_matches(']');
    matches!(host.as_str(), "localhost" | "localhost.")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| match address {
            std::net::IpAddr::V4(address) => address.octets()[0] == 127,
            std::net::IpAddr::V6(address) => {
                let octets = address.octets();
                address.segments() == [0, 0, 0, 0, 0, 0, 0, 1]
                    || octets[..13] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127]
            }
        })
}

/// Host and port, with addresses of IPv6 in one spelling.
fn with_port(authority: &str, default: &str) -> (String, u16) {
    let (host, port) = split(authority);
    let port = if port.is_empty() { default } else { &port };
    (host, port.parse().unwrap_or_default())
}

fn split(authority: &str) -> (String, String) {
    let end = authority.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[end..].split_once(':') {
        Some((rest, port)) => (&authority[..end + rest.len()], port),
        None => (authority, ""),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner.and_then(|inner| inner.parse::<std::net::Ipv6Addr>().ok()) {
        Some(address) => (format!("[{address}]"), port.to_owned()),
        None => (host.to_owned(), port.to_owned()),
    }
}
