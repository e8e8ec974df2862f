//! A Codex app-server that runs elsewhere, over a WebSocket: the same channels
//! as a process of our own has, one text frame a line.
//!
//! What it is and reason it fares is not ours: it is left, not ended.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use claude_relay_protocol::Secret;
use fastwebsockets::{Frame, OpCode, Payload, WebSocket, WebSocketError, WebSocketRead, handshake};
use http_body_util::Empty;
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::remote_url::RemoteUrl;
use crate::process::lines::{LINE_LIMIT, LineBuffer};
use crate::process::{
    ExitReason, Input, Output, Process, ProcessChannels, ProcessCommand, ProcessEvent, ProcessExit,
};

/// How long connecting may take, handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers to pings that wait for the socket. More are not needed: each one
/// answers all pings before it.
const PONGS: usize = 4;

/// Connects to an app-server that already runs. That it cannot be reached comes
/// as [`ExitReason::Unreachable`].
#[must_use]
pub fn connect(url: RemoteUrl, token: Option<Secret>) -> Process {
    Process::with_task(move |mut ends| async move {
        let (reason, unread) = live(&url, token, &mut ends).await;
        // Nobody is left to hear it if this fails.
        let ended = ProcessExit { reason, stderr: Vec::new(), unread };
        let _ = ends.output.send(Output::Exited(ended)).await;
    })
}

/// Gives the end, and the messages that were not sent.
async fn live(
    url: &RemoteUrl,
    token: Option<Secret>,
    ends: &mut ProcessChannels,
) -> (ExitReason, Vec<Bytes>) {
    let unreachable = |error: &dyn fmt::Display| ExitReason::Unreachable(format!("{url}: {error}"));
    let opened = tokio::select! {
        opened = timeout(CONNECT_TIMEOUT, open(url, token)) => opened,
        // Whatever the order is: there is nothing to stop yet.
        _ = ends.commands.recv() => return (ExitReason::Exited(0), left(&mut ends.stdin)),
    };
    let reason = match opened {
        Err(_) => unreachable(&format!("no answer within {CONNECT_TIMEOUT:?}")),
        Ok(Err(error)) => unreachable(&error),
        Ok(Ok(socket)) => {
            let _ = ends.events.send(ProcessEvent::Started(None)).await;
            match converse(socket, ends).await {
                Ok(()) => ExitReason::Exited(0),
                Err(reason) => unreachable(&reason),
            }
        }
    };
    (reason, left(&mut ends.stdin))
}

fn left(lines: &mut mpsc::Receiver<Input>) -> Vec<Bytes> {
    std::iter::from_fn(|| lines.try_recv().ok())
        .filter_map(|input| match input {
            Input::Message(line) => Some(line),
            Input::Control(_) => None,
        })
        .collect()
}

type Socket = WebSocket<TokioIo<Upgraded>>;

/// Connects. No `Origin` is sent: an app-server refuses everybody who has one.
async fn open(url: &RemoteUrl, token: Option<Secret>) -> Result<Socket, String> {
    let stream = TcpStream::connect(url.authority()).await.map_err(|error| error.to_string())?;
    // Small frames must not wait for more; a socket that refuses works as well.
    let _ = stream.set_nodelay(true);
    let mut request = Request::get(url.path())
        .header(HOST, url.authority())
        .header(UPGRADE, "websocket")
        .header(CONNECTION, "upgrade")
        .header("Sec-WebSocket-Key", handshake::generate_key())
        .header("Sec-WebSocket-Version", "13");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    match handshake::client(&Spawn, request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(WebSocketError::InvalidStatusCode(401)) => Err("it wants another token (401)".into()),
        Err(WebSocketError::InvalidStatusCode(status)) => {
            Err(format!("it refused the connection with status {status}"))
        }
        Err(error) => Err(error.to_string()),
    }
}

struct Spawn;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Spawn {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

/// Passes lines both ways until one side has had enough; in error, why the
/// other side had.
async fn converse(socket: Socket, ends: &mut ProcessChannels) -> Result<(), String> {
    let (reader, mut writer) = socket.split(tokio::io::split);
    let (pongs_to, mut pongs) = mpsc::channel(PONGS);
    let mut reading = JoinSet::new();
    reading.spawn(read_loop(reader, ends.output.clone(), pongs_to));
    let mut leaving = false;
    let mut until: Option<Instant> = None;
    loop {
        tokio::select! {
            Some(end) = reading.join_next() => {
                return match end {
                    _ if leaving => Ok(()),
                    Ok(reason) => Err(reason),
                    Err(error) => Err(error.to_string()),
                };
            }
            Some(payload) = pongs.recv() => send(&mut writer, Frame::pong(payload)).await?,
            command = ends.commands.recv() => match command {
                Some(ProcessCommand::Stop(grace)) => until = Some(Instant::now() + grace),
                Some(ProcessCommand::Kill) | None => return Ok(()),
            },
            input = ends.stdin.recv(), if !leaving => match input {
                Some(Input::Message(text) | Input::Control(text)) => {
                    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        send(&mut writer, Frame::text(Payload::Owned(line.to_vec()))).await?;
                    }
                }
                None => {
                    leaving = true;
                    send(&mut writer, Frame::close(1000, b"")).await?;
                }
            },
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return Ok(()),
        }
    }
}

async fn send<W: AsyncWrite + Unpin>(
    writer: &mut fastwebsockets::WebSocketWrite<W>,
    frame: Frame<'_>,
) -> Result<(), String> {
    writer.write_frame(frame).await.map_err(|error| error.to_string())
}

/// Reads to the end of the connection and says why it ended.
async fn read_loop<R: AsyncRead + Unpin>(
    mut reader: WebSocketRead<R>,
    output: mpsc::Sender<Output>,
    pongs: mpsc::Sender<Payload<'static>>,
) -> String {
    reader.set_auto_close(false);
    reader.set_auto_pong(false);
    reader.set_max_message_size(LINE_LIMIT + 1);
    let mut buffer = LineBuffer::default();
    loop {
        let frame = match reader.read_frame(&mut no_reply).await {
            Ok(frame) => frame,
            Err(error) => return error.to_string(),
        };
        match frame.opcode {
            OpCode::Close => return "it has closed the connection".into(),
            OpCode::Ping => {
                let _ = pongs.try_send(Payload::Owned(frame.payload.to_vec()));
                continue;
            }
            OpCode::Pong => continue,
            OpCode::Text | OpCode::Binary | OpCode::Continuation => {}
        }
        let bytes = buffer.spare();
        bytes.extend_from_slice(&frame.payload);
        if frame.fin {
            bytes.extend_from_slice(b"\n");
        }
        if let Some(block) = buffer.take()
            && output.send(Output::Lines(block)).await.is_err()
        {
            return "nobody listens any more".into();
        }
    }
}

/// The library would answer pings and close frames by this; it is told not to.
async fn no_reply(_: Frame<'_>) -> Result<(), WebSocketError> {
    Ok(())
}
