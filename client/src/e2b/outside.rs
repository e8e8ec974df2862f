//! Credentials that never enter a sandbox: the platform puts them on requests
//! outside of it, and the agent gets a placeholder.

use std::collections::BTreeMap;

use claude_relay_e2b::{Egress, Injection};
use claude_relay_protocol::credentials::{
    self, BASE_URL, Credential, Header, OPENAI_BASE_URL, Receiver,
};
use hyper::Uri;

use crate::net::address::Address;
use crate::types::Secret;
use crate::types::config::Configuration;

/// The value that the agent gets in the place of a credential.
pub(crate) const PLACEHOLDER: &str = "placeholder-the-key-is-added-outside-of-the-sandbox";

/// An API whose credential can be added outside.
struct Api {
    receiver: Receiver,
    /// The host that it has by default.
    host: &'static str,
    /// Other hosts of the same owner end so.
    domain: &'static str,
    /// The variable that names another address.
    address: &'static str,
    /// The variables of its credentials, the one that counts first.
    credentials: &'static [&'static str],
}

const APIS: [Api; 2] = [
    Api {
        receiver: Receiver::MessagesApi,
        host: "api.anthropic.com",
        domain: ".anthropic.com",
        address: BASE_URL,
        credentials: &["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"],
    },
    Api {
        receiver: Receiver::OpenAi,
        host: "api.openai.com",
        domain: ".openai.com",
        address: OPENAI_BASE_URL,
        credentials: &["CODEX_API_KEY", "OPENAI_API_KEY"],
    },
];

/// Moves the credentials for Anthropic's and OpenAI's own addresses from the
/// configuration into rules of the network.
pub(crate) fn keep_outside(configuration: &mut Configuration, egress: &mut Egress) {
    for api in &APIS {
        let Some(host) = api.host(configuration) else { continue };
        let found = api.credentials.iter().find_map(|variable| {
            let credential = credentials::by_variable(variable)?;
            debug_assert_eq!(credential.receiver, api.receiver);
            Some((*variable, injection(credential, value(configuration, variable)?)?))
        });
        let Some((used, injection)) = found else { continue };
        // The others would not be used, and are nobody's business.
        for variable in api.credentials {
            replace(configuration, variable, (*variable == used).then_some(PLACEHOLDER));
        }
        egress.rules.insert(host, injection);
    }
}

/// Returns variables for an agent in a sandbox with a placeholder in place of the
/// credential for Anthropic's and OpenAI's own addresses, and the rules of the
/// network that put it on the agent's requests outside of the sandbox.
///
/// # Examples
///
/// ```
/// use claude_relay_client::e2b::keep_variables_outside;
///
/// let variables = [("ANTHROPIC_API_KEY".to_owned(), "sk-ant-secret".to_owned())];
/// let (variables, rules) = keep_variables_outside(variables.into());
/// assert!(!variables["ANTHROPIC_API_KEY"].contains("sk-ant-secret"));
/// assert!(rules.contains_key("api.anthropic.com"));
/// ```
#[must_use]
pub fn keep_variables_outside(
    variables: BTreeMap<String, String>,
) -> (BTreeMap<String, String>, BTreeMap<String, Injection>) {
    let secrets = variables.into_iter().map(|(name, value)| (name, Secret::from(value)));
    let mut configuration =
        Configuration { env: Some(secrets.collect()), ..Configuration::default() };
    let mut egress = Egress::default();
    keep_outside(&mut configuration, &mut egress);
    let variables = configuration.env.unwrap_or_default().into_iter();
    let variables = variables.map(|(name, value)| (name, value.expose().to_owned()));
    (variables.collect(), egress.rules)
}

