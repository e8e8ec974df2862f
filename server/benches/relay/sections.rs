//! The measurements, each a section of the report.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::agent::{self, ECHO_FRAME_BYTES, noise};
use crate::client::{Client, ENVELOPE_BYTES, Endpoint};
use crate::counts::counts;
use crate::report::{Report, Series};
use crate::runs::runs;
use crate::subject::{Agent, Channel, RELAY, Server, Subject, pin};
use crate::watchers::watchers;
use crate::writers::{paced, writers};

/// Number of repetitions of everything.
pub(crate) const REPETITIONS: usize = 5;

/// A measurement: where to report, how many repetitions.
type Section = fn(&mut Report, usize) -> Outcome;

pub(crate) const ALL: &[(&str, Section)] = &[
    ("throughput", throughput),
    ("writers", writers),
    ("paced", paced),
    ("echo", echo),
    ("start", start),
    ("idle", idle),
    ("memory", memory),
    ("replay", replay),
    ("noise", stderr_noise),
    ("growth", growth),
    ("watchers", watchers),
    ("runs", runs),
    ("binary", binary),
    ("counts", counts),
];

/// The program that writes the lines, and how.
#[derive(Clone, Copy)]
pub(crate) enum Writer {
    /// The built-in agent: some lines in a write, each of its own text.
    Demo,
    /// The bench's agent: so many bytes in a write; 0 stands for a write for each
    /// line, as the real CLI does it.
    Pieces(usize),
}

/// The load of one run.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    pub(crate) size: usize,
    pub(crate) writer: Writer,
    pub(crate) channel: Channel,
    /// Endpoint of the relay; the limit program has one.
    pub(crate) endpoint: Endpoint,
}

const WRITE_A_LINE: Load = Load {
    name: "300 B, a write a line",
    count: 800_000,
    size: 300,
    writer: Writer::Pieces(0),
    channel: Channel::Pipes,
    endpoint: Endpoint::Ws,
};

const LOADS: [Load; 6] = [
    Load::demo("300 B", 1_500_000, 300),
    Load::demo("4 KB", 150_000, 4096),
    Load::demo("64 KB", 10_000, 65_536),
    Load::demo("1 MB", 1500, 1 << 20),
    WRITE_A_LINE,
    Load { channel: Channel::Sockets, ..WRITE_A_LINE },
];

/// Result of one run.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
    waits: f64,
}

impl Load {
    /// Lines of the built-in agent, with the channels as shipped.
    pub(crate) const fn demo(name: &'static str, count: u64, size: usize) -> Self {
        Self {
            name,
            count,
            size,
            writer: Writer::Demo,
            channel: Channel::AsShipped,
            endpoint: Endpoint::Ws,
        }
    }

