//! A fake of the E2B API for tests.
//!
//! It speaks as the control plane, as the storage for archives, as envd and
//! as the edge in front of the sandboxes, all on one loopback port. Every
//! request is checked against the published specification, and so is every
//! answer of its own. It can fail at every step, and it knows at the end
//! which sandboxes are still alive: [`Fake::finish`] insists that none is.

mod api;
mod edge;
mod envd;
mod proto;
mod record;
mod spec;
mod state;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use crate::record::{Channel, Recorded};
pub use crate::state::Fault;

use crate::proto::Proto;
use crate::spec::{Judged, Spec};
use crate::state::State;

/// The key that the fake accepts. Made up.
pub const API_KEY: &str = "e2b_0123456789abcdef0123456789abcdef01234567";
/// The port of envd.
const ENVD_PORT: u16 = 49983;

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A running fake. Stops when dropped.
pub struct Fake {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

struct Shared {
    address: SocketAddr,
    state: Mutex<State>,
    judges: &'static Judges,
}

/// The published files, read once for all fakes of a process: they never
/// change, and reading them takes longer than most tests.
struct Judges {
    api: Spec,
    envd: Spec,
    proto: Proto,
}

static JUDGES: LazyLock<Judges> = LazyLock::new(|| Judges {
    api: Spec::parse(include_str!("../spec/openapi.yml"), "x-api-key"),
    envd: Spec::parse(include_str!("../spec/envd/envd.yaml"), "x-access-token"),
    proto: Proto::new(),
});

/// What is answered.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: ReplyBody,
}

pub(crate) enum ReplyBody {
    Whole(Bytes),
    Stream(Body),
}

