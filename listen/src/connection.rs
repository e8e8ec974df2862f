//! One HTTP connection: its requests, its bounds, its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use super::head::{self, BadHead};
use super::head_guard::{HEAD_TIMEOUT, HeadGuard};
use super::lifetime::Lifetime;
use super::permits::ConnectionPermits;

/// Maximum time that the shutdown of a connection may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves a connection until it ends, is upgraded or has to make room. `answer`
/// gets each request, with the reason if its head was refused.
pub async fn serve_with<B, F>(
    guard: HeadGuard,
    places: ConnectionPermits,
    answer: impl Fn(Request<Incoming>, Option<BadHead>, Arc<ConnectionPermits>) -> F,
) where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Response<B>>,
{
    serve_within(guard, places, &Lifetime::default(), answer).await;
}

/// As [`serve_with`], with a `lifetime` that `answer` may move.
pub async fn serve_within<B, F>(
    guard: HeadGuard,
    places: ConnectionPermits,
    lifetime: &Lifetime,
    answer: impl Fn(Request<Incoming>, Option<BadHead>, Arc<ConnectionPermits>) -> F,
) where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Response<B>>,
{
    let places = Arc::new(places);
    let connection = Arc::clone(&places);
    let refused = guard.refused();
    let service = service_fn(move |request| {
        let bad = refused.error_for(&request).cloned();
        let answering = answer(request, bad, Arc::clone(&places));
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // A client that closes its side after a request still gets the
        // response.
        .half_close(true)
        .max_headers(head::MAX_FIELDS)
        .max_buf_size(head::MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(guard), service)
        .with_upgrades();
    tokio::pin!(serving);
    let served = tokio::select! {
        served = lifetime.bound(&mut serving) => served,
        () = connection.evicted() => return,
    };
    drop(connection);
    let served = match served {
        Some(served) => served,
        None => {
            serving.as_mut().graceful_shutdown();
            timeout(SHUTDOWN_TIMEOUT, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        // Any client can cause these, so they are not worth a warning.
        tracing::debug!("a connection ended early: {error}");
    }
}
