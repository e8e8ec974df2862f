//! Signals that end the program in order.

use std::io;

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::exit::Exit;

/// A signal that asks for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT, also Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP: the terminal is gone.
    Hangup,
}

impl Signal {
    /// The end of a program that this signal has ended.
    pub(crate) fn exit(self) -> Exit {
        Exit::by_signal(match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
            Self::Hangup => 1,
        })
    }
}

/// The signals of this process from now on; before that they end it at once.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Stream,
    terminate: Stream,
    hangup: Stream,
    continued: Stream,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Exit> {
        Self::listen().map_err(|error| Exit::failed(format!("cannot handle signals: {error}")))
    }

    fn listen() -> io::Result<Self> {
        let continued = rustix::process::Signal::CONT.as_raw();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            continued: signal(SignalKind::from_raw(continued))?,
        })
    }

    /// The next signal. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            Some(()) = self.terminate.recv() => Signal::Terminate,
            Some(()) = self.hangup.recv() => Signal::Hangup,
            else => std::future::pending().await,
        }
    }

    /// The next signal, or `None` when the program was stopped and continued.
    pub(crate) async fn next_or_continued(&mut self) -> Option<Signal> {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Some(Signal::Interrupt),
            Some(()) = self.terminate.recv() => Some(Signal::Terminate),
            Some(()) = self.hangup.recv() => Some(Signal::Hangup),
            Some(()) = self.continued.recv() => None,
            else => std::future::pending().await,
        }
    }
}
