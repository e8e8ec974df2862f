//! A TCP server on a port of its own, which serves each connection in a task.

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Serves until dropped.
pub struct TcpService {
    /// Its port.
    pub port: u16,
    _tasks: JoinSet<()>,
}

impl TcpService {
    /// `serve` is called with each connection.
    pub async fn start<F, D>(mut serve: F) -> Self
    where
        F: FnMut(TcpStream) -> D + Send + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // They end with this task.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream));
            }
        });
        Self { port, _tasks: tasks }
    }
}
