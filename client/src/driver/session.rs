//! One client's life: connected, away, connected again, ended.
//!
//! A single task runs it. While connected, three loops run side by side for
//! as long as the connection does: one reads, one writes, one watches the
//! clock. None of them is ever dropped while another goes on with the same
//! connection, because a half-written frame cannot be taken up again.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::driver::backoff::Backoff;
use crate::driver::delivery::Delivery;
use crate::driver::handshake::hello;
use crate::driver::pending::{Desk, Outgoing};
use crate::driver::reader::read_loop;
use crate::driver::replayed::ReplayedPermissions;
use crate::driver::sequence::{Position, SequenceTracker};
use crate::driver::writer::{Control, Link, clock, write_loop};
use crate::e2b::SandboxRef;
use crate::error::Error;
use crate::net::http::Http;
use crate::net::socket::{self, CLOSE_WAIT, Reader, Writer};
use crate::types::connection::{ConnectionState, Options};
use crate::types::message::Gap;

pub(crate) struct Session {
    pub(crate) http: Http,
    pub(crate) options: Options,
    pub(crate) sequence: SequenceTracker,
    /// Permission requests from before the connection.
    pub(crate) replayed: ReplayedPermissions,
    /// Whether the server numbers its frames.
    pub(crate) numbered: bool,
    /// Where messages go, and what is open between program and server.
    pub(crate) desk: Arc<Desk>,
    pub(crate) outgoing: mpsc::Receiver<Outgoing>,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) connection: watch::Sender<ConnectionState>,
    /// Taken from the queue and not written whole yet; goes first after a
    /// reconnect.
    pub(crate) unsent: Option<Outgoing>,
    /// Read from the server and not with every subscriber yet.
    pub(crate) delivery: Delivery,
    /// What the server runs in, if that can go away for good.
    pub(crate) sandbox: Option<SandboxRef>,
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
            self.sequence.connected(greeting.stream.as_deref());
            self.desk.set_next(greeting.next.unwrap_or(0));
            self.desk.set_position(self.sequence.position());
        }
        self.replayed.connected(greeting.next);
        Ok((reader, writer))
    }

    fn route(&self, first: bool) -> String {
        let mut query = Vec::new();
        match self.sequence.position() {
            _ if !self.numbered => {}
            Some(Position { stream, seq }) => {
                query.push(format!("after={seq}"));
                query.push(format!("stream={}", encode(&stream)));
            }
            None => query.push(format!("after={}", self.sequence.last())),
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
        if !error.is_transient() && !matches!(error, Error::ReconnectFailed { .. }) {
            return error;
        }
        let Some(sandbox) = &self.sandbox else { return error };
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stopped(&mut stop) => error,
            there = sandbox.still_there() => there.err().unwrap_or(error),
        }
    }

    /// One more attempt to connect. A refusal by what stands before the server
    /// is looked into.
    async fn attempt(&mut self) -> Result<(Reader, Writer), Error> {
        let refused = match self.connect(false).await {
            Err(error @ Error::Unavailable { .. }) => error,
            attempted => return attempted,
        };
        if let Some(sandbox) = &self.sandbox {
            sandbox.still_there().await?;
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
                return Err(Error::ReconnectFailed {
                    attempts: attempt,
                    elapsed,
                    last: Box::new(last),
                });
            }
            attempt += 1;
            self.connection
                .send_replace(ConnectionState::Reconnecting { attempt, cause: last.clone() });
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
        self.connection.send_replace(ConnectionState::Connected);
        let link = Link::new();
        let (control, controls) = mpsc::channel(8);
        let mut stop = self.stop.clone();
        let error = {
            let mut read = pin!(read_loop(
                &mut reader,
                &link,
                &control,
                &mut self.sequence,
                &mut self.replayed,
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
        self.desk.set_position(self.sequence.position());
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
            let first = !matches!(connection, ConnectionState::Ended(_));
            if first {
                *connection = ConnectionState::Ended(error);
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