    pub(crate) fn run(self, client: &mut Client, subject: &Subject) -> Outcome<Run> {
        let Self { count, size, writer, .. } = self;
        let payload = client.payload(size);
        let before = subject.usage()?;
        let started = Instant::now();
        client.say(&match writer {
            Writer::Pieces(piece) => agent::lines(count, size, piece),
            Writer::Demo => format!(r#"{{"n":{count},"size":{size}}}"#),
        })?;
        client.count(payload, count)?;
        let took = started.elapsed();
        let used = subject.usage()?.since(before);
        client.rest(payload)?;
        let count = count as f64;
        Ok(Run {
            per_second: count / took.as_secs_f64(),
            cpu_us: used.cpu_ns as f64 / 1000.0 / count,
            waits: used.waits as f64 / count,
        })
    }

    /// In a server of its own, after a little of the same to warm up.
    pub(crate) fn run_fresh(self, server: Server) -> Outcome<Run> {
        let agent = match self.writer {
            Writer::Pieces(_) => Agent::Bench,
            Writer::Demo => Agent::Demo,
        };
        let subject = Subject::start_over(self.channel, server, agent)?;
        let endpoint = if server == Server::Relay { self.endpoint } else { Endpoint::Ws };
        let mut client = subject.connect_to(endpoint)?;
        Self { count: self.count / 20 + 1, ..self }.run(&mut client, &subject)?;
        self.run(&mut client, &subject)
    }

    pub(crate) fn in_turns(self, reps: usize) -> Outcome<Turns> {
        let mut turns = Turns::default();
        for _ in 0..reps {
            turns.copy.0.push(self.run_fresh(Server::LimitCopy)?);
            turns.relay.0.push(self.run_fresh(Server::Relay)?);
            turns.writev.0.push(self.run_fresh(Server::LimitWritev)?);
        }
        Ok(turns)
    }
}

/// Messages a second and CPU a message, and their ratio to the limit's in the
/// same repetition. The limit is the form of it that is the faster one with
/// these lines: the better median decides. Whichever happens to be faster in
/// each repetition would be the larger of two draws, and faster than any
/// program is.
fn throughput(report: &mut Report, reps: usize) -> Outcome {
    for load in LOADS {
        let Turns { relay, copy, writev } = load.in_turns(reps)?;
        let waits = |run: &Run| run.waits;
        let limit = if copy_is_faster(&copy, &writev) { &copy } else { &writev };
        let section = load.channel.title(&format!("throughput {}", load.name));
        report.title(&section)?;
        for (name, unit, series) in [
            ("relay", "msg/s", relay.of(rate)),
            (Server::LimitCopy.name(), "msg/s", copy.of(rate)),
            (Server::LimitWritev.name(), "msg/s", writev.of(rate)),
            ("share of the limit", "%", relay.to(limit, |run| 100.0 * run.per_second, rate)),
            ("relay CPU a message", "us", relay.of(cpu)),
            ("limit CPU a message", "us", limit.of(cpu)),
            ("CPU, times the limit", "x", relay.to(limit, cpu, cpu)),
            ("relay wake-ups a message", "", relay.of(waits)),
            ("limit wake-ups a message", "", limit.of(waits)),
        ] {
            report.series(&section, name, unit, &series)?;
        }
    }
    Ok(())
}

pub(crate) fn rate(run: &Run) -> f64 {
    run.per_second
}

pub(crate) fn cpu(run: &Run) -> f64 {
    run.cpu_us
}

pub(crate) fn copy_is_faster(copy: &Runs, writev: &Runs) -> bool {
    copy.of(rate).median() > writev.of(rate).median()
}

/// One program's runs, a repetition each.
#[derive(Default)]
pub(crate) struct Runs(pub(crate) Vec<Run>);

/// The runs of the three programs, in turns.
#[derive(Default)]
pub(crate) struct Turns {
    pub(crate) relay: Runs,
    pub(crate) copy: Runs,
    pub(crate) writev: Runs,
}

impl Runs {
    pub(crate) fn of(&self, figure: impl Fn(&Run) -> f64) -> Series {
        Series(self.0.iter().map(figure).collect())
    }

