//! Lets one client live through hours of a server's life: bursts, stalls, cut
//! connections, crashes of the agent and of its supervisor, interrupts, at random
//! from a seed. Checks that everything said arrives once and in order, and
//! prints what the server takes from the system, which must stay flat.
//!
//! ```text
//! cargo run --release --example soak -- --minutes 60 --seed 7
//! ```
//!
//! It builds the server it runs, with the same profile. The exit code is 0 when
//! all was well, 1 with the reason on stderr when not.

mod client;
mod dice;
mod figures;
mod server;
mod turn;

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::time::sleep;

use self::client::{Client, Tally};
use self::dice::Dice;
use self::figures::{Figures, children};
use self::server::{REPLAY_BYTES, Server};

/// Nothing may take longer than this; a stall of ours is shorter.
const DEADLINE: Duration = Duration::from_secs(60);

/// Memory that the server may need beside its replay buffer.
const BESIDE_BYTES: u64 = 8 << 20;

/// Number of descriptors and processes that may come and go: a connection, an agent
/// with its supervisor.
const DESCRIPTORS: usize = 8;
const PROCESSES: usize = 2;

type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
struct Args {
    /// Duration.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The same seed brings the same story.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds between two lines of figures.
    #[arg(long, default_value_t = 10)]
    every: u64,
}

fn print(line: &str) {
    // Nobody may be reading any more.
    let _ = writeln!(io::stdout(), "{line}");
}

async fn soak(args: &Args) -> Result<(), Failure> {
    let mut dice = Dice(args.seed);
    let server = Server::start()?;
    let mut client = Client::connect(server.address).await?;
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.minutes * 60.0);
    let every = Duration::from_secs(args.every);
    let mut next = start + every;
    let mut before = Figures::of(server.pid())?;
    let mut history = Vec::new();
    print("    s   turns     lines  cuts stalls crashes interrupts gaps  fds procs heap MB  CPU %");
    while Instant::now() < end {
        if let Err(failure) = client.turn(&server, &mut dice).await {
            let recent = client.recent.make_contiguous().join("\n");
            return Err(format!("{failure}\nthe last frames:\n{recent}").into());
        }
        if Instant::now() < next {
            continue;
        }
        let now = Figures::of(server.pid())?;
        let Tally { turns, lines, cuts, stalls, crashes, interrupts, gaps } = &client.tally;
        let since = (Instant::now() - next + every).as_secs_f64();
        print(&format!(
            "{:5} {turns:7} {lines:9} {cuts:5} {stalls:6} {crashes:7} {interrupts:10} {gaps:4} {:4} {:5} {:7.1} {:6.1}",
            start.elapsed().as_secs(),
            now.descriptors,
            now.processes,
            now.heap_bytes as f64 / 1e6,
            (now.cpu_seconds - before.cpu_seconds) / since * 100.0,
        ));
        next = Instant::now() + every;
        before = Figures { ..now };
        history.push(before.heap_bytes);
        if before.descriptors > DESCRIPTORS + 12 {
            return Err(format!("{} descriptors", before.descriptors).into());
        }
        if before.processes > PROCESSES {
            return Err(format!("{} processes", before.processes).into());
        }
        if before.heap_bytes > REPLAY_BYTES + BESIDE_BYTES {
            return Err(format!("{} bytes of heap", before.heap_bytes).into());
        }
    }
    drop(client);
    sleep(Duration::from_secs(1)).await;
    let (idle, ticks) = (Duration::from_secs(2), Figures::of(server.pid())?.cpu_seconds);
    sleep(idle).await;
    let used = Figures::of(server.pid())?.cpu_seconds - ticks;
    print(&format!("idle: {:.1} % CPU", used / idle.as_secs_f64() * 100.0));
    if used > 0.02 * idle.as_secs_f64() {
        return Err("the server does not come to rest".into());
    }
    let below: Vec<u32> = children(server.pid());
    server.stop()?;
    if below.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
        return Err("something has outlived the server".into());
    }
    // The tops of the second and of the last quarter: it must not climb.
    let quarter = history.len() / 4;
    if quarter > 2 {
        let top = |part: &[u64]| part.iter().max().copied().unwrap_or_default();
        let (early, late) = (top(&history[quarter..2 * quarter]), top(&history[3 * quarter..]));
        print(&format!(
            "heap: {:.1} MB early, {:.1} MB late",
            early as f64 / 1e6,
            late as f64 / 1e6
        ));
        if late > early + (2 << 20) {
            return Err("the server grows".into());
        }
    }
    print("all was well");
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match soak(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "soak --seed {}: {failure}", args.seed);
            ExitCode::FAILURE
        }
    }
}
