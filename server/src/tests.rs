//! What becomes of the server when a part of it fails by a defect of its own
//! (J11). There is no known one, so the tests bring their own: a message that
//! the reading half panics at, and a log that panics.

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

/// Keeps what is logged, and panics at a line that holds these words.
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    panics_at: &'static str,
}

impl<S: tracing::Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = String::new();
        event.record(&mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            line.push_str(&format!("{value:?} "));
        });
        assert!(!line.contains(self.panics_at), "a defect");
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// A server without an agent, in this very process.
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
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Log { lines: Arc::clone(&lines), panics_at: "(nowhere)" };
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log));
    let (address, serving, stop) = server().await;
    let mut first = client(address).await;
    assert_eq!(first.next().await.unwrap().unwrap(), Message::text(r#"{"type":"connected"}"#));
    first.send(Message::text("panic")).await.unwrap();
    while let Some(Ok(_)) = first.next().await {}
    let mut second = client(address).await;
    assert_eq!(second.next().await.unwrap().unwrap(), Message::text(r#"{"type":"connected"}"#));
    stop.send(()).await.unwrap();
    while let Some(Ok(_)) = second.next().await {}
    serving.await.unwrap().unwrap();
    let logged = lines.lock().unwrap().iter().any(|line: &String| line.contains("a defect of the"));
    assert!(logged, "{lines:?}");
}

/// There is nothing to go on with: the program ends, and whoever started it
/// starts it again.
#[tokio::test]
async fn panicking_session_ends_the_server() {
    let log = Log { lines: Arc::default(), panics_at: "client connected" };
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(log));
    let (address, serving, _stop) = server().await;
    let mut client = client(address).await;
    while let Some(Ok(_)) = client.next().await {}
    let failed = serving.await.unwrap().unwrap_err();
    assert!(failed.to_string().contains("the session has failed"), "{failed}");
}