/// Returns the variable that names a model's API on this machine, which an agent in
/// a sandbox does not reach: there it would mean the sandbox itself.
///
/// # Examples
///
/// ```
/// use claude_relay_client::e2b::unreachable_variable;
///
/// let variables = [("ANTHROPIC_BASE_URL".to_owned(), "http://localhost:4000".to_owned())];
/// assert_eq!(unreachable_variable(&variables.into()), Some("ANTHROPIC_BASE_URL"));
/// ```
#[must_use]
pub fn unreachable_variable(variables: &BTreeMap<String, String>) -> Option<&'static str> {
    let is_here = |text: &String| is_on_this_machine(text);
    APIS.iter().map(|api| api.address).find(|name| variables.get(*name).is_some_and(is_here))
}

/// Returns true if an address means the machine that it is used on.
pub(crate) fn is_on_this_machine(address: &str) -> bool {
    Address::parse(address).is_ok_and(|address| address.names_this_machine())
}

/// The hosts that an agent with this configuration needs for its model.
pub(crate) fn model_hosts(configuration: &Configuration) -> Vec<String> {
    let wanted = match configuration.provider.as_deref() {
        Some("codex") => Receiver::OpenAi,
        _ => Receiver::MessagesApi,
    };
    let api = APIS.iter().filter(|api| api.receiver == wanted);
    api.map(|api| {
        let address = address(configuration, api.address);
        let host = address.and_then(|address| address.host().map(str::to_ascii_lowercase));
        host.unwrap_or_else(|| api.host.to_owned())
    })
    .collect()
}

impl Api {
    /// The host of this API, if it is its owner's and reached by HTTPS.
    fn host(&self, configuration: &Configuration) -> Option<String> {
        if !is_named(configuration, self.address) {
            return Some(self.host.to_owned());
        }
        let address = address(configuration, self.address)?;
        let host = address.host()?.to_ascii_lowercase();
        let is_owners = host == self.host || host.ends_with(self.domain);
        let is_https = address.scheme_str() == Some("https");
        let is_usual = address.port_u16().is_none_or(|port| port == 443);
        (is_owners && is_https && is_usual).then_some(host)
    }
}

fn is_named(configuration: &Configuration, variable: &str) -> bool {
    address_text(configuration, variable).is_some()
}

fn address(configuration: &Configuration, variable: &str) -> Option<Uri> {
    address_text(configuration, variable)?.parse().ok()
}

fn address_text<'a>(configuration: &'a Configuration, variable: &str) -> Option<&'a str> {
    let env = configuration.env.as_ref().and_then(|env| env.get(variable)).map(Secret::expose);
    let field = configuration.anthropic_base_url.as_deref().filter(|_| variable == BASE_URL);
    env.or(field).filter(|text| !text.is_empty())
}

/// The value of a credential: a variable beats a field.
fn value(configuration: &Configuration, variable: &str) -> Option<Secret> {
    let env = configuration.env.as_ref().and_then(|env| env.get(variable));
    let field = match variable {
        "ANTHROPIC_API_KEY" => configuration.anthropic_api_key.as_ref(),
        "ANTHROPIC_AUTH_TOKEN" => configuration.anthropic_auth_token.as_ref(),
        "CLAUDE_CODE_OAUTH_TOKEN" => configuration.claude_code_oauth_token.as_ref(),
        _ => None,
    };
    env.or(field).filter(|secret| !secret.is_empty()).cloned()
}

/// Puts another value wherever a credential is set, or removes it.
fn replace(configuration: &mut Configuration, variable: &str, with: Option<&str>) {
    let put = |place: &mut Option<Secret>| {
        if place.is_some() {
            *place = with.map(Secret::from);
        }
    };
    match variable {
        "ANTHROPIC_API_KEY" => put(&mut configuration.anthropic_api_key),
        "ANTHROPIC_AUTH_TOKEN" => put(&mut configuration.anthropic_auth_token),
        "CLAUDE_CODE_OAUTH_TOKEN" => put(&mut configuration.claude_code_oauth_token),
        _ => {}
    }
    let Some(env) = &mut configuration.env else { return };
    match with {
        Some(with) => {
            if let Some(place) = env.get_mut(variable) {
                *place = with.into();
            }
        }
        None => drop(env.remove(variable)),
    }
}