impl Fake {
    /// Starts one on a free loopback port.
    ///
    /// # Panics
    /// If there is no port, or the specification cannot be read.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared { address, state: Mutex::default(), judges: &JUDGES });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, server }
    }

    /// Its address, `http://127.0.0.1:PORT`: for the API and, with the
    /// routing headers, for every sandbox.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request of this route goes wrong. A route is a method and a
    /// path as the specification has it, `POST /sandboxes/{sandboxID}/pause`,
    /// or `PUT upload`.
    pub fn fail(&self, route: &str, fault: Fault) {
        self.state().faults.push_back((route.to_owned(), fault));
    }

    /// The next requests of this route go wrong.
    pub fn fail_times(&self, times: usize, route: &str, fault: &Fault) {
        for _ in 0..times {
            self.fail(route, fault.clone());
        }
    }

    /// Requests to this port of any sandbox go to this address.
    pub fn forward(&self, port: u16, to: SocketAddr) {
        self.state().upstreams.insert(port, to);
    }

    /// From now on a sandbox is only to be had of a template that was built
    /// here, and not of any name.
    pub fn insist_on_templates(&self) {
        self.state().insist_on_templates = true;
    }

    /// Builds fail at this step with this message.
    pub fn fail_step(&self, step: &str, message: &str) {
        self.state().failing_step = Some((step.to_owned(), message.to_owned()));
    }

    /// How many lines of a build's log each answer holds.
    pub fn log_pages(&self, pages: &[usize]) {
        self.state().log_pages = Some(pages.to_vec());
    }

    /// How many sandboxes a page of a list holds.
    pub fn page_size(&self, size: usize) {
        self.state().page_size = Some(size);
    }

    /// Keeps no requests from now on, for tests of many sandboxes.
    pub fn forget_requests(&self) {
        let mut state = self.state();
        state.forget_requests = true;
        state.requests.clear();
    }

    /// Ends a sandbox as if its time had run out.
    pub fn expire(&self, id: &str) {
        if let Some(sandbox) = self.state().sandboxes.get_mut(id) {
            sandbox.paused = false;
            sandbox.end = SystemTime::UNIX_EPOCH;
        }
        self.state().expire();
    }

    /// Makes a sandbox older than it is.
    pub fn age(&self, id: &str, by: Duration) {
        if let Some(sandbox) = self.state().sandboxes.get_mut(id) {
            sandbox.started -= by;
        }
    }

    /// The ids of the living sandboxes, paused ones included.
    #[must_use]
    pub fn alive(&self) -> Vec<String> {
        let mut state = self.state();
        state.expire();
        state.sandboxes.keys().cloned().collect()
    }

    /// How many sandboxes were made in all, and how many lived at once.
    #[must_use]
    pub fn counts(&self) -> (u64, usize) {
        let state = self.state();
        (state.created, state.most_alive)
    }

    /// The seconds that a sandbox has left.
    #[must_use]
    pub fn seconds_left(&self, id: &str) -> Option<u64> {
        let end = self.state().sandboxes.get(id)?.end;
        Some(end.duration_since(SystemTime::now()).unwrap_or_default().as_secs())
    }

    /// What a sandbox may reach, as it was last set.
    #[must_use]
    pub fn network(&self, id: &str) -> Option<Value> {
        Some(self.state().sandboxes.get(id)?.network.clone())
    }

    /// The content of a file of a sandbox.
    #[must_use]
    pub fn file(&self, id: &str, path: &str) -> Option<Vec<u8>> {
        self.state().sandboxes.get(id)?.files.files.get(path).cloned()
    }

    /// The files of an uploaded archive, with their contents.
    #[must_use]
    pub fn uploaded(&self, hash: &str) -> Option<Vec<(String, Vec<u8>)>> {
        record::entries(self.state().stored.get(hash)?)
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    /// What was wrong with requests and with the fake's own answers.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// The end of a test: everything was by the specification, the key was
    /// seen by nobody but the API, and no sandbox lives on.
    ///
    /// # Panics
    /// If not.
    pub fn finish(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "against the specification: {violations:#?}");
        for request in self.requests() {
            let whole = format!("{request:?}{}", String::from_utf8_lossy(&request.body));
            let allowed = request.channel == Channel::Api;
            assert!(allowed || !whole.contains(API_KEY), "the API key was sent to {request:?}");
        }
        let alive = self.alive();
        assert!(alive.is_empty(), "sandboxes live on: {alive:?}");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // The connections end with this task: none outlives its fake.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| handle(Arc::clone(&shared), request));
            let http = hyper::server::conn::http1::Builder::new();
            // An error here is a cut connection, often one that was asked for.
            let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

/// The connection is to be cut.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Cut {}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let headers: BTreeMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let sandbox = headers.get("e2b-sandbox-id").cloned();
    let port = headers.get("e2b-sandbox-port").and_then(|port| port.parse::<u16>().ok());
    if let (Some(id), Some(port)) = (&sandbox, port)
        && port != ENVD_PORT
    {
        return edge::forward(&shared, request, id, port, headers).await.map_err(|()| Cut);
    }

    let method = request.method().as_str().to_owned();
    let path = decode(request.uri().path());
    let query = request.uri().query().map(pairs).unwrap_or_default();
    let body = request.into_body().collect().await.map_err(|_| Cut)?.to_bytes().to_vec();
    let channel = match &sandbox {
        Some(id) if shared.state().sandboxes.contains_key(id) => Channel::Envd,
        Some(_) => Channel::Edge,
        None if path.starts_with("/bucket/") => Channel::Upload,
        None => Channel::Api,
    };
    let recorded = Recorded { channel, method, path, query, headers, body };
    let route = shared.route(&recorded);
    let wrong = shared.judge(&recorded);
    let fault = {
        let mut state = shared.state();
        state.violations.extend(wrong.iter().map(|wrong| format!("{route}: {wrong}")));
        if !state.forget_requests {
            state.requests.push(recorded.clone());
        }
        state.fault(&route)
    };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::CutBefore) => return Err(Cut),
        Some(Fault::Refuse { status, body, headers }) => {
            let mut reply = Reply::json(status, &body);
            reply.headers.extend(headers);
            return Ok(reply.response());
        }
        _ => {}
    }
    let reply = shared.answer(&recorded, sandbox.as_deref());
    match fault {
        Some(Fault::CutAfter) => Err(Cut),
        Some(Fault::Garbage) => {
            Ok(Reply::bytes(reply.status, b"<html>hello</html>".to_vec()).response())
        }
        _ => {
            shared.judge_reply(&recorded, &route, &reply);
            Ok(reply.response())
        }
    }
}

