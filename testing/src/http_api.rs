//! HTTP server that the scripted APIs share: it runs in a thread of its own and
//! answers in JSON or with a stream of events.

use crate::reply::Step;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// Body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// State of an API. It answers each request from its head and its body, which
/// is `Null` if it is no JSON.
pub(crate) trait Answer: Send + 'static {
    fn answer(&mut self, head: Parts, body: Value) -> Response<Body>;
}

/// A running API. Dropping it stops it.
///
/// It runs in a thread of its own, so that a test which blocks (a `Drop` that
/// waits for processes to end) does not stop the API they are waiting for.
pub(crate) struct Api<A> {
    address: SocketAddr,
    shared: Arc<Mutex<A>>,
    /// Dropping it ends the thread.
    _stop: oneshot::Sender<Infallible>,
}

impl<A: Answer> Api<A> {
    pub(crate) fn start(state: A) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let shared = Arc::new(Mutex::new(state));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime for the API");
            runtime.block_on(async {
                let listener =
                    TcpListener::from_std(listener).expect("the listener moves to tokio");
                tokio::select! {
                    () = serve(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, _stop: stop }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, A> {
        self.shared.lock().expect("no holder of this lock panics")
    }
}

async fn serve<A: Answer>(listener: TcpListener, shared: Arc<Mutex<A>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &shared));
            // An error here is a client that went away or a cut that a test
            // asked for.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer<A: Answer>(
    request: hyper::Request<Incoming>,
    shared: &Mutex<A>,
) -> Result<Response<Body>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Ok(shared.lock().expect("no holder of this lock panics").answer(head, body))
}

/// A whole answer.
pub(crate) fn json_response(status: u16, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    Response::builder()
        .status(StatusCode::from_u16(status).expect("a scripted status is a valid one"))
        .header("content-type", "application/json")
        .body(body.boxed_unsync())
        .expect("a response of fixed parts is valid")
}

/// An answer that comes in pieces.
pub(crate) fn stream_response(steps: Vec<Step>) -> Response<Body> {
    // The channel holds one event: the stream goes no faster than it is read.
    let (frames, received) = mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
    tokio::spawn(async move {
        for step in steps {
            let frame = match step {
                Step::Pass(gate) => {
                    tokio::select! {
                        () = gate.pass() => continue,
                        // The reader has gone: an interrupted turn.
                        () = frames.closed() => return,
                    }
                }
                Step::Event(event) => Ok(Frame::data(Bytes::from(event))),
                Step::Cut => Err(io::Error::other("the test cuts the connection")),
            };
            if frames.send(frame).await.is_err() {
                return;
            }
        }
    });
    let body = StreamBody::new(futures_util::stream::unfold(received, async |mut received| {
        received.recv().await.map(|frame| (frame, received))
    }));
    Response::builder()
        .header("content-type", "text/event-stream")
        .body(UnsyncBoxBody::new(body))
        .expect("a response of fixed parts is valid")
}