    /// A figure of each run through one of the other program's run beside it.
    pub(crate) fn to(
        &self,
        other: &Self,
        ours: impl Fn(&Run) -> f64,
        theirs: impl Fn(&Run) -> f64,
    ) -> Series {
        Series(self.0.iter().zip(&other.0).map(|(a, b)| ours(a) / theirs(b)).collect())
    }
}

/// One message there, one line back, one after the other.
fn echo(report: &mut Report, reps: usize) -> Outcome {
    const TRIPS: usize = 5000;
    for (section, cpus) in [("echo, one CPU", &[0][..]), ("echo, two CPUs", &[0, 1])] {
        let trips = |server| -> Outcome<Series> {
            pin(cpus)?;
            let subject = Subject::start(server, Agent::Bench)?;
            let mut client = subject.connect()?;
            let mut trips = Series::default();
            for trip in 0..TRIPS + TRIPS / 10 {
                let started = Instant::now();
                client.say("x")?;
                client.count(ECHO_FRAME_BYTES, 1)?;
                if trip >= TRIPS / 10 {
                    trips.push(started.elapsed().as_nanos() as f64 / 1000.0);
                }
            }
            pin(&[0, 1])?;
            Ok(trips)
        };
        let mut series: [Series; 6] = Default::default();
        for _ in 0..reps {
            let limit = trips(Server::LimitCopy)?;
            let relay = trips(Server::Relay)?;
            let figures = [
                limit.median(),
                relay.median(),
                relay.median() - limit.median(),
                limit.at(0.99),
                relay.at(0.99),
                relay.at(0.99) - limit.at(0.99),
            ];
            for (series, figure) in series.iter_mut().zip(figures) {
                series.push(figure);
            }
        }
        report.title(section)?;
        let names = ["limit p50", "relay p50", "added p50", "limit p99", "relay p99", "added p99"];
        for (name, series) in names.into_iter().zip(&series) {
            report.series(section, name, "us", series)?;
        }
    }
    Ok(())
}

/// From the start of the process to `connected`.
fn start(report: &mut Report, reps: usize) -> Outcome {
    let mut series: [Series; 2] = Default::default();
    for _ in 0..reps * 3 {
        for (server, series) in [Server::LimitCopy, Server::Relay].into_iter().zip(&mut series) {
            let started = Instant::now();
            let subject = Subject::start(server, Agent::Demo)?;
            let client = subject.connect()?;
            series.push(started.elapsed().as_secs_f64() * 1000.0);
            drop(client);
        }
    }
    report.title("start to `connected`")?;
    report.series("start", "limit", "ms", &series[0])?;
    report.series("start", "relay", "ms", &series[1])
}

/// Cost of doing nothing.
fn idle(report: &mut Report, _: usize) -> Outcome {
    const WATCHED: Duration = Duration::from_secs(10);
    let subject = Subject::start(Server::Relay, Agent::Demo)?;
    report.title("idle")?;
    let mut watch = |name: &str| -> Outcome {
        sleep(Duration::from_secs(1));
        let before = subject.usage()?;
        sleep(WATCHED);
        let after = subject.usage()?;
        let used = after.since(before);
        let seconds = WATCHED.as_secs_f64();
        report.value("idle", &format!("{name}: wake-ups"), "/s", used.waits as f64 / seconds)?;
        report.value(
            "idle",
            &format!("{name}: CPU"),
            "us/s",
            used.cpu_ns as f64 / 1000.0 / seconds,
        )?;
        report.value("idle", &format!("{name}: RSS"), "MiB", after.rss_kib as f64 / 1024.0)
    };
    watch("no client")?;
    let _client = subject.connect()?;
    watch("connected")
}

/// Memory after 2 GB.
fn memory(report: &mut Report, _: usize) -> Outcome {
    report.title("memory")?;
    for (count, size) in [(6_600_000, 300), (500_000, 4096), (2000, 1 << 20)] {
        let subject = Subject::start(Server::Relay, Agent::Demo)?;
        let mut client = subject.connect()?;
        Load::demo("", count, size).run(&mut client, &subject)?;
        let usage = subject.usage()?;
        let name = format!("after 2 GB in lines of {size} B");
        report.value("memory", &format!("{name}: RSS"), "MiB", usage.rss_kib as f64 / 1024.0)?;
        report.value("memory", &format!("{name}: peak"), "MiB", usage.peak_kib as f64 / 1024.0)?;
    }
    Ok(())
}

/// A client that comes back for a full buffer of 16 MiB.
fn replay(report: &mut Report, reps: usize) -> Outcome {
    report.title("replay of a full buffer of 16 MiB")?;
    for size in [300, 4096, 65_536] {
        let subject = Subject::start(Server::Relay, Agent::Demo)?;
        let mut client = subject.connect()?;
        let count = (40 << 20) / size as u64;
        Load::demo("", count, size).run(&mut client, &subject)?;
        drop(client);
        let mut series = Series::default();
        for _ in 0..reps {
            // A client that has gone is noticed in its own time.
            let (started, mut client) = loop {
                let started = Instant::now();
                if let Ok(client) = Client::connect(subject.port, "?after=0") {
                    break (started, client);
                }
            };
            client.result()?;
            series.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        report.series("replay", &format!("lines of {size} B"), "ms", &series)?;
    }
    Ok(())
}

/// The time that lines on stdout take with and without noise on stderr.
fn stderr_noise(report: &mut Report, reps: usize) -> Outcome {
    const LINES: u64 = 400_000;
    const SIZE: usize = 4096;
    const NOISE_MIB: usize = 200;
    report.title("200 MiB of noise on stderr beside 1.6 GB on stdout")?;
    for server in [Server::Relay, Server::LimitCopy] {
        let run = |noise_mib| -> Outcome<(f64, f64)> {
            let subject = Subject::start(server, Agent::Bench)?;
            let mut client = subject.connect()?;
            let before = subject.usage()?;
            let started = Instant::now();
            client.say(&noise(LINES, SIZE, noise_mib))?;
            client.count(SIZE + ENVELOPE_BYTES, LINES)?;
            let took = started.elapsed().as_secs_f64();
            Ok((took, subject.usage()?.since(before).cpu_ns as f64))
        };
        let (mut slower, mut dearer) = (Series::default(), Series::default());
        for _ in 0..reps {
            let quiet = run(0)?;
            let noisy = run(NOISE_MIB)?;
            slower.push(100.0 * (noisy.0 / quiet.0 - 1.0));
            dearer.push(100.0 * (noisy.1 / quiet.1 - 1.0));
        }
        let name = server.name();
        report.series("noise", &format!("{name}: slower by"), "%", &slower)?;
        report.series("noise", &format!("{name}: more CPU"), "%", &dearer)?;
    }
    Ok(())
}

/// Whether a message costs the same after ten million of them, and whether the
/// buffer is empty or full. Old and fresh take turns, so that what else the
/// machine does falls on both.
fn growth(report: &mut Report, reps: usize) -> Outcome {
    const FILLED: u64 = 60_000;
    const MEASURED: u64 = 300_000;
    let load = |count| Load::demo("", count, 300);
    report.title("growth")?;
    let old = Subject::start(Server::Relay, Agent::Demo)?;
    let mut old_client = old.connect()?;
    for (name, count) in [
        ("the first million", 1_000_000),
        ("to 5 million", 4_000_000),
        ("to 10 million", 5_000_000),
    ] {
        let run = load(count).run(&mut old_client, &old)?;
        report.value("growth", &format!("{name}: CPU a message"), "us", run.cpu_us)?;
    }
    let mut series: [Series; 4] = Default::default();
    for _ in 0..reps {
        let fresh = Subject::start(Server::Relay, Agent::Demo)?;
        let mut client = fresh.connect()?;
        // Half of what fits is the buffer on its way from empty to full.
        let empty = load(FILLED / 2).run(&mut client, &fresh)?;
        load(FILLED / 2).run(&mut client, &fresh)?;
        let full = load(FILLED / 2).run(&mut client, &fresh)?;
        let young = load(MEASURED).run(&mut client, &fresh)?;
        let aged = load(MEASURED).run(&mut old_client, &old)?;
        series[0].push(empty.cpu_us);
        series[1].push(full.cpu_us);
        series[2].push(full.cpu_us / empty.cpu_us);
        series[3].push(aged.cpu_us / young.cpu_us);
    }
    let names = [
        ("buffer empty: CPU a message", "us"),
        ("buffer full: CPU a message", "us"),
        ("full, times empty", "x"),
        ("old, times fresh", "x"),
    ];
    for ((name, unit), series) in names.into_iter().zip(&series) {
        report.series("growth", name, unit, series)?;
    }
    let peak = old.usage()?.peak_kib as f64 / 1024.0;
    report.value("growth", "peak RSS", "MiB", peak)
}

fn binary(report: &mut Report, _: usize) -> Outcome {
    report.title("binary")?;
    report.value("binary", "size", "MB", fs::metadata(RELAY)?.len() as f64 / 1e6)
}
