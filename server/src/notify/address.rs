//! Addresses that a webhook may have: public ones, by an allow-list, and those
//! that the operator has named by number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::lookup_host;

use super::AttemptError;

/// Returns the addresses of `host`, all of them public, or the one that it
/// names by number.
pub(super) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, AttemptError> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = literal.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let found = lookup_host((host, port)).await;
    let found: Vec<SocketAddr> = found
        .map_err(|error| AttemptError::Again(format!("{host} is not found: {error}")))?
        .collect();
    if let Some(private) = found.iter().find(|address| !is_public(address.ip())) {
        let reason = format!(
            "{host} is {}, which is no public address: name it by its number if it is meant",
            private.ip()
        );
        return Err(AttemptError::Refused(reason));
    }
    match found.is_empty() {
        true => Err(AttemptError::Again(format!("{host} has no address"))),
        false => Ok(found),
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match a {
        0 | 10 | 127 | 224..=255 => true,
        100 => (64..=127).contains(&b),
        169 => b == 254,
        172 => (16..=31).contains(&b),
        192 => b == 168 || (b == 0 && (c == 0 || c == 2)) || (b == 88 && c == 99),
        198 => b == 18 || b == 19 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        _ => false,
    };
    !is_special
}

/// Returns true for global unicast, but for what holds another address and
/// documentation.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let is_global = (0x2000..=0x3fff).contains(&first);
    let is_special = match first {
        // Teredo, ORCHID and others below 2001:200::, documentation.
        0x2001 => second < 0x200 || second == 0xdb8,
        // 6to4.
        0x2002 => true,
        0x3fff => second < 0x1000,
        _ => false,
    };
    is_global && !is_special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for private in [
            "127.0.0.1",
            "127.255.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2002:7f00:1::",
            "2001:0:1::1",
            "2001:db8::1",
            "fec0::1",
            "100::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_refused_and_a_number_is_not() {
        let error = resolve("localhost", 80).await.unwrap_err();
        assert!(error.to_string().contains("no public address"), "{error}");
        let named = resolve("127.0.0.1", 80).await.unwrap();
        assert_eq!(named, ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(resolve("[::1]", 80).await.unwrap(), ["[::1]:80".parse().unwrap()]);
    }
}
