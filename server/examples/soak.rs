//! Lets one client live through hours of a server's life: bursts, stalls, cut
//! connections, crashes of the agent and of its keeper, interrupts, at random
//! from a seed. Checks that everything said arrives once and in order, and
//! prints what the server takes from the system, which must stay flat.
//!
//! ```text
//! cargo run --release --example soak -- --minutes 60 --seed 7
//! ```
//!
//! It builds the server it runs, with the same profile. The exit code is 0 when
//! all was well, 1 with the reason on stderr when not.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// Nothing may take longer than this; a stall of ours is shorter.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many of the last frames a failure shows, and how much of each.
const RECENT_FRAMES: usize = 8;
const RECENT_CHARS: usize = 240;

/// Of the server's replay buffer: small, so that a stall fills it.
const REPLAY_BYTES: u64 = 4 << 20;

/// What the server may need beside its replay buffer.
const BESIDE_BYTES: u64 = 8 << 20;

/// How many descriptors and processes may come and go: a connection, an agent
/// with its keeper.
const DESCRIPTORS: usize = 8;
const PROCESSES: usize = 2;

/// Hundredths of a second, the unit of `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

type Failure = Box<dyn std::error::Error>;

#[derive(Parser)]
struct Args {
    /// How long.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The same seed brings the same story.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds between two lines of figures.
    #[arg(long, default_value_t = 10)]
    every: u64,
}

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }
}

