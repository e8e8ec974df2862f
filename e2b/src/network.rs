//! Rules for the connections of a sandbox to the outside.

use std::collections::BTreeMap;

use claude_relay_protocol::Secret;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

/// The entire internet, for [`Egress::deny`].
pub const ALL_TRAFFIC: &str = "0.0.0.0/0";

/// Rules for outgoing connections. Allowed addresses take precedence over
/// denied ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Egress {
    /// Addresses, blocks (`8.8.8.8/32`) and domains (`*.example.com`).
    #[serde(rename = "allowOut", skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Addresses and blocks; domains cannot be denied. [`ALL_TRAFFIC`] means
    /// all.
    #[serde(rename = "denyOut", skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// Name servers that are reachable where `allow` names a domain; `None`
    /// means the platform's.
    #[serde(rename = "dnsServers", skip_serializing_if = "Option::is_none")]
    pub dns_servers: Option<Vec<String>>,
    /// Headers that the platform puts on requests to a domain, outside of the
    /// sandbox. A domain here is not allowed by that alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<String, Injection>,
}

/// Headers for the requests to one domain. One of the same name is replaced. A
/// value may hold a placeholder of the platform, such as
/// `${e2b.identity.tokens.NAME}` for a workload token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Injection {
    /// Names and values.
    pub headers: BTreeMap<String, Secret>,
}

impl Injection {
    /// Returns the injection of one header.
    #[must_use]
    pub fn header(name: &str, value: impl Into<Secret>) -> Self {
        Self { headers: BTreeMap::from([(name.to_owned(), value.into())]) }
    }
}

impl Egress {
    /// Closes everything but these addresses, blocks and domains, and what is
    /// allowed already. A domain with a rule stays reachable.
    pub fn close_to_all_but(&mut self, allowed: impl IntoIterator<Item = String>) {
        let ruled: Vec<String> = self.rules.keys().cloned().collect();
        for address in allowed.into_iter().chain(ruled) {
            if !self.allow.contains(&address) {
                self.allow.push(address);
            }
        }
        if !self.deny.iter().any(|denied| denied == ALL_TRAFFIC) {
            self.deny.push(ALL_TRAFFIC.to_owned());
        }
    }
}

/// As the API takes it: a list of rules, each with one transformation.
impl Serialize for Injection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Rule<'a> {
            transform: Transform<'a>,
        }
        #[derive(Serialize)]
        struct Transform<'a> {
            headers: Exposed<'a>,
        }
        struct Exposed<'a>(&'a BTreeMap<String, Secret>);
        impl Serialize for Exposed<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(self.0.len()))?;
                for (name, value) in self.0 {
                    map.serialize_entry(name, value.expose())?;
                }
                map.end()
            }
        }
        [Rule { transform: Transform { headers: Exposed(&self.headers) } }].serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_has_the_form_of_the_api_and_hides_its_value() {
        let mut egress = Egress::default();
        egress.rules.insert("api.example.com".to_owned(), Injection::header("x-api-key", "canary"));
        assert!(!format!("{egress:?}").contains("canary"));
        egress.close_to_all_but(["10.0.0.1".to_owned()]);
        assert_eq!(
            serde_json::to_value(&egress).unwrap(),
            serde_json::json!({
                "allowOut": ["10.0.0.1", "api.example.com"],
                "denyOut": [ALL_TRAFFIC],
                "rules": {"api.example.com": [{"transform": {"headers": {"x-api-key": "canary"}}}]},
            })
        );
    }
}
