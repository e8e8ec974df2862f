//! A bucket that speaks S3.
//!
//! Its client is the HTTP client that the server has anyway. It takes
//! credentials from the settings alone, and asks no metadata service for any.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Tcp;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStoreExt as _, PutPayload, RetryConfig};

use super::access::BucketAccess;
use super::backend::{Listing, MAX_NAMES, StoreError};

/// Timeout for connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Idle timeout of a connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A part of a bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Arc<AmazonS3>,
    prefix: String,
    max_names: usize,
}

impl Bucket {
    /// Returns the part of `bucket` below `prefix`.
    ///
    /// # Errors
    ///
    /// Returns a reason without secrets.
    pub fn new(bucket: &str, prefix: &str, access: &BucketAccess) -> Result<Self, String> {
        // The task of the store retries by itself.
        let no_retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(access.region.as_str())
            .with_access_key_id(access.key_id.as_str())
            .with_secret_access_key(access.secret.expose())
            .with_retry(no_retry)
            .with_client_options(ClientOptions::new())
            .with_http_connector(Connector);
        if let Some(token) = &access.token {
            builder = builder.with_token(token.expose());
        }
        if let Some(endpoint) = &access.endpoint {
            builder = builder
                .with_endpoint(endpoint.as_str())
                .with_allow_http(endpoint.starts_with("http://"));
        }
        let client = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { client: Arc::new(client), prefix: prefix.to_owned(), max_names: MAX_NAMES })
    }

    fn path(&self, path: &str) -> Path {
        match (self.prefix.as_str(), path) {
            ("", path) => Path::from(path),
            (prefix, "") => Path::from(prefix),
            (prefix, path) => Path::from(format!("{prefix}/{path}")),
        }
    }

    pub(super) async fn put(&self, path: &str, body: Bytes) -> Result<(), StoreError> {
        self.client.put(&self.path(path), PutPayload::from_bytes(body)).await?;
        Ok(())
    }

    pub(super) async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        Ok(self.client.get(&self.path(path)).await?.bytes().await?)
    }

    /// Lists one part after the other, so that a listing without an end is noticed.
    pub(super) async fn list(&self, path: &str) -> Result<Listing, StoreError> {
        let below = self.path(path);
        let prefix = (!below.as_ref().is_empty()).then(|| format!("{below}/"));
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut listing = Listing::default();
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions {
                delimiter: Some("/".into()),
                page_token,
                ..PaginatedListOptions::default()
            };
            let page = self.client.list_paginated(prefix.as_deref(), options).await?;
            listing.directories.extend(page.result.common_prefixes.iter().filter_map(name));
            let objects = page.result.objects.iter();
            listing.objects.extend(objects.filter_map(|object| name(&object.location)));
            let names = listing.directories.len() + listing.objects.len();
            if names > self.max_names {
                return Err(StoreError::TooLarge(below.to_string()));
            }
            match page.page_token {
                Some(token) => page_token = Some(token),
                None => return Ok(listing),
            }
        }
    }
}

/// Makes the client.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source: io::Error| object_store::Error::Generic {
            store: "S3",
            source: Box::new(source),
        };
        let mut tcp = Tcp::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(failed)?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(HttpClient::new(Http(client)))
    }
}

#[derive(Debug)]
struct Http(Client<hyper_rustls::HttpsConnector<Tcp>, HttpRequestBody>);

impl HttpService for Http {
    fn call<'life, 'result>(
        &'life self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'result>>
    where
        'life: 'result,
        Self: 'result,
    {
        Box::pin(async move {
            let answer = self.0.request(request).await.map_err(|error| {
                let kind = match error.is_connect() {
                    true => HttpErrorKind::Connect,
                    false => HttpErrorKind::Request,
                };
                HttpError::new(kind, error)
            })?;
            let body = |body: hyper::body::Incoming| {
                use http_body_util::BodyExt as _;
                let failed = |error| HttpError::new(HttpErrorKind::Interrupted, error);
                HttpResponseBody::new(body.map_err(failed))
            };
            Ok(answer.map(body))
        })
    }
}

#[cfg(test)]
mod tests;
