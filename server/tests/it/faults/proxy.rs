//! A network that fails in the ways that leave no trace at the ends: a proxy
//! between client and server that goes silent, or breaks the line.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Treatment of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Up,
    /// Nothing passes, nothing is closed.
    Silent,
}

/// One TCP proxy; every connection through it shares its fate.
pub(crate) struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// A proxy to `server` that passes everything.
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (line, watched) = watch::channel(Line::Up);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(pass(from_client, to_server, watched.clone()));
                tokio::spawn(pass(from_server, to_client, watched.clone()));
            }
        });
        Self { address, line, accepting }
    }

    /// Address for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, and neither end is told.
    pub(crate) fn go_silent(&self) {
        self.line.send_replace(Line::Silent);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: watch::Receiver<Line>,
) {
    let mut chunk = vec![0; 16 << 10];
    loop {
        let read = tokio::select! {
            biased;
            silent = async { line.wait_for(|line| *line == Line::Silent).await.is_ok() } => {
                if silent {
                    // Both sockets stay open and unread for as long as a test
                    // can last.
                    tokio::time::sleep(Duration::from_secs(600)).await;
                }
                return;
            }
            read = from.read(&mut chunk) => read,
        };
        match read {
            Ok(length @ 1..) if to.write_all(&chunk[..length]).await.is_ok() => {}
            _ => return,
        }
    }
}
