//! Panics inside the server. No known defect causes one, so these tests install
//! a log that panics at a certain line.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use clap::Parser as _;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;
use crate::settings::{Args, Settings};

/// Log that keeps its lines, and panics at the first one that contains a text.
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    panics_at: Mutex<Option<&'static str>>,
}

impl Log {
    fn panics_at(text: &'static str) -> Self {
        Self { lines: Arc::default(), panics_at: Mutex::new(Some(text)) }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = String::new();
        event.record(&mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line.push_str(&format!("{value:?} "));
        });
        let text = &mut *self.panics_at.lock().unwrap_or_else(PoisonError::into_inner);
        if text.take_if(|text| line.contains(*text)).is_some() {
            panic!("a defect");
        }
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// Starts a server without an agent in this process.
async fn server() -> (SocketAddr, JoinHandle<Result<(), SessionPanicked>>, mpsc::Sender<()>) {
    let args = ["relay", "--workspace=/proc/no-such-place", "--claude-path=/proc/no-such-program"];
    let environment = [("HOME".into(), "/proc".into())].into();
    let settings = Settings::read(Args::parse_from(args), environment, false).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = mpsc::channel(1);
    (
        address,
        tokio::spawn(serve(listener, Arc::new(Runtime::without_isolation(settings)), stopped)),
        stop,
    )
}

async fn client(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    client_async(format!("ws://{address}/ws"), stream).await.unwrap().0
}

#[tokio::test]
async fn panicking_connection_is_logged_and_frees_the_slot() {
    let log = Log::panics_at("connection ended");
    let lines = Arc::clone(&log.lines);
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log));
    let (address, serving, stop) = server().await;
    let mut first = client(address).await;
    assert_eq!(first.next().await.unwrap().unwrap(), Message::text(r#"{"type":"connected"}"#));
    first.send(Message::Close(None)).await.unwrap();
    while let Some(Ok(_)) = first.next().await {}
    let mut second = client(address).await;
    assert_eq!(second.next().await.unwrap().unwrap(), Message::text(r#"{"type":"connected"}"#));
    stop.send(()).await.unwrap();
    while let Some(Ok(_)) = second.next().await {}
    serving.await.unwrap().unwrap();
    let logged = lines.lock().unwrap().iter().any(|line: &String| line.contains("a defect of the"));
    assert!(logged, "{lines:?}");
}

/// Without its session the server cannot work, so it ends with an error.
#[tokio::test]
async fn panicking_session_ends_the_server() {
    let log = Log::panics_at("client connected");
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log));
    let (address, serving, _stop) = server().await;
    let mut client = client(address).await;
    while let Some(Ok(_)) = client.next().await {}
    let failed = serving.await.unwrap().unwrap_err();
    assert!(failed.to_string().contains("the session has failed"), "{failed}");
}
