//! Repeated rounds of five hundred sandboxes from one pool against a fake of
//! the API in the same process. Measures the time of a round and checks that
//! memory does not grow.
//!
//!     cargo bench --package claude-relay-e2b --bench pool

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use claude_relay_e2b::http::E2b;
use claude_relay_e2b::pool::{PoolOptions, SandboxPool};
use claude_relay_e2b::sandbox::NewSandbox;
use claude_relay_e2b::settings::Options;
use claude_relay_testing::e2b::{API_KEY, FakeE2b};

const SANDBOXES: usize = 500;
const ROUNDS: usize = 20;
/// Rounds before memory use should be stable.
const WARM_UP: usize = 5;
/// Most memory that later rounds may add.
const MAX_GROWTH_KIB: u64 = 4096;

#[tokio::main]
async fn main() {
    let fake = FakeE2b::start().await;
    fake.forget_requests();
    let variables = BTreeMap::from([
        ("E2B_API_KEY".to_owned(), API_KEY.to_owned()),
        ("E2B_API_URL".to_owned(), fake.url()),
    ]);
    let e2b = E2b::new(Options::default().resolve_with(&variables).unwrap()).unwrap();
    let mut out = std::io::stdout();
    let mut steady = 0;
    for round in 1..=ROUNDS {
        let started = Instant::now();
        let options = PoolOptions {
            name: "bench".into(),
            new: NewSandbox::new("base"),
            max_size: SANDBOXES,
            warm: SANDBOXES / 10,
            starting: 50,
        };
        let pool = SandboxPool::open(e2b.clone(), options).unwrap();
        let mut takers = tokio::task::JoinSet::new();
        for _ in 0..SANDBOXES {
            let pool = pool.clone();
            takers.spawn(async move { pool.take().await.unwrap() });
        }
        let leases = takers.join_all().await;
        let alive = fake.alive().len();
        let taken = started.elapsed();
        drop(leases);
        assert!(pool.close(Duration::from_secs(60)).await, "not all were killed");
        fake.finish();
        let resident = resident_kib();
        let all = started.elapsed();
        writeln!(out, "round {round}: {alive} alive after {taken:.2?}, all ended after {all:.2?}, {resident} KiB resident").unwrap();
        assert_eq!(alive, SANDBOXES);
        if round == WARM_UP {
            steady = resident;
        }
        let grown = resident.saturating_sub(steady);
        assert!(round <= WARM_UP || grown <= MAX_GROWTH_KIB, "grown by {grown} KiB");
    }
}

/// Returns the resident memory of this process; 0 if the kernel does not report
/// it.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
