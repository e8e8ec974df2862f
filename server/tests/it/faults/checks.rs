//! Checks after every fault: the server answers at once, a fresh
//! client completes a turn, and nothing has been left behind or piled up.

use crate::support::http;
use crate::support::relay::Relay;
use crate::support::ws::Client;
use claude_relay_testing::{process, wait};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Number of descriptors that may come or go unexplained.
const DESCRIPTORS: usize = 2;

/// Descriptors for a running agent: its three pipes, the supervisor's
/// socket.
const AGENT_DESCRIPTORS: usize = 4;

/// The RSS of a server after any fault, replay buffer included.
const RSS_BYTES: u64 = 48 << 20;

/// The relay before the fault.
pub(crate) struct Before {
    descriptors: usize,
}

impl Before {
    /// To be called on an idle relay whose agent has not been started.
    pub(crate) fn of(relay: &Relay) -> Self {
        Self { descriptors: descriptors(relay.pid()) }
    }

    /// Checks the relay after the fault. Whatever was connected is gone.
    pub(crate) async fn check(&self, relay: &Relay) {
        self.check_but_for_rss(relay).await;
        let rss = rss_bytes(relay.pid());
        assert!(rss < RSS_BYTES, "{rss} bytes of RSS");
    }

    /// The same for a fault after which the allocator may keep memory.
    pub(crate) async fn check_but_for_rss(&self, relay: &Relay) {
        // (a) It answers at once.
        answers_at_once(relay.address()).await;
        // (b) A fresh client completes one turn.
        let mut client = fresh_client(relay.address()).await;
        client.say("Are you there?").await;
        client.turn().await;
        client.close().await;
        // (c) Nothing has piled up: a supervisor, an agent, and their pipes.
        wait::until("no more than a supervisor and an agent", || {
            let offspring = relay.offspring();
            (offspring.len() <= 2).then_some(())
        })
        .await;
        // Between a child's end and its burial lies a moment.
        wait::until("no zombie", || process::zombies_of(relay.pid()).is_empty().then_some(()))
            .await;
        let most = self.descriptors + AGENT_DESCRIPTORS + DESCRIPTORS;
        wait::until(&format!("at most {most} descriptors"), || {
            (descriptors(relay.pid()) <= most).then_some(())
        })
        .await;
        idles(relay.pid()).await;
    }
}

/// `/health` within a second, whatever else goes on.
pub(crate) async fn answers_at_once(address: SocketAddr) -> Value {
    let asked = Instant::now();
    let health = http::get(address, "/health").await;
    assert_eq!(health.status, 200);
    wait::was_within(Duration::from_secs(1), asked);
    health.json()
}

/// A client that gets in as soon as the one before it is out.
pub(crate) async fn fresh_client(address: SocketAddr) -> Client {
    wait::within("the client slot to be free", async {
        loop {
            let mut client = Client::open(address, "/ws").await;
            if client.frame().await == json!({ "type": "connected" }) {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Less than 2 % of a processor over a second. Work that the fault has set in
/// motion may still be coming to rest, so the best of some seconds counts.
async fn idles(pid: i32) {
    wait::within("the server to idle", async {
        loop {
            let before = cpu_ticks(pid);
            tokio::time::sleep(Duration::from_secs(1)).await;
            if cpu_ticks(pid) - before <= 2 {
                return;
            }
        }
    })
    .await;
}

/// Number of open descriptors of a process.
pub(crate) fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").count()
}

/// Hundredths of a second of processor time a process has used.
pub(crate) fn cpu_ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    let (_, behind_name) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields = behind_name.split_ascii_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// The memory of a process that is in RAM.
pub(crate) fn rss_bytes(pid: i32) -> u64 {
    status_bytes(pid, "status", &["VmRSS:"])
}

/// The same without the pages of the program's own file, which are many in a
/// debug build and few in the one that is shipped.
pub(crate) fn heap_bytes(pid: i32) -> u64 {
    status_bytes(pid, "status", &["RssAnon:"])
}

/// The most that [`heap_bytes`] can have been at any time.
pub(crate) fn peak_heap_bytes(pid: i32) -> u64 {
    status_bytes(pid, "status", &["VmHWM:"]) - status_bytes(pid, "status", &["RssFile:"])
}

/// The addresses that a process has taken, whether there is memory behind
/// them or not: what its limit counts.
pub(crate) fn virtual_bytes(pid: i32) -> u64 {
    status_bytes(pid, "status", &["VmSize:"])
}

/// The memory of a process that it shares with nobody.
pub(crate) fn private_bytes(pid: i32) -> u64 {
    status_bytes(pid, "smaps_rollup", &["Private_Clean:", "Private_Dirty:"])
}

fn status_bytes(pid: i32, file: &str, names: &[&str]) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).expect("the process runs");
    let kib = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    text.lines()
        .filter(|line| names.iter().any(|name| line.starts_with(name)))
        .filter_map(kib)
        .sum::<u64>()
        * 1024
}
