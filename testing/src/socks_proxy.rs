//! A SOCKS 5 proxy that leads to one port of this machine, whatever host is asked
//! for.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;

use crate::tcp_service::TcpService;

/// Serves until dropped.
pub struct SocksProxy {
    /// Its port.
    pub port: u16,
    targets: Arc<Mutex<Vec<String>>>,
    _service: TcpService,
}

impl SocksProxy {
    /// Opens ways to `to`, for those who log in with `login`, if one is wanted.
    pub async fn start(to: u16, login: Option<(&'static str, &'static str)>) -> Self {
        let targets = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&targets);
        let service = TcpService::start(move |stream| {
            let seen = Arc::clone(&seen);
            // Who goes away in the middle gets no answer.
            async move { drop(serve(stream, to, login, &seen).await) }
        });
        let service = service.await;
        Self { port: service.port, targets, _service: service }
    }

    /// The hosts and ports that were asked for so far, as `HOST:PORT`.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    to: u16,
    login: Option<(&str, &str)>,
    targets: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let mut ways = vec![0; usize::from(head[1])];
    stream.read_exact(&mut ways).await?;
    let way = if login.is_some() { 2 } else { 0 };
    if !ways.contains(&way) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, way]).await?;
    if let Some((user, password)) = login {
        let _version = stream.read_u8().await?;
        let given = (text(&mut stream).await?, text(&mut stream).await?);
        let is_right = (&*given.0, &*given.1) == (user, password);
        stream.write_all(&[1, u8::from(!is_right)]).await?;
        if !is_right {
            return Ok(());
        }
    }
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    let host = match request[3] {
        1 => Ipv4Addr::from(stream.read_u32().await?).to_string(),
        4 => format!("[{}]", Ipv6Addr::from(stream.read_u128().await?)),
        _ => text(&mut stream).await?,
    };
    let port = stream.read_u16().await?;
    targets.lock().unwrap().push(format!("{host}:{port}"));
    match TcpStream::connect(("127.0.0.1", to)).await {
        Ok(mut server) => {
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
            copy_bidirectional(&mut stream, &mut server).await.map(drop)
        }
        Err(_) => stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await,
    }
}

/// Reads a text behind its length.
async fn text(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
