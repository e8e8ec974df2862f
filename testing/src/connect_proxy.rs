//! An HTTP proxy that opens tunnels by `CONNECT`, all to one port of this
//! machine, whatever host is asked for.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::TcpStream;

use crate::fake_relay::{Peer, Request};
use crate::tcp_service::TcpService;

/// Serves until dropped.
pub struct ConnectProxy {
    /// Its port.
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    _service: TcpService,
}

impl ConnectProxy {
    /// Opens tunnels to `to`, for those who send `credentials` as their
    /// `Proxy-Authorization`, if any are wanted.
    pub async fn start(to: u16, credentials: Option<&'static str>) -> Self {
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let seen = Arc::clone(&requests);
        let service = TcpService::start(move |stream| {
            let seen = Arc::clone(&seen);
            async move {
                let see = |request: &Request| seen.lock().unwrap().push(request.clone());
                serve(Peer { stream }, to, credentials, see).await;
            }
        });
        let service = service.await;
        Self { port: service.port, requests, _service: service }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// Serves one client of a proxy, whose request `see` is shown.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut peer: Peer<S>,
    to: u16,
    credentials: Option<&str>,
    see: impl FnOnce(&Request),
) {
    let Some(request) = peer.request().await else { return };
    see(&request);
    if request.method != "CONNECT" {
        peer.raw("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n").await;
    } else if credentials.is_some() && request.header("proxy-authorization") != credentials {
        peer.raw(
            "HTTP/1.1 407 Proxy Authentication Required\r\n\
             Proxy-Authenticate: Basic realm=\"p\"\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
    } else if let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await {
        peer.raw("HTTP/1.1 200 Connection established\r\n\r\n").await;
        // The end of either side is the end of the tunnel.
        let _ = copy_bidirectional(&mut peer.stream, &mut server).await;
    } else {
        peer.raw("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    }
}
