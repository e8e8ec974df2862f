//! Writers of other habits than the built-in agent's: pieces of any size, and
//! lines one by one at the rates of real life.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::Outcome;
use crate::agent::{self, STAMP};
use crate::client::{ENVELOPE_BYTES, Endpoint};
use crate::report::{Report, Series};
use crate::sections::{Load, Run, Runs, Writer, copy_is_faster, cpu, rate};
use crate::subject::{Agent, Channel, Server, Subject};

/// Bytes in a write; 0 stands for a write for each line.
const PIECES: [usize; 6] = [0, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Lines of a run, by their size: half a second and more. In runs of a tenth of
/// that, the medians of three swung by a factor of two.
const SIZES: [(&str, u64, usize); 4] = [
    ("300 B", 3_000_000, 300),
    ("4 KB", 400_000, 4096),
    ("64 KB", 30_000, 65_536),
    ("1 MB", 2000, 1 << 20),
];

/// Share of the limit and CPU for each size of lines with each size of writes, and
/// the worst of each size of lines.
pub(crate) fn writers(report: &mut Report, reps: usize) -> Outcome {
    writers_over(report, reps, Channel::Pipes)?;
    writers_over(report, reps, Channel::Sockets)
}

fn writers_over(report: &mut Report, reps: usize, channel: Channel) -> Outcome {
    for (name, count, size) in SIZES {
        let section = channel.title(&format!("writers {name}"));
        report.title(&section)?;
        let (mut lowest, mut highest) = (None::<Series>, None::<Series>);
        for piece in PIECES {
            let writer = Writer::Pieces(piece);
            let load = Load { name, count, size, writer, channel, endpoint: Endpoint::Ws };
            let turns = load.in_turns(reps)?;
            let faster = copy_is_faster(&turns.copy, &turns.writev);
            let limit: &Runs = if faster { &turns.copy } else { &turns.writev };
            let share = turns.relay.to(limit, |run: &Run| 100.0 * run.per_second, rate);
            let times = turns.relay.to(limit, cpu, cpu);
            let writes = match piece {
                0 => "a write a line".to_owned(),
                piece => format!("pieces of {} KB", piece >> 10),
            };
            report.series(&section, &format!("{writes}: share of the limit"), "%", &share)?;
            report.series(&section, &format!("{writes}: CPU, times the limit"), "x", &times)?;
            if lowest.as_ref().is_none_or(|lowest| share.median() < lowest.median()) {
                lowest = Some(share);
            }
            if highest.as_ref().is_none_or(|highest| times.median() > highest.median()) {
                highest = Some(times);
            }
        }
        report.series(&section, "the lowest share", "%", &lowest.unwrap_or_default())?;
        report.series(&section, "the most CPU", "x", &highest.unwrap_or_default())?;
    }
    Ok(())
}

/// Lines of a second, and how many of them a run has.
const RATES: [(u64, u64); 3] = [(100, 300), (1000, 3000), (10_000, 20_000)];

const PACED_BYTES: usize = 300;

/// Figures of one paced run.
struct Paced {
    one_way_us: Series,
    cpu_us: f64,
    rss_mib: f64,
}

/// The time from the agent's write to the client, and CPU, of lines one by one.
pub(crate) fn paced(report: &mut Report, reps: usize) -> Outcome {
    for (per_second, count) in RATES {
        let section = format!("paced, {per_second} a second");
        paced_over(report, reps, &section, Endpoint::Ws, per_second, count)?;
    }
    report.title("system calls a message, paced, by strace")?;
    for server in [Server::LimitCopy, Server::Relay] {
        match system_calls(server)? {
            Some((total, most)) => {
                report.value("calls", server.name(), "", total)?;
                report.remark(&most)?;
            }
            None => return report.remark("not counted: strace is not installed"),
        }
    }
    Ok(())
}

/// The same of one rate and one endpoint of the relay.
pub(crate) fn paced_over(
    report: &mut Report,
    reps: usize,
    section: &str,
    endpoint: Endpoint,
    per_second: u64,
    count: u64,
) -> Outcome {
    report.title(section)?;
    let mut series: [Series; 8] = Default::default();
    for _ in 0..reps {
        let limit = run_paced(Server::LimitCopy, Endpoint::Ws, per_second, count)?;
        let relay = run_paced(Server::Relay, endpoint, per_second, count)?;
        let figures = [
            limit.one_way_us.median(),
            relay.one_way_us.median(),
            relay.one_way_us.median() / limit.one_way_us.median(),
            relay.one_way_us.at(0.99) / limit.one_way_us.at(0.99),
            limit.cpu_us,
            relay.cpu_us,
            relay.cpu_us / limit.cpu_us,
            relay.rss_mib,
        ];
        for (series, figure) in series.iter_mut().zip(figures) {
            series.push(figure);
        }
    }
    let names = [
        ("limit one way p50", "us"),
        ("relay one way p50", "us"),
        ("p50, times the limit", "x"),
        ("p99, times the limit", "x"),
        ("limit CPU a message", "us"),
        ("relay CPU a message", "us"),
        ("CPU, times the limit", "x"),
        ("relay RSS after it", "MiB"),
    ];
    for ((name, unit), series) in names.into_iter().zip(&series) {
        report.series(section, name, unit, series)?;
    }
    Ok(())
}

fn run_paced(server: Server, endpoint: Endpoint, per_second: u64, count: u64) -> Outcome<Paced> {
    let subject = Subject::start(server, Agent::Bench)?;
    let mut client = subject.connect_to(endpoint)?;
    client.say(&agent::paced(count / 10 + 1, PACED_BYTES, per_second))?;
    client.count(client.payload(PACED_BYTES), count / 10 + 1)?;
    client.count(client.payload(agent::ECHO_BYTES), 1)?;
    let before = subject.usage()?;
    client.say(&agent::paced(count, PACED_BYTES, per_second))?;
    let mut one_way_us = Series::default();
    while (one_way_us.0.len() as u64) < count {
        let message = client.message()?;
        if let Some(sent) = stamp(&message) {
            one_way_us.push(agent::now().saturating_sub(sent).as_nanos() as f64 / 1000.0);
        }
    }
    let after = subject.usage()?;
    Ok(Paced {
        one_way_us,
        cpu_us: after.since(before).cpu_ns as f64 / 1000.0 / count as f64,
        rss_mib: after.rss_kib as f64 / 1024.0,
    })
}

/// The time in a paced line.
fn stamp(message: &[u8]) -> Option<Duration> {
    let at = memchr::memmem::find(message, STAMP.as_bytes())? + STAMP.len();
    let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse::<u64>().ok();
    let seconds = number(message.get(at..at + 10)?)?;
    let nanoseconds = number(message.get(at + 10..at + 19)?)?;
    Some(Duration::new(seconds, u32::try_from(nanoseconds).ok()?))
}

/// Counts the calls of all threads of a server for 1,000 paced lines: how many a
/// line, and which. Returns nothing without strace.
fn system_calls(server: Server) -> Outcome<Option<(f64, String)>> {
    const LINES: u64 = 1000;
    /// strace attaches in far less.
    const ATTACHES: Duration = Duration::from_secs(1);
    let subject = Subject::start(server, Agent::Bench)?;
    let mut client = subject.connect()?;
    // The agent runs by then, and strace does not follow its start.
    client.say(&agent::paced(1, PACED_BYTES, 500))?;
    client.count(PACED_BYTES + ENVELOPE_BYTES, 1)?;
    client.count(agent::ECHO_FRAME_BYTES, 1)?;
    let directory = tempfile::tempdir()?;
    let table = directory.path().join("calls");
    #[expect(clippy::disallowed_methods, reason = "strace is a child of the bench alone")]
    let traced = Command::new("strace")
        .args(["-c", "-f", "-p", &subject.pid().to_string(), "-o"])
        .arg(&table)
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut traced) = traced else { return Ok(None) };
    sleep(ATTACHES);
    client.say(&agent::paced(LINES, PACED_BYTES, 500))?;
    client.count(PACED_BYTES + ENVELOPE_BYTES, LINES)?;
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&traced),
        rustix::process::Signal::INT,
    )?;
    traced.wait()?;
    let said = std::fs::read_to_string(&table)?;
    let mut total = 0.0;
    let mut most = String::new();
    for line in said.lines() {
        // Share, seconds, time a call, calls, errors if there are any, name.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (Some(calls), Some(name)) = (fields.get(3), fields.last()) else { continue };
        let Ok(calls) = calls.parse::<f64>() else { continue };
        let a_line = calls / LINES as f64;
        match *name {
            "total" => total = a_line,
            name if a_line >= 0.1 => write!(most, " {name} {a_line:.2}")?,
            _ => {}
        }
    }
    if total == 0.0 {
        return Err("strace has no total".into());
    }
    Ok(Some((total, most)))
}