fn injection(credential: &Credential, secret: Secret) -> Option<Injection> {
    let headers = match credential.header {
        Header::ApiKey => BTreeMap::from([("x-api-key".to_owned(), secret)]),
        Header::Bearer => {
            let bearer = format!("Bearer {}", secret.expose());
            BTreeMap::from([("authorization".to_owned(), bearer.into())])
        }
        Header::Listed | Header::None => return None,
    };
    Some(Injection { headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(change: impl FnOnce(&mut Configuration)) -> (serde_json::Value, serde_json::Value) {
        let mut configuration = Configuration::default();
        change(&mut configuration);
        let mut egress = Egress::default();
        keep_outside(&mut configuration, &mut egress);
        (
            serde_json::to_value(&configuration).unwrap(),
            serde_json::to_value(&egress.rules).unwrap(),
        )
    }

    fn rule(host: &str, name: &str, value: &str) -> serde_json::Value {
        serde_json::json!({ host: [{ "transform": { "headers": { name: value } } }] })
    }

    fn env(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, Secret>> {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        Some(pairs.collect())
    }

    #[test]
    fn a_credential_for_its_owners_address_is_moved_into_a_rule() {
        let (configuration, rules) = moved(|c| c.anthropic_api_key = Some("canary".into()));
        assert_eq!(configuration["anthropicApiKey"], PLACEHOLDER);
        assert_eq!(rules, rule("api.anthropic.com", "x-api-key", "canary"));

        let (configuration, rules) = moved(|c| c.claude_code_oauth_token = Some("canary".into()));
        assert_eq!(configuration["claudeCodeOauthToken"], PLACEHOLDER);
        assert_eq!(rules, rule("api.anthropic.com", "authorization", "Bearer canary"));

        let (configuration, rules) = moved(|c| c.env = env(&[("OPENAI_API_KEY", "canary")]));
        assert_eq!(configuration["env"]["OPENAI_API_KEY"], PLACEHOLDER);
        assert_eq!(rules, rule("api.openai.com", "authorization", "Bearer canary"));

        // Of several, the agent uses one.
        let (configuration, rules) = moved(|c| {
            c.anthropic_api_key = Some("canary".into());
            c.claude_code_oauth_token = Some("canary-too".into());
            c.env = env(&[("ANTHROPIC_API_KEY", "canary-of-env"), ("A", "1")]);
        });
        assert!(!configuration.to_string().contains("canary"), "{configuration}");
        assert_eq!(configuration["env"]["A"], "1");
        assert_eq!(rules, rule("api.anthropic.com", "x-api-key", "canary-of-env"));
    }

    #[test]
    fn the_address_decides_whose_key_it_is() {
        for (address, outside) in [
            ("https://api.anthropic.com", true),
            ("https://eu.api.anthropic.com/v1", true),
            ("https://api.anthropic.com:8443", false),
            ("http://api.anthropic.com", false),
            ("https://gateway.example", false),
            ("https://api.anthropic.com.evil.example", false),
            ("https://evilanthropic.com", false),
            ("http://localhost:1234", false),
            ("nonsense", false),
        ] {
            for of_env in [false, true] {
                let (configuration, rules) = moved(|c| {
                    c.anthropic_api_key = Some("canary".into());
                    match of_env {
                        true => c.env = env(&[(BASE_URL, address)]),
                        false => c.anthropic_base_url = Some(address.to_owned()),
                    }
                });
                let inside = configuration.to_string().contains("canary");
                assert_eq!(
                    (inside, rules == serde_json::json!({})),
                    (!outside, !outside),
                    "{address}"
                );
            }
        }
    }

    #[test]
    fn the_model_stays_reachable() {
        let mut configuration = Configuration::default();
        assert_eq!(model_hosts(&configuration), ["api.anthropic.com"]);
        configuration.anthropic_base_url = Some("https://gateway.example/x".to_owned());
        assert_eq!(model_hosts(&configuration), ["gateway.example"]);
        configuration.provider = Some("codex".to_owned());
        assert_eq!(model_hosts(&configuration), ["api.openai.com"]);
    }
}