/// The server, ended with this program.
struct Server {
    child: Child,
    address: SocketAddr,
    _workspace: tempfile::TempDir,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "here the server is the child")]
    fn start() -> Result<Self, Failure> {
        let workspace = tempfile::tempdir()?;
        let mut child = Command::new(build()?)
            .args(["--demo", "--port=0", "--log=error", "--stop-grace=1s"])
            .arg(format!("--replay-bytes={REPLAY_BYTES}"))
            .arg("--workspace")
            .arg(workspace.path())
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://").ok_or("no address")?;
        Ok(Self { child, address: address.parse()?, _workspace: workspace })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM; it must exit with 0.
    fn stop(mut self) -> Result<(), Failure> {
        signal(self.pid(), Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("the server ended with {status}").into()),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err("the server does not end".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its keeper ends the rest. After `stop` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Builds the server with this program's profile, beside it.
#[expect(clippy::disallowed_methods, reason = "cargo and its variable belong to the build")]
fn build() -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Together with this program, because that is how its libraries were built.
    command.args(["build", "--quiet", "--bin", "claude-relay-server", "--example", "soak"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    if !command.status()?.success() {
        return Err("the server could not be built".into());
    }
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).ok_or("no target directory")?;
    Ok(profile.join("claude-relay-server"))
}

/// How often what has happened.
#[derive(Default)]
struct Tally {
    turns: u64,
    lines: u64,
    cuts: u64,
    stalls: u64,
    crashes: u64,
    interrupts: u64,
    gaps: u64,
}

/// The one client, across all its connections.
struct Client {
    address: SocketAddr,
    socket: WebSocketStream<TcpStream>,
    stream: String,
    /// The number of the last frame.
    last: u64,
    /// How the last few frames began, for whoever looks into a failure.
    recent: VecDeque<String>,
    tally: Tally,
}

impl Client {
    async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let (socket, stream) = attach(address, 0, None).await?;
        let (recent, tally) = (VecDeque::new(), Tally::default());
        Ok(Self { address, socket, stream, last: 0, recent, tally })
    }

    /// Loses the connection, one way or another, and comes back for the rest.
    async fn cut(&mut self, dice: &mut Dice) -> Result<(), Failure> {
        self.tally.cuts += 1;
        match dice.below(3) {
            0 => self.socket.get_ref().set_zero_linger()?,
            1 => {
                let _ = timeout(PATIENCE, self.socket.close(None)).await?;
            }
            _ => {}
        }
        let (socket, stream) = attach(self.address, self.last, Some(&self.stream)).await?;
        if stream != self.stream {
            return Err("the server has begun another stream".into());
        }
        self.socket = socket;
        Ok(())
    }

    async fn send(&mut self, frame: &Value) -> Result<(), Failure> {
        Ok(timeout(PATIENCE, self.socket.send(Message::text(frame.to_string()))).await??)
    }

    async fn say(&mut self, script: &Value) -> Result<(), Failure> {
        self.send(&json!({
            "type": "user_message",
            "data": { "type": "user", "message": { "role": "user", "content": script.to_string() } },
        }))
        .await
    }

    /// The next frame; its number must be the next one.
    async fn frame(&mut self) -> Result<Value, Failure> {
        // Pings keep coming when nothing else does any more.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let message = timeout_at(deadline, self.socket.next())
                .await
                .map_err(|_| format!("nothing came for {PATIENCE:?} after {}", self.last))?;
            let text = match message.ok_or("the connection has ended")?? {
                Message::Text(text) => text,
                Message::Ping(_) | Message::Pong(_) => continue,
                other => return Err(format!("not a frame: {other:?}").into()),
            };
            let frame: Value = serde_json::from_str(&text)?;
            self.recent.push_back(text.chars().take(RECENT_CHARS).collect());
            if self.recent.len() > RECENT_FRAMES {
                self.recent.pop_front();
            }
            if frame["type"] == "gap" {
                let (from, to) = (frame["from"].as_u64(), frame["to"].as_u64());
                if from != Some(self.last + 1) || to < from {
                    return Err(format!("{frame} after {}", self.last).into());
                }
                self.tally.gaps += 1;
                self.last = to.unwrap_or_default();
                return Ok(frame);
            }
            if frame["seq"] != self.last + 1 {
                return Err(format!("{} after {}: {frame:.200}", frame["seq"], self.last).into());
            }
            self.last += 1;
            return Ok(frame);
        }
    }

    /// Says something and sees it through to its end, whatever happens.
    async fn turn(&mut self, server: &Server, dice: &mut Dice) -> Result<(), Failure> {
        let lines = dice.below(3_000) + 1;
        let mut script = json!({ "n": lines, "size": dice.between(230, 2_000) });
        let fate = dice.below(12);
        match fate {
            0 => script["exit"] = json!(dice.below(3)),
            1 => script["signal"] = json!("SIGKILL"),
            2 => script["rate"] = json!(2_000),
            // More than the buffer and the sockets hold.
            3 => script["size"] = json!(12_000),
            4 => script["size"] = json!(140_000),
            5 => script["stderr"] = json!("noise\n".repeat(100)),
            _ => {}
        }
        if fate == 4 {
            script["n"] = json!(lines.min(150));
        }
        let lines = script["n"].as_u64().unwrap_or_default();
        // What comes only after the agent has begun is never lost with the
        // connection that said it.
        self.say(&script).await?;
        while self.frame().await?["data"]["subtype"] != "init" {}

        let until_event = dice.below(lines);
        let event = dice.below(6);
        let (mut seen, mut missed) = (0, false);
        // What the agent has said and read goes on for a while after its keeper
        // was killed, on a busy machine into the next turn: its end is waited for.
        let mut doomed = false;
        let mut due = true;
        loop {
            if due && seen >= until_event {
                due = false;
                match event {
                    0 | 1 => self.cut(dice).await?,
                    2 => {
                        self.tally.stalls += 1;
                        sleep(Duration::from_millis(dice.below(1_500))).await;
                    }
                    3 if dice.below(4) == 0 => {
                        self.tally.interrupts += 1;
                        self.send(&json!({ "type": "interrupt" })).await?;
                        missed = true;
                    }
                    4 if dice.below(8) == 0 => {
                        let keeper = children(server.pid()).first().copied();
                        if let Some(keeper) = keeper {
                            signal(keeper, Signal::KILL)?;
                            (doomed, missed) = (true, true);
                        }
                    }
                    _ => {}
                }
            }
            let frame = self.frame().await?;
            match frame["type"].as_str() {
                Some("gap") => missed = true,
                Some("exit") => {
                    self.tally.crashes += 1;
                    break;
                }
                Some("sdk_message") if frame["data"]["type"] == "result" && !doomed => break,
                Some("sdk_message") if frame["data"]["type"] == "assistant" => {
                    let text = frame["data"]["message"]["content"][0]["text"].as_str();
                    let number = text.and_then(|text| text.get(..12)?.parse::<u64>().ok());
                    seen += 1;
                    if !missed && number != Some(seen) {
                        return Err(format!("line {number:?} in the place of {seen}").into());
                    }
                }
                _ => {}
            }
        }
        // An agent may have been ended by its keeper before its own end.
        if !missed && seen != lines {
            return Err(format!("{seen} lines of {lines}: {script}").into());
        }
        self.tally.turns += 1;
        self.tally.lines += seen;
        Ok(())
    }
}

/// Connects for sequenced delivery as soon as the place is free.
async fn attach(
    address: SocketAddr,
    after: u64,
    stream: Option<&str>,
) -> Result<(WebSocketStream<TcpStream>, String), Failure> {
    let stream = stream.map_or_else(String::new, |stream| format!("&stream={stream}"));
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let request = format!("ws://{address}/ws?after={after}{stream}").into_client_request()?;
        let tcp = TcpStream::connect(address).await?;
        let (mut socket, _) = tokio_tungstenite::client_async(request, tcp).await?;
        let first = timeout(PATIENCE, socket.next()).await?.ok_or("no first frame")??;
        let first: Value = serde_json::from_str(first.to_text()?)?;
        if let Some(stream) = first["stream"].as_str() {
            return Ok((socket, stream.to_owned()));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Err("the place is never free".into())
}

/// What the server takes from the system.
struct Figures {
    descriptors: usize,
    processes: usize,
    heap_bytes: u64,
    cpu_seconds: f64,
}

impl Figures {
    fn of(pid: u32) -> Result<Self, Failure> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        // Without the pages of the program's own file: a debug build has many.
        let heap = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0");
        let heap_kib: u64 = heap.split_ascii_whitespace().next().unwrap_or("0").parse()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_ascii_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        Ok(Self {
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            processes: descendants(pid),
            heap_bytes: heap_kib << 10,
            cpu_seconds: ticks / TICKS_PER_SECOND,
        })
    }
}

fn children(pid: u32) -> Vec<u32> {
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists: Vec<String> = threads.filter_map(of_thread).collect();
    lists.iter().flat_map(|list| list.split_ascii_whitespace()).flat_map(str::parse).collect()
}

fn descendants(pid: u32) -> usize {
    children(pid).into_iter().map(|child| 1 + descendants(child)).sum()
}

fn signal(pid: u32, signal: Signal) -> Result<(), Failure> {
    let pid = Pid::from_raw(i32::try_from(pid)?).ok_or("no process")?;
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
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
