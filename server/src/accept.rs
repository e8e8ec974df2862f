//! The front door: how many connections there may be, and what each may cost
//! before it has said anything.
//!
//! One client is all there is; the rest is health checks, a browser's spare
//! connections, and strangers. Those who say nothing are cheap and may be
//! many; those who have begun to speak have buffers and are fewer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::http::{self, Place, Routes};

/// How many TCP connections may be open. One that has said nothing yet costs a
/// few hundred bytes.
const OPEN: usize = 8192;

/// How many of them may be served, WebSockets included. The head of a request
/// may fill 64 KiB.
const SERVED: usize = 1024;

/// Descriptors that connections must leave for the agent and its pipes.
const RESERVED_DESCRIPTORS: usize = 128;

/// How many connections the system queues for us. With the usual 128 a burst
/// of strangers makes the next one wait for seconds, until its system tries
/// again. The system may have a lower bound of its own.
const QUEUE: u32 = 4096;

/// How long a connection may take to begin, and to find a place.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// How long to wait when the system has no descriptor for a connection.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Listens at the first address of `host` that can be had.
///
/// # Errors
///
/// The system's, for the last address tried.
pub async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Or a restart would have to wait for what is left of old connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// Accepts connections for ever. Those that find no place wait in the system's
/// queue.
pub async fn accept(listener: TcpListener, routes: Routes) {
    let routes = Arc::new(routes);
    let open = Arc::new(Semaphore::new(open_limit()));
    let served = Arc::new(Semaphore::new(SERVED));
    loop {
        let Ok(open) = Arc::clone(&open).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(begin(stream, Arc::clone(&routes), open, Arc::clone(&served)));
                // In a burst of strangers the client at work has its turn after
                // each of them, not after as many as tokio lets pass at once.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
}

/// Waits for the first byte and for a place, then serves the connection.
async fn begin(
    stream: TcpStream,
    routes: Arc<Routes>,
    open: OwnedSemaphorePermit,
    served: Arc<Semaphore>,
) {
    let ready = async {
        // Not `readable`: it may be true before anything has come.
        stream.peek(&mut [0]).await.ok()?;
        served.acquire_owned().await.ok()
    };
    if let Ok(Some(served)) = timeout(FIRST_BYTE, ready).await {
        // On its own, or those who say nothing would cost as much as it.
        Box::pin(http::serve(stream, routes, Place::new(open, served))).await;
    }
}

fn open_limit() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    descriptors.saturating_sub(RESERVED_DESCRIPTORS).clamp(1, OPEN)
}
