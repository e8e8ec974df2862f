//! One client's life: connected, away, connected again, ended.
//!
//! A single task runs it. While connected, three loops run side by side for
//! as long as the connection does: one reads, one writes, one watches the
//! clock. None of them is ever dropped while another goes on with the same
//! connection, because a half-written frame cannot be taken up again.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::delivery::Delivery;
use crate::desk::{Desk, Direction};
use crate::error::Error;
use crate::greeting::{closed, hello};
use crate::held::Held;
use crate::home::Place;
use crate::http::Http;
use crate::link::{Control, Link, clock, write_loop};
use crate::message::{Frame, Gap, ServerMessage};
use crate::order::{Order, Position, Verdict};
use crate::permission::PermissionRequest;
use crate::socket::{self, Incoming, Reader, Writer};

/// How long a close handshake may take before the socket is simply dropped.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// What a session keeps to.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// From the first packet to `connected`.
    pub(crate) connect_timeout: Duration,
    /// How long to go on trying to reconnect; zero: not at all.
    pub(crate) reconnect_for: Duration,
    /// How long nothing may be heard before a ping is sent.
    pub(crate) ping_interval: Duration,
    /// How long the answer to a ping may take.
    pub(crate) pong_timeout: Duration,
    /// The largest message that is read.
    pub(crate) max_message_bytes: usize,
    /// Ask to replace another client on the first connection.
    pub(crate) takeover: bool,
}

/// A message on its way out. Dropping the receiver of `done` withdraws it as
/// long as it has not been written.
pub(crate) struct Outgoing {
    pub(crate) text: String,
    pub(crate) done: oneshot::Sender<Result<(), Error>>,
}

/// What a program can see of the connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Connection {
    /// All is well.
    Connected,
    /// The connection broke; the client is coming back.
    Reconnecting {
        /// Which attempt this is, from 1.
        attempt: u32,
        /// Why the last one ended.
        cause: Error,
    },
    /// There will be no other connection.
    Ended(Error),
}

pub(crate) struct Session {
    pub(crate) http: Http,
    pub(crate) options: Options,
    pub(crate) order: Order,
    /// Permission requests from before the connection.
    pub(crate) held: Held,
    /// Whether the server numbers its frames.
    pub(crate) numbered: bool,
    /// Where messages go, and what is open between program and server.
    pub(crate) desk: Arc<Desk>,
    pub(crate) outgoing: mpsc::Receiver<Outgoing>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) connection: watch::Sender<Connection>,
    /// Taken from the queue and not written whole yet; goes first after a
    /// reconnect.
    pub(crate) unsent: Option<Outgoing>,
    /// Read from the server and not with every subscriber yet.
    pub(crate) delivery: Delivery,
    /// What the server runs in, if that can go away for good.
    pub(crate) place: Option<Place>,
}

impl Session {
    /// Opens a connection and waits for `connected`.
    pub(crate) async fn connect(&mut self, first: bool) -> Result<(Reader, Writer), Error> {
        let limit = self.options.connect_timeout;
        let upgraded = self.http.upgrade(&self.route(first)).await?;
        let (mut reader, writer) = socket::split(upgraded, self.options.max_message_bytes);
        let greeting = timeout(limit, hello(&mut reader, &self.http))
            .await
            .unwrap_or(Err(Error::Timeout { what: "the server's greeting", limit }))?;
        if self.numbered {
            self.order.connected(greeting.stream.as_deref());
            self.desk.set_next(greeting.next.unwrap_or(0));
            self.desk.set_position(self.order.position());
        }
        self.held.connected(greeting.next);
        Ok((reader, writer))
    }

    fn route(&self, first: bool) -> String {
        let mut query = Vec::new();
        match self.order.position() {
            _ if !self.numbered => {}
            Some(Position { stream, seq }) => {
                query.push(format!("after={seq}"));
                query.push(format!("stream={}", encode(&stream)));
            }
            None => query.push(format!("after={}", self.order.last())),
        }
        if first && self.options.takeover {
            query.push("takeover=true".to_owned());
        }
        if query.is_empty() { "/ws".to_owned() } else { format!("/ws?{}", query.join("&")) }
    }

