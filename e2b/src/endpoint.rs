//! Addresses of the ports of a sandbox.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Error;
use crate::http::secret_header;
use crate::sandbox::Sandbox;
use crate::settings::{ENVD_PORT, Settings};

/// Header of a sandbox's traffic token, for HTTP requests and WebSocket
/// upgrades.
pub const TRAFFIC_TOKEN_HEADER: &str = "e2b-traffic-access-token";

/// Address of a sandbox's port and the headers that every request to it must
/// have. The API key is never among them.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The address, `http` or `https`, with the path `/`.
    pub url: Url,
    /// The headers. Secret ones are marked as sensitive.
    pub headers: HeaderMap,
}

impl Endpoint {
    fn of(sandbox: &Sandbox, port: u16) -> Result<Self, Error> {
        let settings = sandbox.e2b.settings();
        let operation = format!("reach port {port} of sandbox {}", sandbox.id());
        let routed = settings.sandbox_url.is_some();
        let url = match &settings.sandbox_url {
            Some(url) => url.clone(),
            None if settings.debug => parse(&format!("http://localhost:{port}"), &operation)?,
            // E2B's cloud has one address for the envd of all sandboxes.
            None if port == ENVD_PORT && Settings::shares_address(sandbox.domain()) => {
                parse(&format!("https://sandbox.{}", sandbox.domain()), &operation)?
            }
            None => parse(&format!("https://{}", sandbox.host(port)), &operation)?,
        };
        let mut headers = HeaderMap::new();
        if routed || port == ENVD_PORT {
            let id = header(sandbox.id().as_str(), &operation)?;
            headers.insert(HeaderName::from_static("e2b-sandbox-id"), id);
            headers.insert(HeaderName::from_static("e2b-sandbox-port"), HeaderValue::from(port));
        }
        if let Some(token) = sandbox.token_for(port) {
            let name = HeaderName::from_static(TRAFFIC_TOKEN_HEADER);
            headers.insert(name, secret_header(token, &operation)?);
        }
        Ok(Self { url, headers })
    }
}

impl Sandbox {
    /// Returns the address and headers of one of its ports.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the API's token or domain cannot be used.
    pub fn endpoint(&self, port: u16) -> Result<Endpoint, Error> {
        Endpoint::of(self, port)
    }
}

fn parse(address: &str, operation: &str) -> Result<Url, Error> {
    Url::parse(address).map_err(|error| Error::Malformed {
        operation: operation.to_owned(),
        source: format!("{address}: {error}").into(),
    })
}

fn header(value: &str, operation: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value)
        .map_err(|error| Error::Malformed { operation: operation.to_owned(), source: error.into() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::http::{Answer, E2b};

    /// Returns the address of a port with the domain of the settings and of the
    /// API's answer.
    fn address(settings: &[(&str, &str)], domain: Option<&str>, port: u16) -> String {
        let mut variables: BTreeMap<String, String> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        variables.insert("E2B_API_KEY".to_owned(), "k".to_owned());
        let settings = crate::settings::Options::default().resolve_with(&variables).unwrap();
        let body = serde_json::json!({
            "sandboxID": "i1", "templateID": "t", "clientID": "c", "envdVersion": "0.6.1",
            "trafficAccessToken": "traffic", "domain": domain,
        });
        let answer = Answer { headers: Default::default(), body: body.to_string().into() };
        let sandbox = E2b::new(settings).unwrap().sandbox(&answer, "test").unwrap();
        let endpoint = sandbox.endpoint(port).unwrap();
        let mut said = endpoint.url.to_string();
        for (name, value) in &endpoint.headers {
            said.push_str(&format!(" {name}={}", value.to_str().unwrap()));
        }
        said
    }

    #[test]
    fn a_port_has_the_address_that_the_sdk_gives_it() {
        let token = "e2b-traffic-access-token=traffic";
        let routed = "e2b-sandbox-id=i1 e2b-sandbox-port";
        assert_eq!(address(&[], None, 3000), format!("https://3000-i1.e2b.app/ {token}"));
        assert_eq!(address(&[], None, 49983), format!("https://sandbox.e2b.app/ {routed}=49983"));
        let own = [("E2B_DOMAIN", "self.example")];
        assert_eq!(address(&own, None, 3000), format!("https://3000-i1.self.example/ {token}"));
        assert_eq!(
            address(&own, None, 49983),
            format!("https://49983-i1.self.example/ {routed}=49983")
        );
        // The answer's domain overrides the settings', unless it is empty.
        let eu = address(&own, Some("eu.example"), 3000);
        assert_eq!(eu, format!("https://3000-i1.eu.example/ {token}"));
        let empty = address(&own, Some(""), 3000);
        assert_eq!(empty, format!("https://3000-i1.self.example/ {token}"));
        let proxy = address(&[("E2B_SANDBOX_URL", "http://localhost:3002")], None, 3000);
        assert_eq!(proxy, format!("http://localhost:3002/ {routed}=3000 {token}"));
        let debug = address(&[("E2B_DEBUG", "true")], None, 3000);
        assert_eq!(debug, format!("http://localhost:3000/ {token}"));
    }
}
