//! The accept loop, with the bounds on open connections and on what each may
//! cost before its first request.
//!
//! There is one client; the other connections are health checks, spare
//! connections of browsers, and unauthenticated peers. A connection that has
//! sent nothing costs little, so many may be open; one that has sent something
//! has buffers, so fewer are served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{ConnectionPermits, HeadGuard, Routes};

/// Maximum number of open TCP connections. One that has sent nothing costs 1
/// KiB.
const MAX_OPEN: usize = 8192;

/// Maximum number of connections that are served at once, WebSockets included.
/// The head of a request can take 64 KiB.
const MAX_SERVED: usize = 1024;

/// File descriptors kept free for the agent and its pipes.
const RESERVED_DESCRIPTORS: usize = 128;

/// Backlog of the listening socket. With the usual 128, a burst of connections
/// makes the next client wait for seconds until its system sends another SYN.
/// The kernel may apply a lower limit.
const BACKLOG: u32 = 4096;

/// Maximum time until the first byte of a connection arrives and a permit to
/// serve it is available.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// Delay before the next accept after one that failed, usually for want of a
/// file descriptor.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Listens on the first address of `host` that can be bound.
///
/// # Errors
///
/// Returns the system's error for the last address tried.
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
    // Without it, a restart fails while old connections are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts connections and serves them until the listener fails. Connections
/// beyond the limit wait in the backlog of the kernel.
pub async fn accept(listener: TcpListener, routes: Routes) {
    let routes = Arc::new(routes);
    let open = Arc::new(Semaphore::new(open_limit()));
    let serve = |guard, permits| {
        tokio::spawn(super::serve(guard, Arc::clone(&routes), permits));
    };
    wait_for_requests(listener, open, serve).await;
}

/// Passes each connection to `serve` once its first request has arrived.
///
/// Connections that have not sent one are waited for inside this task, one
/// event at a time. As tasks of their own, thousands that open or close
/// together would all be polled before the tasks of the active client.
async fn wait_for_requests(
    listener: TcpListener,
    open: Arc<Semaphore>,
    serve: impl Fn(HeadGuard, ConnectionPermits),
) {
    let served = Arc::new(Semaphore::new(MAX_SERVED));
    let mut idle = FuturesUnordered::new();
    loop {
        let accepted = async {
            let open = Arc::clone(&open).acquire_owned().await.ok()?;
            Some((listener.accept().await, open))
        };
        tokio::select! {
            biased;
            // Polled first, because it releases file descriptors.
            Some(ready) = idle.next() => {
                if let Some((guard, permits)) = ready {
                    serve(guard, permits);
                }
            }
            accepted = accepted => match accepted {
                Some((Ok((stream, _)), open)) => {
                    idle.push(first_request(stream, open, Arc::clone(&served)));
                }
                Some((Err(error), _)) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
                None => return,
            },
        }
        tokio::task::yield_now().await;
    }
}

/// Waits for the first byte, for a permit to be served, and for the first
/// request. Returns `None` if one of them takes too long.
async fn first_request(
    stream: TcpStream,
    open: OwnedSemaphorePermit,
    served: Arc<Semaphore>,
) -> Option<(HeadGuard, ConnectionPermits)> {
    let ready = async {
        // `readable` would not do: it may return before data has arrived.
        stream.peek(&mut [0]).await.ok().filter(|bytes| *bytes > 0)?;
        served.acquire_owned().await.ok()
    };
    let served = timeout(FIRST_BYTE_TIMEOUT, ready).await.ok()??;
    // Boxed, so that idle connections do not hold the memory for it.
    let guard = Box::pin(HeadGuard::wait_for_head(stream)).await?;
    Some((guard, ConnectionPermits::new(open, served)))
}

fn open_limit() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    descriptors.saturating_sub(RESERVED_DESCRIPTORS).clamp(1, MAX_OPEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_that_close_together_do_not_starve_other_tasks() {
        const PEERS: usize = 300;
        let listener = bind("127.0.0.1", 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Semaphore::new(MAX_OPEN));
        // The accept loop holds one permit available of the time, for the next
        // connection.
        let available = MAX_OPEN - 1;
        tokio::spawn(wait_for_requests(listener, Arc::clone(&open), |_, _| {}));
        let peers: Vec<_> =
            (0..PEERS).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        while open.available_permits() > available - PEERS {
            tokio::task::yield_now().await;
        }
        drop(peers);
        let mut polls_of_another = 0;
        while open.available_permits() < available {
            tokio::task::yield_now().await;
            polls_of_another += 1;
        }
        assert!(polls_of_another > PEERS / 2, "{polls_of_another}");
    }
}
