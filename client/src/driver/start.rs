//! The start of a driver: the first connection, then the task.

use tokio::sync::{mpsc, watch};

use super::channels::{DriverHandle, OUTGOING_CAPACITY, SUBSCRIPTION_CAPACITY};
use super::delivery::Delivery;
use super::pending::PendingRequests;
use super::replayed::ReplayedRequests;
use super::sequence::{Position, SequenceTracker};
use super::session::Driver;
use super::tap::Tap;
use super::tracker::TurnTracker;
use crate::e2b::SandboxHost;
use crate::error::ConnectError;
use crate::net::http::Http;
use crate::net::socket::MessageForm;
use crate::types::callbacks::Callbacks;
use crate::types::connection::{ConnectionState, Options};
use crate::types::permission::Handler;

/// The place in the server's stream where a client begins.
pub(crate) enum StartingPoint {
    /// The server does not number its frames: from now on.
    Unnumbered,
    /// After the frame of this number, of the stream that the server has.
    After(u64),
    /// After a position that another client has reached.
    Position(Position),
}

/// The parts of a driver that the builder decides.
pub(crate) struct DriverOptions {
    pub(crate) http: Http,
    pub(crate) options: Options,
    /// The configuration as JSON, for a server that takes it with a connection.
    pub(crate) configuration: Option<String>,
    /// The server has not got it.
    pub(crate) configures: bool,
    /// It changes the server's configuration field by field.
    pub(crate) merges: bool,
    pub(crate) starting_point: StartingPoint,
    pub(crate) handler: Option<Handler>,
    pub(crate) callbacks: Callbacks,
    pub(crate) tap: Tap,
    /// The bytes that may wait for one subscriber.
    pub(crate) buffer_bytes: usize,
}

impl DriverHandle {
    /// Connects and starts the task. `host` is the sandbox that the server runs
    /// in, which is kept alive from here on.
    pub(crate) async fn start(
        parts: DriverOptions,
        host: Option<&SandboxHost>,
    ) -> Result<Self, ConnectError> {
        let DriverOptions {
            http,
            options,
            configuration,
            configures,
            merges,
            starting_point,
            handler,
            callbacks,
            tap,
            buffer_bytes,
        } = parts;
        let (sequence, numbered) = match starting_point {
            StartingPoint::Unnumbered => (SequenceTracker::default(), false),
            StartingPoint::After(seq) => (SequenceTracker::after(seq), true),
            StartingPoint::Position(position) => (SequenceTracker::at(position), true),
        };
        let (outgoing, outgoing_queue) = mpsc::channel(OUTGOING_CAPACITY);
        let (subscriptions, subscription_queue) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let (stop, stopped) = watch::channel(false);
        let (connection_state, connection) = watch::channel(ConnectionState::Connected);
        let (position_state, position) = watch::channel(None);
        let (idle_state, idle) = watch::channel(true);
        let mut driver = Driver {
            http,
            options,
            configuration: configuration.map(Into::into),
            merges,
            sandbox: host.map(|host| host.sandbox_ref().clone()),
            numbered,
            sequence,
            replayed: ReplayedRequests::default(),
            pending: PendingRequests::new(handler, callbacks),
            delivery: Delivery::default(),
            first_new: 0,
            tracker: TurnTracker::default(),
            form: MessageForm::default(),
            quiet_at: None,
            tap,
            outgoing: outgoing_queue,
            subscriptions: subscription_queue,
            unsent: None,
            stop: stopped,
            connection: connection_state,
            position: position_state,
            idle: idle_state,
        };
        let open = driver.connect(configures).await?;
        if let Some(host) = host {
            host.keep_alive(connection.clone()).await;
        }
        // Nothing is waited for behind this: it would run on by itself.
        let task = tokio::spawn(driver.run(open)).abort_handle();
        Ok(Self { outgoing, subscriptions, stop, connection, position, idle, buffer_bytes, task })
    }
}
