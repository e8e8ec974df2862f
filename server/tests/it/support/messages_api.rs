//! A Messages API on loopback for the real CLI to talk to: it answers as a
//! test has scripted and remembers every request for the test to look at.

use super::reply::{Message, Reply, Step, error_body};
use super::wait;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// The API, up until it is dropped.
///
/// It runs in a thread of its own, so that a test which blocks (a `Drop` that
/// waits for processes to end) does not stop the API they are waiting for.
pub(crate) struct MessagesApi {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    /// Dropping it ends the thread.
    _stop: oneshot::Sender<Infallible>,
}

#[derive(Default)]
struct Shared {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
    answered: u32,
}

/// Stands in the user's message when the agent has no tools to offer, so that
/// its turns can be told from the requests beside them.
pub(crate) const TURN_WITHOUT_TOOLS: &str = "(a turn without tools)";

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// `Null` when there was no body.
    pub(crate) body: Value,
}

impl Request {
    /// Whether this is a step of the conversation itself: the CLI also asks
    /// for small things beside it (a title, say), which bring no tools; see
    /// [`TURN_WITHOUT_TOOLS`].
    pub(crate) fn is_turn(&self) -> bool {
        self.method == Method::POST
            && self.path.starts_with("/v1/messages?")
            && (self.body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
                || self
                    .user_messages()
                    .iter()
                    .any(|message| message["content"].to_string().contains(TURN_WITHOUT_TOOLS)))
    }

    /// The texts of the system prompt's blocks, in order.
    pub(crate) fn system(&self) -> Vec<&str> {
        strings(&self.body["system"], "text")
    }

    /// The names of the tools the model may ask for.
    pub(crate) fn tools(&self) -> Vec<&str> {
        strings(&self.body["tools"], "name")
    }

    /// The messages of the user, tool results among them. A CLI of late puts
    /// messages of the role `system` between them.
    pub(crate) fn user_messages(&self) -> Vec<&Value> {
        let messages = self.body["messages"].as_array();
        messages.into_iter().flatten().filter(|message| message["role"] == "user").collect()
    }

    /// The value of a header, empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("an ASCII header"))
    }
}

fn strings<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|item| item[field].as_str()).collect()
}

impl MessagesApi {
    /// Starts the API with nothing scripted: a turn nobody wrote a reply for
    /// is answered 400, so it cannot go unseen.
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime for the Messages API");
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

    /// The address for `ANTHROPIC_BASE_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Adds replies to the conversation's next turns, in order.
    pub(crate) fn script(&self, replies: impl IntoIterator<Item = impl Into<Reply>>) {
        self.lock().replies.extend(replies.into_iter().map(Into::into));
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// The conversation's own requests so far.
    pub(crate) fn turns(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_turn).collect()
    }

    /// Waits until `count` requests of the conversation have come and gives
    /// the last of them.
    pub(crate) async fn turn(&self, count: usize) -> Request {
        wait::until(&format!("request {count} at the Messages API"), || {
            self.turns().into_iter().nth(count - 1)
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder of this lock panics")
    }
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

async fn serve(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve_connection(stream, Arc::clone(&shared)));
    }
}

async fn serve_connection(stream: TcpStream, shared: Arc<Mutex<Shared>>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    });
    // An error here is a CLI that went away or a cut that a test asked for.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    shared: &Mutex<Shared>,
) -> hyper::Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return error_response(400);
    };
    let request = Request {
        method: head.method,
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: head.headers,
        body: serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null),
    };
    let is_turn = request.is_turn();
    let is_stream = request.body["stream"] == true;
    let model = request.body["model"].clone();
    let path = request.path.clone();

    let (reply, id) = {
        let mut shared = shared.lock().expect("no holder of this lock panics");
        shared.requests.push(request);
        shared.answered += 1;
        let id = format!("msg_{:06}", shared.answered);
        (if is_turn { shared.replies.pop_front() } else { None }, id)
    };
    match reply {
        Some(Reply::Error(status)) => error_response(status),
        Some(Reply::Message(message)) if is_stream => stream_response(message, id, model),
        Some(Reply::Message(message)) => json_response(200, &message.body(&id, &model)),
        None if is_turn => error_response(400),
        None if path.starts_with("/v1/messages/count_tokens") => {
            json_response(200, &json!({ "input_tokens": 10 }))
        }
        None if path.starts_with("/v1/messages") => {
            let message = Message::default().text("beside the conversation");
            if is_stream {
                stream_response(message, id, model)
            } else {
                json_response(200, &message.body(&id, &model))
            }
        }
        // `HEAD /`: the CLI looks whether anybody is there.
        None => json_response(200, &json!({})),
    }
}

/// An error as the API sends it: what is worth another try says so, and the
/// CLI goes by that.
fn error_response(status: u16) -> hyper::Response<Body> {
    let mut response = json_response(status, &error_body(status));
    let again = if status == 429 || status >= 500 { "true" } else { "false" };
    response.headers_mut().insert("x-should-retry", hyper::header::HeaderValue::from_static(again));
    response
}

fn json_response(status: u16, body: &Value) -> hyper::Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    hyper::Response::builder()
        .status(StatusCode::from_u16(status).expect("a scripted status is a valid one"))
        .header("content-type", "application/json")
        .body(body.boxed_unsync())
        .expect("a response of fixed parts is valid")
}

fn stream_response(message: Message, id: String, model: Value) -> hyper::Response<Body> {
    // A place for one event: the stream goes no faster than it is read.
    let (frames, received) = mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
    tokio::spawn(async move {
        for step in message.steps(&id, &model) {
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
    hyper::Response::builder()
        .header("content-type", "text/event-stream")
        .body(UnsyncBoxBody::new(body))
        .expect("a response of fixed parts is valid")
}
