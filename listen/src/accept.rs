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
use tokio::task::unconstrained;
use tokio::time::timeout;

use crate::access::AccessPolicy;
use crate::connection_limit::{ConnectionLimit, ConnectionPermit};
use crate::head_guard::HeadGuard;
use crate::permits::ConnectionPermits;
use crate::request_gate::RequestGate;

/// Maximum number of open TCP connections. One that has sent nothing costs 1
/// KiB.
const MAX_OPEN: usize = 8192;

/// Maximum number of connections that are served at once, WebSockets included.
/// The head of a request can take 64 KiB.
const MAX_SERVED: usize = 1024;

/// With fewer connections than this at once, the operator is told.
const FEW_CONNECTIONS: usize = 64;

/// File descriptors kept free for the agent and its pipes.
const RESERVED_DESCRIPTORS: usize = 128;

/// Backlog of the listening socket. With the usual 128, a burst of connections
/// makes the next client wait for seconds until its system sends another SYN.
/// The kernel may apply a lower limit.
const BACKLOG: u32 = 4096;

/// Maximum time until the first byte of a connection arrives and a permit to
/// serve it is available.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of connections that are accepted, or leave those that have sent
/// nothing, in one turn of the runtime, in which every other task is polled as
/// well. One costs some 10 µs. With one a turn, the token's holder waited for
/// seconds behind thousands of others.
const EVENTS_PER_TURN: usize = 32;

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

/// Accepts connections until the listener fails, and passes each to `serve` once
/// its first request has arrived. The requests that show the token of `access`
/// come before all others. Beyond a limit the connection that has been idle for
/// the longest time makes room, unless it has shown the token or become a
/// WebSocket.
pub async fn accept(
    listener: TcpListener,
    access: Arc<AccessPolicy>,
    serve: impl Fn(HeadGuard, ConnectionPermits),
) {
    let limits = Limits {
        open: ConnectionLimit::new(open_limit()),
        served: ConnectionLimit::new(MAX_SERVED),
        gate: Arc::new(RequestGate::new(access)),
    };
    wait_for_requests(listener, &limits, serve).await;
}

/// Limits of all connections together.
struct Limits {
    open: ConnectionLimit,
    served: ConnectionLimit,
    gate: Arc<RequestGate>,
}

/// Passes each connection to `serve` once its first request has arrived.
///
/// Connections that have not sent one are waited for inside this task, a few
/// events a turn. As tasks of their own, thousands that open or close together
/// would all be polled before the tasks of the active client.
async fn wait_for_requests(
    listener: TcpListener,
    limits: &Limits,
    serve: impl Fn(HeadGuard, ConnectionPermits),
) {
    let mut idle = FuturesUnordered::new();
    // Kept from turn to turn: a wait for room that begins anew evicts another
    // connection each time.
    let accepting = accept_next(&listener, &limits.open);
    tokio::pin!(accepting);
    let mut events: usize = 0;
    loop {
        // In any order: a peer whose connections go on and on must not keep those that
        // come from being accepted, and those must not keep descriptors from going.
        tokio::select! {
            Some(ready) = idle.next() => {
                if let Some((guard, places)) = ready {
                    serve(guard, places);
                }
            }
            accepted = &mut accepting => {
                match accepted {
                    Some((Ok(stream), open)) => idle.push(first_request(stream, open, limits)),
                    Some((Err(error), _)) => {
                        tracing::warn!("a connection could not be accepted: {error}");
                        tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                    }
                    None => return,
                }
                accepting.set(accept_next(&listener, &limits.open));
            }
        }
        events += 1;
        if events.is_multiple_of(EVENTS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
}

/// Waits for room, and accepts the next connection. Returns `None` if there
/// never will be room.
async fn accept_next(
    listener: &TcpListener,
    open: &ConnectionLimit,
) -> Option<(io::Result<TcpStream>, ConnectionPermit)> {
    let open = open.take().await?;
    Some((listener.accept().await.map(|(stream, _)| stream), open))
}

/// Waits for the first byte, for a place to be served in, and for the first
/// request. Returns `None` if one of them takes too long, or the connection has
/// to make room.
async fn first_request(
    stream: TcpStream,
    open: ConnectionPermit,
    limits: &Limits,
) -> Option<(HeadGuard, ConnectionPermits)> {
    let ready = async {
        // `readable` would not do: it may return before data has arrived.
        stream.peek(&mut [0]).await.ok().filter(|bytes| *bytes > 0)?;
        open.touch();
        limits.served.take().await
    };
    let served = tokio::select! {
        served = timeout(FIRST_BYTE_TIMEOUT, ready) => served.ok()??,
        () = open.evicted() => return None,
    };
    let places = ConnectionPermits::new(open, served);
    // Boxed, so that idle connections do not hold the memory for it. Outside of
    // the runtime's budget, so that a head that is there is read before thousands
    // of newer connections can evict this one.
    let head = HeadGuard::wait_for_head(stream, Arc::clone(&limits.gate));
    let guard = tokio::select! {
        guard = Box::pin(unconstrained(head)) => guard?,
        () = places.evicted() => return None,
    };
    if guard.shows_token() {
        places.keep();
    }
    Some((guard, places))
}

fn open_limit() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let limit = open_limit_of(descriptors);
    if limit < FEW_CONNECTIONS {
        tracing::warn!(
            "at most {limit} connections at once: the limit of file descriptors is {descriptors}; raise it with `ulimit -n` or LimitNOFILE="
        );
    }
    limit
}

/// A quarter of few descriptors, all but the reserved ones of many.
fn open_limit_of(descriptors: usize) -> usize {
    let most = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(descriptors / 4);
    most.clamp(1, MAX_OPEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AccessRules;

    #[test]
    fn few_descriptors_serve_more_than_one_connection() {
        for (descriptors, connections) in
            [(3, 1), (64, 16), (129, 32), (256, 128), (1024, 896), (usize::MAX, MAX_OPEN)]
        {
            assert_eq!(open_limit_of(descriptors), connections, "{descriptors}");
        }
    }

    #[tokio::test]
    async fn connections_that_close_together_do_not_starve_other_tasks() {
        const PEERS: usize = 300;
        let listener = bind("127.0.0.1", 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = ConnectionLimit::new(MAX_OPEN);
        let access = Arc::new(AccessPolicy::new(AccessRules::default()));
        let limits = Limits {
            open: open.clone(),
            served: ConnectionLimit::new(MAX_SERVED),
            gate: Arc::new(RequestGate::new(access)),
        };
        // The accept loop holds one place most of the time, for the next
        // connection.
        let available = MAX_OPEN - 1;
        tokio::spawn(async move { wait_for_requests(listener, &limits, |_, _| {}).await });
        let peers: Vec<_> =
            (0..PEERS).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        while open.free() > available - PEERS {
            tokio::task::yield_now().await;
        }
        drop(peers);
        let mut polls_of_another = 0;
        while open.free() < available {
            tokio::task::yield_now().await;
            polls_of_another += 1;
        }
        assert!(polls_of_another >= PEERS / EVENTS_PER_TURN, "{polls_of_another}");
    }
}
