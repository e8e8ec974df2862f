//! Attacks of unauthenticated peers, foreign pages and broken clients, over raw
//! sockets.

//!
//! After each the server must be as it was: [`AttackHarness::over`].

mod autobahn;
mod bounds;
mod browser;
mod canary;
mod configuration;
mod floods;
mod frames;
mod handshake;
mod http_requests;
mod load;
mod messages;
mod recording;
mod tokens;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;

/// Memory that an attack may leave behind: the allocator's reserve for the
/// next time, and nothing that grows with the attack.
const GROWTH_BYTES: u64 = 24 << 20;

/// Number of descriptors more or fewer that is no leak: the runtime's own.
const DESCRIPTORS: usize = 2;

/// A server under attack, and what it held before.
pub(crate) struct AttackHarness {
    pub(crate) relay: Relay,
    path: String,
    before: Footprint,
    growth_bytes: u64,
    pub(crate) env: TestEnv,
}

/// Resources that a process holds.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    descriptors: usize,
    resident_bytes: u64,
    processes: usize,
}

impl AttackHarness {
    /// The built-in agent, running, with nobody connected.
    pub(crate) async fn begin() -> Self {
        Self::with(&[], "/ws").await
    }

    /// The same with these arguments; a client gets in at `path`.
    pub(crate) async fn with(arguments: &[&str], path: &str) -> Self {
        let env = TestEnv::new();
        let launch = arguments.iter().fold(Launch::demo(&env), |l, a| l.argument(*a));
        Self::of(launch.start(), path, env).await
    }

    /// Any server whose agent answers; a client gets in at `path`.
    pub(crate) async fn of(relay: Relay, path: &str, env: TestEnv) -> Self {
        let before = Footprint { descriptors: 0, resident_bytes: 0, processes: 0 };
        let path = path.to_owned();
        let mut harness = Self { relay, path, before, growth_bytes: GROWTH_BYTES, env };
        harness.turn().await;
        harness.before = harness.settled(|_| true).await;
        harness
    }

    /// An attack that is large itself may leave this much.
    pub(crate) fn may_grow_by(mut self, bytes: u64) -> Self {
        self.growth_bytes = bytes;
        self
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.relay.address()
    }

    /// A client that is on.
    pub(crate) async fn client(&self) -> Client {
        let mut client = Client::open(self.address(), &self.path).await;
        assert_eq!(client.frame().await, json!({ "type": "connected" }));
        client
    }

    /// The checks after an attack: the server answers at once, a new client
    /// gets a turn, nothing has been left, nothing is being done.
    pub(crate) async fn over(self) {
        let asked = Instant::now();
        assert_eq!(http::get(self.address(), "/health").await.status, 200);
        wait::was_within(Duration::from_secs(1), asked);
        self.turn().await;
        let before = self.before;
        let most = before.resident_bytes + self.growth_bytes;
        let after = self
            .settled(|now| {
                now.descriptors.abs_diff(before.descriptors) <= DESCRIPTORS
                    && now.processes == before.processes
                    && now.resident_bytes <= most
            })
            .await;
        assert!(
            after.descriptors.abs_diff(before.descriptors) <= DESCRIPTORS,
            "{before:?} {after:?}"
        );
        assert_eq!(after.processes, before.processes, "{:?}", self.relay.offspring());
        assert!(after.resident_bytes <= most, "{before:?} {after:?}");
        self.assert_idle().await;
        assert!(!self.relay.stderr().contains("panicked"), "{}", self.relay.stderr());
        self.relay.stop();
    }

    async fn turn(&self) {
        let mut client = self.client().await;
        client.say(json!({ "echo": true }).to_string()).await;
        assert_eq!(client.turn().await.result()["subtype"], "success");
        client.close().await;
    }

    /// The footprint once it is `good`, or the last one after a deadline.
    async fn settled(&self, good: impl Fn(&Footprint) -> bool) -> Footprint {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            let now = self.footprint();
            if good(&now) || Instant::now() > deadline {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Memory that the server has gained since before the attack.
    pub(crate) fn grown_bytes(&self) -> u64 {
        self.footprint().resident_bytes.saturating_sub(self.before.resident_bytes)
    }

    fn footprint(&self) -> Footprint {
        let proc = format!("/proc/{}", self.relay.pid());
        let statm = std::fs::read_to_string(format!("{proc}/statm")).expect("the server runs");
        let pages: u64 = statm.split(' ').nth(1).expect("a second field").parse().expect("pages");
        Footprint {
            descriptors: std::fs::read_dir(format!("{proc}/fd")).expect("it is ours").count(),
            resident_bytes: pages * 4096,
            processes: self.relay.offspring().len(),
        }
    }

    /// Less than 2 % of a processor, as far as its ticks of 10 ms can tell, as
    /// soon as what the attack has set in motion has come to rest.
    async fn assert_idle(&self) {
        wait::until_async("a server that does nothing while nobody asks", async || {
            let before = self.ticks();
            tokio::time::sleep(Duration::from_millis(500)).await;
            self.ticks() - before <= 1
        })
        .await;
    }

    /// Processor time that the server has used, in steps of 10 ms.
    pub(crate) fn worked(&self) -> Duration {
        Duration::from_millis(10 * self.ticks())
    }

    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.relay.pid()));
        let stat = stat.expect("the server runs");
        let fields = stat.rsplit_once(')').expect("a name in parentheses").1;
        let mut fields = fields.split_ascii_whitespace().skip(11);
        let mut next = || fields.next().and_then(|n| n.parse::<u64>().ok()).expect("ticks");
        next() + next()
    }
}

/// Sends bytes on a connection of their own and reads all that comes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    // It may answer and close before it has read everything.
    let _ = wait::within("the server to read", stream.write_all(bytes)).await;
    read_all(&mut stream).await
}

/// Everything up to the end of the connection, however it ends.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _ = wait::within("the end of the connection", stream.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// The status of the first answer in what was read; 0 when there is none.
fn status(answer: &str) -> u16 {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}
