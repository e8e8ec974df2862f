//! A web backend between a relay and browsers: the relay, its token and the
//! agent stay behind it, and several browsers can watch one agent.
//!
//! `GET /events` is a stream of server-sent events, each the agent's line as
//! it came; `POST /ask` sends its body to the agent. A real one would ask for
//! a login first.
//!
//! `cargo run --example web_backend -- http://localhost:3000 127.0.0.1:8080`

use std::convert::Infallible;
use std::error::Error;
use std::io::Write as _;

use bytes::Bytes;
use claude_relay_client::{Client, Messages, ServerMessage};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, Infallible>;

/// The longest question that is taken.
const MAX_QUESTION_BYTES: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or("http://localhost:3000".to_owned());
    let listen = arguments.next().unwrap_or("127.0.0.1:8080".to_owned());

    let client = Client::builder().connection_url(url).start().await?;
    let listener = TcpListener::bind(listen).await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let client = client.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(client.clone(), request));
            // A browser that goes away is no reason to stop.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(client: Client, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let mut response = match (request.method(), request.uri().path()) {
        (&Method::GET, "/events") => {
            let (sender, body) = Channel::new(16);
            tokio::spawn(forward(client.messages(), sender));
            let mut response = Response::new(body.boxed());
            let kind = hyper::header::HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
            response
        }
        (&Method::POST, "/ask") => {
            match Limited::new(request.into_body(), MAX_QUESTION_BYTES).collect().await {
                Err(error) => failed(StatusCode::BAD_REQUEST, error.to_string()),
                Ok(question) => {
                    let question = question.to_bytes();
                    match client.send(&*String::from_utf8_lossy(&question)).await {
                        Ok(()) => failed(StatusCode::ACCEPTED, String::new()),
                        Err(error) => failed(StatusCode::BAD_GATEWAY, error.to_string()),
                    }
                }
            }
        }
        _ => failed(StatusCode::NOT_FOUND, "not found".to_owned()),
    };
    let policy = hyper::header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(hyper::header::CACHE_CONTROL, policy);
    Ok(response)
}

/// Passes on the frames of the agent, byte for byte. A browser that reads
/// slowly holds up the others: a real backend would drop it after a while.
async fn forward(mut messages: Messages, mut browser: Sender<Bytes, Infallible>) {
    while let Some(Ok(message)) = messages.next().await {
        let ServerMessage::Sdk(message) = message else { continue };
        let event = format!("data: {}\n\n", message.frame());
        if browser.send_data(event.into()).await.is_err() {
            return;
        }
    }
}

fn failed(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Full::from(text).boxed());
    *response.status_mut() = status;
    response
}
