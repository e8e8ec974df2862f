//! One attempt to deliver a notice to an address.
//!
//! The name is resolved once, each of its addresses is checked, and the
//! connection goes to one of those: no second look at the name could give
//! another. Redirections are not followed.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use claude_relay_protocol::Secret;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::AttemptError;
use super::address::resolve;
use super::sign::signature;

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

pub(super) async fn post(
    url: &Uri,
    secret: Option<&Secret>,
    notice: &str,
) -> Result<(), AttemptError> {
    let refused = |reason: &dyn ToString| AttemptError::Refused(reason.to_string());
    let (Some(host), Some(authority)) = (url.host(), url.authority()) else {
        return Err(refused(&"the address has no host"));
    };
    let default = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let addresses = resolve(host, url.port_u16().unwrap_or(default)).await?;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut failure = AttemptError::Again(format!("{host} has no address"));
    for address in addresses {
        let mut request = Request::post(at(url, address).map_err(|error| refused(&error))?)
            .header(HOST, authority.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header("claude-relay-timestamp", time);
        if let Some(secret) = secret {
            let signature = signature(secret, time, notice);
            request = request.header("claude-relay-signature", format!("sha256={signature}"));
        }
        let body = Full::new(Bytes::from(notice.to_owned()));
        let request = request.body(body).map_err(|error| refused(&error))?;
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector(host)?);
        match client.request(request).await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => {
                let status = answer.status();
                let reason = format!("{host} answered {status}");
                let is_passing = status.is_server_error() || [408, 429].contains(&status.as_u16());
                return Err(match is_passing {
                    true => AttemptError::Again(reason),
                    false => AttemptError::Refused(reason),
                });
            }
            Err(error) => failure = AttemptError::Again(format!("{host}: {error}")),
        }
    }
    Err(failure)
}

/// Returns `url` with an address in the place of its host.
fn at(url: &Uri, address: SocketAddr) -> Result<Uri, hyper::http::Error> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder()
        .scheme(url.scheme_str().unwrap_or("http"))
        .authority(address.to_string())
        .path_and_query(path)
        .build()
}

#[cfg(feature = "tls")]
fn connector(host: &str) -> Result<Connector, AttemptError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    // The certificate is for the name, not for the address.
    let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let builder = hyper_rustls::HttpsConnectorBuilder::new().with_native_roots();
    let builder = builder.map_err(|error| AttemptError::Again(error.to_string()))?;
    let name = move |_: &Uri| name.clone().try_into();
    let builder = builder.https_or_http().with_server_name_resolver(name);
    Ok(builder.enable_http1().wrap_connector(http))
}

#[cfg(not(feature = "tls"))]
fn connector(_: &str) -> Result<Connector, AttemptError> {
    Ok(HttpConnector::new())
}
