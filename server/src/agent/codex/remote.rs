//! Connection to a Codex app-server that runs elsewhere, over a WebSocket. It
//! has the same channels as a child process, with one line per text message.
//!
//! The relay does not own the app-server: it disconnects, and never ends it.

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

/// Timeout for connecting, including the handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Capacity for pongs that wait for the socket. A few suffice, because a pong
/// answers all earlier pings.
const PONG_CAPACITY: usize = 4;

/// Connects to an app-server that already runs. If it cannot be reached, the
/// process ends with [`ExitReason::Unreachable`].
#[must_use]
pub fn connect(url: RemoteUrl, token: Option<Secret>) -> Process {
    Process::with_task(move |mut channels| async move {
        let (reason, unread) = run(&url, token, &mut channels).await;
        // If this fails, the session has dropped the process.
        let exit = ProcessExit { reason, stderr: Vec::new(), unread };
        let _ = channels.output.send(Output::Exited(exit)).await;
    })
}

/// Runs the connection. Returns the reason of its end, and the messages that
/// were not sent.
async fn run(
    url: &RemoteUrl,
    token: Option<Secret>,
    channels: &mut ProcessChannels,
) -> (ExitReason, Vec<Bytes>) {
    let unreachable = |error: &dyn fmt::Display| ExitReason::Unreachable(format!("{url}: {error}"));
    let opened = tokio::select! {
        opened = timeout(CONNECT_TIMEOUT, open(url, token)) => opened,
        // Both commands mean the same here, because nothing has to be stopped
        // yet.
        _ = channels.commands.recv() => return (ExitReason::Exited(0), unsent_messages(&mut channels.stdin)),
    };
    let reason = match opened {
        Err(_) => unreachable(&format!("no answer within {CONNECT_TIMEOUT:?}")),
        Ok(Err(error)) => unreachable(&error),
        Ok(Ok(socket)) => {
            let _ = channels.events.send(ProcessEvent::Started(None)).await;
            match relay_lines(socket, channels).await {
                Ok(()) => ExitReason::Exited(0),
                Err(reason) => unreachable(&reason),
            }
        }
    };
    (reason, unsent_messages(&mut channels.stdin))
}

fn unsent_messages(lines: &mut mpsc::Receiver<Input>) -> Vec<Bytes> {
    std::iter::from_fn(|| lines.try_recv().ok())
        .filter_map(|input| match input {
            Input::Message(line) => Some(line),
            Input::Control(_) => None,
        })
        .collect()
}

type Socket = WebSocket<TokioIo<Upgraded>>;

/// Connects without an `Origin`, because an app-server refuses requests that
/// have one.
async fn open(url: &RemoteUrl, token: Option<Secret>) -> Result<Socket, String> {
    let stream = TcpStream::connect(url.authority()).await.map_err(|error| error.to_string())?;
    // Nagle's algorithm would delay small frames. An error here is harmless.
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
        Err(WebSocketError::InvalidStatusCode(401)) => Err("it refused the token (401)".into()),
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

/// Passes lines in both directions until one side ends the connection. Returns
/// the reason if it was the other side.
async fn relay_lines(socket: Socket, channels: &mut ProcessChannels) -> Result<(), String> {
    let (reader, mut writer) = socket.split(tokio::io::split);
    let (pongs_to, mut pongs) = mpsc::channel(PONG_CAPACITY);
    let mut reading = JoinSet::new();
    reading.spawn(read_loop(reader, channels.output.clone(), pongs_to));
    let mut closing = false;
    let mut deadline: Option<Instant> = None;
    loop {
        tokio::select! {
            Some(end) = reading.join_next() => {
                return match end {
                    _ if closing => Ok(()),
                    Ok(reason) => Err(reason),
                    Err(error) => Err(error.to_string()),
                };
            }
            Some(payload) = pongs.recv() => send(&mut writer, Frame::pong(payload)).await?,
            command = channels.commands.recv() => match command {
                Some(ProcessCommand::Stop(grace)) => deadline = Some(Instant::now() + grace),
                Some(ProcessCommand::Kill | ProcessCommand::Terminate(_)) | None => return Ok(()),
                Some(ProcessCommand::Signal(_)) => {}
            },
            input = channels.stdin.recv(), if !closing => match input {
                Some(Input::Message(text) | Input::Control(text)) => {
                    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                        send(&mut writer, Frame::text(Payload::Owned(line.to_vec()))).await?;
                    }
                }
                None => {
                    closing = true;
                    send(&mut writer, Frame::close(1000, b"")).await?;
                }
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return Ok(()),
        }
    }
}

async fn send<W: AsyncWrite + Unpin>(
    writer: &mut fastwebsockets::WebSocketWrite<W>,
    frame: Frame<'_>,
) -> Result<(), String> {
    writer.write_frame(frame).await.map_err(|error| error.to_string())
}

/// Reads until the connection ends. Returns the reason.
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
            return "the session has dropped the connection".into();
        }
    }
}

/// Discards the library's replies to pings and close frames; automatic replies
/// are off.
async fn no_reply(_: Frame<'_>) -> Result<(), WebSocketError> {
    Ok(())
}
