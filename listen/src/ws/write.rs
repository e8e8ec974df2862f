//! The write loop of a connection.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::channels::{Close, PriorityMessage};
use super::connection::CLOSE_TIMEOUT;
use super::frame;
use super::socket::Socket;

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Writes batches of encoded frames from the session and returns each spent
/// batch for reuse, which asks for the next one. Priority messages are sent
/// between batches. Returns true after a close frame, and false when the
/// session has dropped its channel or the socket has failed.
pub(super) async fn write_loop(
    socket: Arc<Socket>,
    mut priority: mpsc::Receiver<PriorityMessage>,
    mut data: mpsc::Receiver<Vec<Bytes>>,
    spent: mpsc::Sender<Vec<Bytes>>,
) -> bool {
    let mut small = Vec::new();
    loop {
        socket.set_busy(false);
        let (frame, batch) = tokio::select! {
            biased;
            frame = priority.recv() => (frame, None),
            batch = data.recv() => (None, batch),
        };
        socket.set_busy(true);
        // A batch that the session has begun to write comes before the frame.
        let has_rest = socket.take_rest();
        let batch = if has_rest && batch.is_none() { data.recv().await } else { batch };
        let is_over = frame.is_none() && batch.is_none();
        if let Some(mut batch) = batch {
            if write(&socket, &mut batch, &spent).await.is_err() {
                return false;
            }
            if spent.send(batch).await.is_err() {
                // The session has released this client; a close frame may be on
                // its way.
                data.close();
            }
        }
        if let Some(frame) = frame {
            let mut last = encode(&frame, &mut small);
            while !last && let Ok(frame) = priority.try_recv() {
                last = encode(&frame, &mut small);
            }
            let mut frames = vec![Bytes::from(std::mem::take(&mut small))];
            if write(&socket, &mut frames, &spent).await.is_err() {
                return false;
            }
            if last {
                return true;
            }
        }
        if is_over {
            return false;
        }
    }
}

/// Writes all bytes. A client that does not read may block this without limit
/// until the session releases it.
async fn write(
    socket: &Socket,
    batch: &mut Vec<Bytes>,
    spent: &mpsc::Sender<Vec<Bytes>>,
) -> io::Result<()> {
    tokio::select! {
        biased;
        written = socket.write_all(batch) => written,
        () = released(spent) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Waits until the session has released the client and the time for its last
/// frame has passed.
async fn released(spent: &mpsc::Sender<Vec<Bytes>>) {
    spent.closed().await;
    sleep(CLOSE_TIMEOUT).await;
}

/// Appends the frame. Returns true for a close frame, which is the last one.
fn encode(message: &PriorityMessage, out: &mut Vec<u8>) -> bool {
    match message {
        PriorityMessage::Text(text) | PriorityMessage::Answer(text, _) => {
            push(out, frame::TEXT, text.as_bytes())
        }
        PriorityMessage::Ping => push(out, PING, &[]),
        PriorityMessage::Pong(payload) => push(out, PONG, payload),
        PriorityMessage::Close(Close { code, reason }) => {
            let mut payload = Vec::new();
            if let Some(code) = code {
                payload.extend_from_slice(&code.to_be_bytes());
                payload.extend_from_slice(reason.as_bytes());
            }
            push(out, CLOSE, &payload);
            return true;
        }
    }
    false
}

fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    let (head, head_bytes) = frame::header(opcode, payload.len());
    out.extend_from_slice(&head[..head_bytes]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::yield_now;
    use tokio::time::timeout;

    use super::*;
    use crate::ws::socket::Outlet;

    const LARGE: usize = 32 << 20;

    struct Connection {
        socket: Arc<Socket>,
        priority: mpsc::Sender<PriorityMessage>,
        outlet: Outlet,
        _spent: mpsc::Receiver<Vec<Bytes>>,
        client: TcpStream,
    }

    impl Connection {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (_, half) = listener.accept().await.unwrap().0.into_split();
            let socket = Arc::new(Socket::new(half));
            let (priority, priority_from) = mpsc::channel(8);
            let (data, data_from) = mpsc::channel(1);
            let (spent, spent_from) = mpsc::channel(1);
            tokio::spawn(write_loop(Arc::clone(&socket), priority_from, data_from, spent));
            let outlet = Outlet::new(data, Arc::downgrade(&socket));
            Self { socket, priority, outlet, _spent: spent_from, client }
        }

        fn send(&self, batch: &[u8]) -> bool {
            self.outlet.send(&self.priority, vec![Bytes::copy_from_slice(batch)]).is_some()
        }

        fn say(&self, text: String) {
            self.priority.try_send(PriorityMessage::Text(text)).unwrap();
        }

        async fn read(&mut self, bytes: usize) -> Vec<u8> {
            let mut read = vec![0; bytes];
            let reading = self.client.read_exact(&mut read);
            timeout(Duration::from_secs(60), reading).await.unwrap().unwrap();
            read
        }
    }

    /// Size of a text frame with this payload.
    fn framed(payload: usize) -> usize {
        payload + frame::header(frame::TEXT, payload).1
    }

    #[tokio::test]
    async fn a_batch_that_comes_while_a_frame_is_written_follows_it() {
        let mut connection = Connection::new().await;
        connection.say("f".repeat(LARGE));
        while !connection.socket.is_busy() {
            yield_now().await;
        }
        assert!(!connection.send(b"batch"));
        for _ in 0..100 {
            yield_now().await;
        }
        let read = connection.read(framed(LARGE) + 5).await;
        assert_eq!(&read[framed(LARGE)..], b"batch");
    }

    #[tokio::test]
    async fn the_rest_of_a_batch_comes_before_a_frame() {
        let mut connection = Connection::new().await;
        // Until the socket is known to be free.
        while !connection.send(b"a") {
            yield_now().await;
        }
        assert!(!connection.send(&vec![b'b'; LARGE]), "the client has not read that much");
        connection.say("frame".to_owned());
        let read = connection.read(1 + LARGE + framed(5)).await;
        assert!(read[1..=LARGE].iter().all(|byte| *byte == b'b'));
        assert!(read.ends_with(b"frame"));
    }

    #[tokio::test]
    async fn a_frame_that_waits_comes_before_the_next_batch() {
        let mut connection = Connection::new().await;
        connection.say("frame".to_owned());
        assert!(!connection.send(b"batch"));
        let read = connection.read(framed(5) + 5).await;
        assert!(read.ends_with(b"framebatch"));
    }
}