    /// Runs until the end. `first` is the connection that is already open.
    pub(crate) async fn run(mut self, first: (Reader, Writer)) {
        let mut socket = first;
        let mut backoff = Backoff::default();
        let error = loop {
            let (error, progressed) = self.drive(socket).await;
            self.desk.fail_controls(&error);
            if progressed {
                backoff = Backoff::default();
            }
            if !error.is_transient() || self.options.reconnect_for.is_zero() {
                break error;
            }
            match self.reconnect(error, &mut backoff).await {
                Ok(next) => socket = next,
                Err(error) => break error,
            }
        };
        let error = self.reason(error).await;
        self.finish(error);
    }

    /// Why the end has come: a connection that cannot be had may be so because
    /// there is nothing left to connect to.
    async fn reason(&mut self, error: Error) -> Error {
        if !error.is_transient() && !matches!(error, Error::GaveUp { .. }) {
            return error;
        }
        let Some(place) = &self.place else { return error };
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => error,
            there = place.still_there() => there.err().unwrap_or(error),
        }
    }

    /// One more attempt to connect. A refusal by what stands before the server
    /// is looked into.
    async fn attempt(&mut self) -> Result<(Reader, Writer), Error> {
        let refused = match self.connect(false).await {
            Err(error @ Error::Unavailable { .. }) => error,
            attempted => return attempted,
        };
        if let Some(place) = &self.place {
            place.still_there().await?;
        }
        Err(refused)
    }

    async fn reconnect(
        &mut self,
        cause: Error,
        backoff: &mut Backoff,
    ) -> Result<(Reader, Writer), Error> {
        let since = Instant::now();
        let mut last = cause;
        let mut attempt = 0;
        loop {
            let elapsed = since.elapsed();
            if elapsed >= self.options.reconnect_for {
                return Err(Error::GaveUp { attempts: attempt, elapsed, last: Box::new(last) });
            }
            attempt += 1;
            self.connection.send_replace(Connection::Reconnecting { attempt, cause: last.clone() });
            let wait = backoff.next(rand::random());
            let mut stop = self.stop.clone();
            let attempted = tokio::select! {
                biased;
                () = stopped(&mut stop) => return Err(Error::Stopped),
                attempted = async {
                    sleep(wait.min(self.options.reconnect_for - elapsed)).await;
                    self.attempt().await
                } => attempted,
            };
            match attempted {
                Ok(socket) => {
                    if !self.numbered {
                        let gap = Gap { from: None, to: None, restarted: false };
                        self.delivery.add_gap(gap);
                    }
                    return Ok(socket);
                }
                Err(error) if error.is_transient() => last = error,
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs one connection until it ends. Says why, and whether anything came.
    async fn drive(&mut self, (mut reader, mut writer): (Reader, Writer)) -> (Error, bool) {
        self.connection.send_replace(Connection::Connected);
        let link = Link::new();
        let (control, controls) = mpsc::channel(8);
        let mut stop = self.stop.clone();
        let error = {
            let mut read = pin!(read_loop(
                &mut reader,
                &link,
                &control,
                &mut self.order,
                &mut self.held,
                &mut self.delivery,
                &self.desk
            ));
            let mut write = pin!(write_loop(
                &mut writer,
                &link,
                controls,
                &mut self.outgoing,
                &mut self.unsent,
                &self.desk
            ));
            let (error, closing) = tokio::select! {
                error = &mut read => {
                    let closing = close_code(&error);
                    (error, closing)
                }
                error = &mut write => (error, None),
                error = clock(&link, &control, &self.options) => (error, None),
                () = stopped(&mut stop) => (Error::Stopped, Some(NORMAL)),
            };
            if let Some(code) = closing
                && control.try_send(Control::Close(code)).is_ok()
            {
                // Our close frame, and, if we began, the server's.
                let _ = timeout(CLOSE_WAIT, async {
                    write.await;
                    if matches!(error, Error::Stopped) {
                        read.await;
                    }
                })
                .await;
            }
            error
        };
        self.desk.set_position(self.order.position());
        link.fail_unconfirmed(&error);
        (error, link.heard() > 0)
    }

    /// Tells everybody who waits for something.
    fn finish(&mut self, error: Error) {
        self.outgoing.close();
        let mut left: VecDeque<_> = self.unsent.take().into_iter().collect();
        while let Ok(outgoing) = self.outgoing.try_recv() {
            left.push_back(outgoing);
        }
        for outgoing in left {
            let _ = outgoing.done.send(Err(Error::not_delivered(error.clone())));
        }
        // The last words of the server are not lost because nobody reads now.
        self.delivery.abandon(&self.desk);
        self.desk.end(&error);
        self.connection.send_if_modified(|connection| {
            let first = !matches!(connection, Connection::Ended(_));
            if first {
                *connection = Connection::Ended(error);
            }
            first
        });
    }
}

impl Drop for Session {
    /// The task was aborted: whoever still waits must not wait for ever.
    fn drop(&mut self) {
        self.finish(Error::Stopped);
    }
}

/// The end that nobody need worry about.
const NORMAL: u16 = 1000;

/// What to say to a server whose connection we end for this reason; nothing
/// to one that is gone.
fn close_code(error: &Error) -> Option<u16> {
    match error {
        Error::Lost { .. } => None,
        Error::Protocol(_) => Some(1002),
        Error::TooBig { .. } => Some(1009),
        _ => Some(NORMAL),
    }
}

/// Returns when the client is stopped or gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Reads until the connection ends, and says why it did.
async fn read_loop(
    reader: &mut Reader,
    link: &Link,
    control: &mpsc::Sender<Control>,
    order: &mut Order,
    held: &mut Held,
    delivery: &mut Delivery,
    desk: &Arc<Desk>,
) -> Error {
    // What the last connection left behind.
    delivery.settle(desk, link).await;
    loop {
        let taken = reader.take();
        // Messages go on together, as many as one system call brought, but
        // before anything else happens, so that nothing overtakes them.
        if !matches!(taken, Ok(Some(Incoming::Text(_)))) {
            settle(order, delivery, desk, link).await;
        }
        let incoming = match taken {
            Ok(Some(incoming)) => incoming,
            Ok(None) => match reader.fill().await {
                Ok(()) => continue,
                Err(error) => return error,
            },
            Err(error) => return error,
        };
        link.hear();
        let text = match incoming {
            Incoming::Text(text) => text,
            Incoming::Ping(payload) => {
                // With so many waiting, one more answer adds nothing.
                let _ = control.try_send(Control::Pong(payload));
                continue;
            }
            Incoming::Pong(payload) => {
                link.confirm(&payload);
                continue;
            }
            Incoming::Close { code, reason } => return closed(code, reason),
        };
        desk.tap(Direction::Received, &text);
        let bytes = text.len();
        let (seq, message) = match Frame::read(text) {
            Ok(Frame::Message(seq, message)) => (seq, message),
            Ok(Frame::Gap { from, to }) => {
                if let Some(gap) = order.gap(from, to) {
                    delivery.add_gap(gap);
                    ask_open(held, order, delivery, desk);
                }
                continue;
            }
            Ok(Frame::ControlResponse { request_id, response }) => {
                settle(order, delivery, desk, link).await;
                desk.control_answered(&request_id, response);
                continue;
            }
            Ok(Frame::Connected(_)) => continue,
            Err(error) => return Error::Protocol(error.to_string()),
        };
        let verdict = seq.map_or(Verdict::Next, |seq| order.frame(seq));
        let seen = verdict == Verdict::Seen;
        if let Verdict::After(gap) = verdict {
            delivery.add_gap(gap);
        }
        match message {
            ServerMessage::PermissionRequest(request) if held.takes(seq) => {
                held.hold(request, bytes);
            }
            // A pending request is sent again to a client that comes back:
            // what counts is whether it is known.
            ServerMessage::PermissionRequest(request) => ask(request, bytes, delivery, desk),
            ServerMessage::PermissionCancelled(id) if held.settle(&id) => {}
            _ if seen => continue,
            message => {
                if let ServerMessage::PermissionCancelled(id) = &message {
                    desk.permission_closed(id);
                }
                delivery.add(message, bytes);
            }
        }
        ask_open(held, order, delivery, desk);
    }
}

/// Hands on what has come, and says so.
async fn settle(order: &Order, delivery: &mut Delivery, desk: &Desk, link: &Link) {
    delivery.settle(desk, link).await;
    desk.set_seq(order.last());
}

/// Puts a permission request to the program, unless it has got it already.
fn ask(request: Box<PermissionRequest>, bytes: usize, delivery: &mut Delivery, desk: &Arc<Desk>) {
    if desk.permission_asked(&request) {
        delivery.add(ServerMessage::PermissionRequest(request), bytes);
    }
}

/// Asks what a replay has left open, once it is through.
fn ask_open(held: &mut Held, order: &Order, delivery: &mut Delivery, desk: &Arc<Desk>) {
    while let Some((request, bytes)) = held.open(order.last()) {
        ask(request, bytes, delivery, desk);
    }
}

/// Percent-encodes what a query value may not hold.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
