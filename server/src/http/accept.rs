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

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{ConnectionPermits, HeadGuard, Routes};

/// How many TCP connections may be open. One that has said nothing yet costs
/// 1 KiB.
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

/// Accepts connections for ever and serves them. Those that find no place wait
/// in the system's queue.
pub async fn accept(listener: TcpListener, routes: Routes) {
    let routes = Arc::new(routes);
    let open = Arc::new(Semaphore::new(open_limit()));
    let serve = |guard, permits| {
        tokio::spawn(super::serve(guard, Arc::clone(&routes), permits));
    };
    wait_for_requests(listener, open, serve).await;
}

/// Hands every connection on that has something to ask.
///
/// All that have not are waited for here, one event a turn. As tasks of their
/// own thousands of them that come or go at once would all have their turn
/// before the client at work has the next.
async fn wait_for_requests(
    listener: TcpListener,
    open: Arc<Semaphore>,
    serve: impl Fn(HeadGuard, ConnectionPermits),
) {
    let served = Arc::new(Semaphore::new(SERVED));
    let mut silent = FuturesUnordered::new();
    loop {
        let newcomer = async {
            let open = Arc::clone(&open).acquire_owned().await.ok()?;
            Some((listener.accept().await, open))
        };
        tokio::select! {
            biased;
            // First, as it gives descriptors back.
            Some(begun) = silent.next() => {
                if let Some((guard, permits)) = begun {
                    serve(guard, permits);
                }
            }
            newcomer = newcomer => match newcomer {
                Some((Ok((stream, _)), open)) => {
                    silent.push(begin(stream, open, Arc::clone(&served)));
                }
                Some((Err(error), _)) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
                }
                None => return,
            },
        }
        tokio::task::yield_now().await;
    }
}

/// Waits for the first byte, for a place to be served, and for the first
/// request; none if one of them takes too long.
async fn begin(
    stream: TcpStream,
    open: OwnedSemaphorePermit,
    served: Arc<Semaphore>,
) -> Option<(HeadGuard, ConnectionPermits)> {
    let ready = async {
        // Not `readable`: it may be true before anything has come.
        stream.peek(&mut [0]).await.ok().filter(|bytes| *bytes > 0)?;
        served.acquire_owned().await.ok()
    };
    let served = timeout(FIRST_BYTE, ready).await.ok()??;
    // In memory of its own: the silent ones do not need it.
    let guard = Box::pin(HeadGuard::wait_for_head(stream)).await?;
    Some((guard, ConnectionPermits::new(open, served)))
}

fn open_limit() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    descriptors.saturating_sub(RESERVED_DESCRIPTORS).clamp(1, OPEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn thousands_who_go_at_once_do_not_go_before_everybody_else() {
        const STRANGERS: usize = 300;
        let listener = bind("127.0.0.1", 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Semaphore::new(OPEN));
        // One place is taken, most of the time, for whoever comes next.
        let most = OPEN - 1;
        tokio::spawn(wait_for_requests(listener, Arc::clone(&open), |_, _| {}));
        let strangers: Vec<_> =
            (0..STRANGERS).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        while open.available_permits() > most - STRANGERS {
            tokio::task::yield_now().await;
        }
        drop(strangers);
        let mut turns_of_another = 0;
        while open.available_permits() < most {
            tokio::task::yield_now().await;
            turns_of_another += 1;
        }
        assert!(turns_of_another > STRANGERS / 2, "{turns_of_another}");
    }
}
