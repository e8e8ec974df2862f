//! How a port of a sandbox is reached.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::Error;
use crate::http::secret_header;
use crate::sandbox::Sandbox;
use crate::settings::{ENVD_PORT, Settings};

/// The header that carries a sandbox's traffic token, on HTTP requests and on
/// the upgrade to a WebSocket alike.
pub const TRAFFIC_TOKEN_HEADER: &str = "e2b-traffic-access-token";

/// Where a port of a sandbox is: an address and the headers that every
/// request to it must carry. The API key is never among them.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The address, `http` or `https`, with the path `/`.
    pub url: Url,
    /// The headers. Those that are secret are marked as sensitive.
    pub headers: HeaderMap,
}

impl Endpoint {
    pub(crate) fn of(sandbox: &Sandbox, port: u16) -> Result<Self, Error> {
        let settings = sandbox.e2b.settings();
        let operation = format!("reach port {port} of sandbox {}", sandbox.id());
        let routed = settings.sandbox_url.is_some();
        let url = match &settings.sandbox_url {
            Some(url) => url.clone(),
            None if settings.debug => parse(&format!("http://localhost:{port}"), &operation)?,
            // E2B's own cloud has one address for the envd of all sandboxes.
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

fn parse(address: &str, operation: &str) -> Result<Url, Error> {
    Url::parse(address).map_err(|error| Error::Malformed {
        operation: operation.to_owned(),
        problem: format!("{address}: {error}"),
    })
}

fn header(value: &str, operation: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value).map_err(|error| Error::Malformed {
        operation: operation.to_owned(),
        problem: error.to_string(),
    })
}