impl Shared {
    fn route(&self, request: &Recorded) -> String {
        let path = match request.channel {
            Channel::Upload => "upload",
            Channel::Api => {
                self.judges.api.route(&request.method, &request.path).unwrap_or(&request.path)
            }
            Channel::Envd | Channel::Edge => &request.path,
        };
        format!("{} {path}", request.method)
    }

    fn judge(&self, request: &Recorded) -> Vec<String> {
        let judged = Judged {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            headers: &request.headers,
            body: &request.body,
        };
        match request.channel {
            Channel::Edge => Vec::new(),
            Channel::Upload => ["x-api-key", "x-access-token", "transfer-encoding"]
                .into_iter()
                .filter(|name| request.headers.contains_key(*name))
                .map(|name| format!("{name} was sent to the storage"))
                .collect(),
            Channel::Api => self.judges.api.judge(&judged),
            Channel::Envd => match request.path.strip_prefix("/filesystem.Filesystem/") {
                Some(method) => {
                    let stream = request.headers.get("content-type").map(String::as_str)
                        == Some("application/connect+json");
                    let json = if stream { request.body.get(5..) } else { Some(&request.body[..]) };
                    self.judges.proto.judge(method, json.unwrap_or_default())
                }
                None => self.judges.envd.judge(&judged),
            },
        }
    }

    fn answer(&self, request: &Recorded, sandbox: Option<&str>) -> Reply {
        let mut state = self.state();
        match request.channel {
            Channel::Upload => api::store(&mut state, request),
            Channel::Api
                if request.headers.get("x-api-key").map(String::as_str) != Some(API_KEY) =>
            {
                Reply::refuse(401, "Invalid API key")
            }
            Channel::Api => api::answer(&mut state, request, &self.address.to_string()),
            Channel::Envd | Channel::Edge => {
                state.expire();
                let id = sandbox.unwrap_or_default();
                match state.sandboxes.get_mut(id) {
                    Some(sandbox) if !sandbox.paused => envd::answer(sandbox, request),
                    _ => edge::not_found(id),
                }
            }
        }
    }

    fn judge_reply(&self, request: &Recorded, route: &str, reply: &Reply) {
        let ReplyBody::Whole(body) = &reply.body else {
            return;
        };
        let wrong = match request.channel {
            Channel::Api => {
                self.judges.api.judge_answer(&request.method, &request.path, reply.status, body)
            }
            Channel::Envd => match request.path.strip_prefix("/filesystem.Filesystem/") {
                Some(method) if reply.status == 200 => self.judges.proto.judge_answer(method, body),
                _ => Vec::new(),
            },
            Channel::Upload | Channel::Edge => Vec::new(),
        };
        let mut state = self.state();
        state
            .violations
            .extend(wrong.iter().map(|wrong| format!("{route}: the fake itself: {wrong}")));
    }
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: ReplyBody::Whole(body.to_string().into()) }
    }

    /// A refusal as the API words it.
    pub(crate) fn refuse(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "code": status, "message": message }))
    }

    pub(crate) fn bytes(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: vec![], body: ReplyBody::Whole(body.into()) }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::bytes(status, vec![])
    }

    pub(crate) fn stream(body: Body) -> Self {
        let headers = vec![("content-type", "application/connect+json".to_owned())];
        Self { status: 200, headers, body: ReplyBody::Stream(body) }
    }

    pub(crate) fn response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = match self.body {
            ReplyBody::Whole(bytes) => full(bytes),
            ReplyBody::Stream(body) => body,
        };
        response.body(body).expect("statuses and headers of the fake are sound")
    }
}

pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).boxed()
}

/// The pairs of a query, decoded.
fn pairs(query: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    query.split('&').filter(|part| !part.is_empty()).map(pair).collect()
}

/// Undoes percent-encoding, with `+` for a space.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
