//! Messages of the run.

use bytes::Bytes;
use claude_relay_client::{RunIncoming, RunText};
use claude_relay_protocol::run::RunMessage;
use tokio::time::Instant;

use super::end::{End, Failure};
use super::host::{self, Stream, ToHost};
use super::link::Small;
use super::outgoing::PACE;
use super::reconnect::FIRST_DELAY;
use super::shim::{Shim, State};

impl Shim {
    pub(super) fn on_incoming(
        &mut self,
        message: RunIncoming,
        now: Instant,
    ) -> Result<(), Failure> {
        (self.heard_at, self.pinged) = (now, false);
        match message {
            RunIncoming::Text(text) => self.on_text(&text)?,
            RunIncoming::Ping(payload) => {
                if let State::Up(link) = &self.state {
                    link.send_small(Small::Pong(payload.to_vec()));
                }
            }
            RunIncoming::Pong => {}
            RunIncoming::Close { code, reason } => match code {
                _ if self.exit.is_some() => self.disconnected(now),
                1001 => return Err(self.lost("it is shutting down")),
                1002 | 1003 | 1007..=1010 | 4001 => {
                    return Err(Failure::connection(format!(
                        "the relay at {} has closed the connection ({code}): {reason}",
                        self.url
                    )));
                }
                _ => self.disconnected(now),
            },
        }
        Ok(())
    }

    fn on_text(&mut self, text: &RunText) -> Result<(), Failure> {
        let message = RunMessage::parse(text.as_str()).map_err(|error| {
            Failure::connection(format!("{} is no claude-relay server: {error}", self.url))
        })?;
        match message {
            RunMessage::Connected { stream, received, started } => {
                self.on_connected(&stream, received, started)?;
            }
            RunMessage::Line { seq, data } => {
                self.output(seq, Stream::Stdout, text.share(data))?;
            }
            RunMessage::Info { seq, data } => {
                let stream = if self.version_only { Stream::Stdout } else { Stream::Stderr };
                self.output(seq, stream, data.into_owned().into())?;
            }
            RunMessage::Exit { seq, code, signal } => {
                if self.is_next(seq)? {
                    self.received = seq;
                    let end = match signal {
                        Some(signal) => End::Signal(signal.into_owned()),
                        None => End::Code(code.unwrap_or(1)),
                    };
                    self.exit = Some((seq, end));
                }
            }
            RunMessage::Ack { seq } => self.on_ack(seq),
            RunMessage::Error { error } => host::say(&format!("claude-relay-agent: {error}")),
            RunMessage::Unknown { seq } => {
                if let Some(seq) = seq
                    && self.is_next(seq)?
                {
                    self.received = seq;
                }
            }
        }
        Ok(())
    }

    fn on_connected(&mut self, stream: &str, received: u64, started: bool) -> Result<(), Failure> {
        match &self.stream {
            Some(known) if known != stream => return Err(self.lost("it was started anew")),
            _ => self.stream = Some(stream.to_owned()),
        }
        self.greeted = true;
        self.was_up = true;
        self.on_ack(received);
        if !started && let State::Up(link) = &self.state {
            // The relay ignores a second one.
            link.send(self.start.clone());
            self.paced_until = Instant::now() + PACE;
        }
        Ok(())
    }

    pub(super) fn lost(&self, reason: &str) -> Failure {
        Failure::connection(format!(
            "the run of the agent is lost with the relay at {}: {reason}; nothing is sent again",
            self.url
        ))
    }

    fn on_ack(&mut self, seq: u64) {
        while let Some((first, message)) = self.unacked.front()
            && *first <= seq
        {
            self.unacked_bytes -= message.len();
            self.unacked.pop_front();
            self.sent = self.sent.saturating_sub(1);
            self.delay = FIRST_DELAY;
            self.progress = true;
        }
    }

    /// Whether a number is the next one; an earlier one came twice.
    fn is_next(&mut self, seq: u64) -> Result<bool, Failure> {
        if seq > self.received + 1 {
            return Err(self.lost(&format!("number {seq} came after {}", self.received)));
        }
        self.delay = FIRST_DELAY;
        self.progress |= seq == self.received + 1;
        Ok(seq == self.received + 1)
    }

    fn output(&mut self, seq: u64, stream: Stream, line: Bytes) -> Result<(), Failure> {
        if self.is_next(seq)? {
            self.received = seq;
            if self.gone_by.is_none() {
                self.last_output = seq;
                self.pending.push(ToHost { seq, stream, line });
            }
        }
        Ok(())
    }
}
