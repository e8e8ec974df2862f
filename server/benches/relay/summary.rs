//! The goals, and what was measured against them, as a table in markdown.

use std::io::{self, Write as _};

use crate::Outcome;
use crate::report::{Report, Series, short};

#[derive(Clone, Copy)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

use Goal::{AtLeast, AtMost};

/// One line of the table.
struct Row {
    what: &'static str,
    goal: Goal,
    /// Location of the figure in the report, and the figure beside it.
    section: &'static str,
    figure: &'static str,
    beside: &'static str,
}

const fn row(
    what: &'static str,
    goal: Goal,
    section: &'static str,
    figure: &'static str,
    beside: &'static str,
) -> Row {
    Row { what, goal, section, figure, beside }
}

const SHARE: &str = "share of the limit";
const TIMES: &str = "CPU, times the limit";
const RATE: &str = "relay";
const CPU: &str = "relay CPU a message";
const LOWEST: &str = "the lowest share";
const MOST: &str = "the most CPU";
const PACED: &str = "paced, 1000 a second";
const PACED_RUN: &str = "runs, 1000 a second";
const MORE_CPU: &str = "more CPU by";
const SLOWER: &str = "slower by";
const PEAK: &str = "peak RSS";
const ONE_WAY: &str = "relay one way p50";

const ROWS: &[Row] = &[
    row("throughput, share of the limit: 300 B", AtLeast(50.0), "throughput 300 B", SHARE, RATE),
    row("4 KB", AtLeast(65.0), "throughput 4 KB", SHARE, RATE),
    row("64 KB", AtLeast(80.0), "throughput 64 KB", SHARE, RATE),
    row("1 MB", AtLeast(80.0), "throughput 1 MB", SHARE, RATE),
    row(
        "300 B, one write a line, by pipes",
        AtLeast(70.0),
        "throughput 300 B, a write a line, pipes",
        SHARE,
        RATE,
    ),
    row(
        "300 B, one write a line, by sockets",
        AtLeast(70.0),
        "throughput 300 B, a write a line, sockets",
        SHARE,
        RATE,
    ),
    row("CPU a message, times the limit: 300 B", AtMost(3.0), "throughput 300 B", TIMES, CPU),
    row("4 KB", AtMost(2.0), "throughput 4 KB", TIMES, CPU),
    row("64 KB", AtMost(2.0), "throughput 64 KB", TIMES, CPU),
    row("1 MB", AtMost(2.0), "throughput 1 MB", TIMES, CPU),
    row("by pipes", AtMost(3.0), "throughput 300 B, a write a line, pipes", TIMES, CPU),
    row("by sockets", AtMost(3.0), "throughput 300 B, a write a line, sockets", TIMES, CPU),
    row("the worst writer, pipes, share: 300 B", AtLeast(80.0), "writers 300 B, pipes", LOWEST, ""),
    row("4 KB", AtLeast(80.0), "writers 4 KB, pipes", LOWEST, ""),
    row("64 KB", AtLeast(80.0), "writers 64 KB, pipes", LOWEST, ""),
    row("1 MB", AtLeast(80.0), "writers 1 MB, pipes", LOWEST, ""),
    row("the worst writer, pipes, CPU: 300 B", AtMost(3.0), "writers 300 B, pipes", MOST, ""),
    row("4 KB", AtMost(1.6), "writers 4 KB, pipes", MOST, ""),
    row("64 KB", AtMost(1.6), "writers 64 KB, pipes", MOST, ""),
    row("1 MB", AtMost(2.0), "writers 1 MB, pipes", MOST, ""),
    row(
        "the worst writer, sockets, share: 300 B",
        AtLeast(80.0),
        "writers 300 B, sockets",
        LOWEST,
        "",
    ),
    row("4 KB", AtLeast(80.0), "writers 4 KB, sockets", LOWEST, ""),
    row("64 KB", AtLeast(80.0), "writers 64 KB, sockets", LOWEST, ""),
    row("1 MB", AtLeast(80.0), "writers 1 MB, sockets", LOWEST, ""),
    row("the worst writer, sockets, CPU: 300 B", AtMost(3.0), "writers 300 B, sockets", MOST, ""),
    row("4 KB", AtMost(1.6), "writers 4 KB, sockets", MOST, ""),
    row("64 KB", AtMost(1.6), "writers 64 KB, sockets", MOST, ""),
    row("1 MB", AtMost(2.0), "writers 1 MB, sockets", MOST, ""),
    row("1,000 a second, one way: median", AtMost(1.3), PACED, "p50, times the limit", ONE_WAY),
    row("p99", AtMost(1.6), PACED, "p99, times the limit", ""),
    row("CPU", AtMost(1.6), PACED, TIMES, CPU),
    row("RSS after it", AtMost(24.0), PACED, "relay RSS after it", ""),
    row(
        "echo over the limit's: one CPU, median",
        AtMost(8.0),
        "echo, one CPU",
        "added p50",
        "relay p50",
    ),
    row("two CPUs, median", AtMost(25.0), "echo, two CPUs", "added p50", "relay p50"),
    row("two CPUs, p99", AtMost(100.0), "echo, two CPUs", "added p99", "relay p99"),
    row("start to `connected`", AtMost(5.0), "start", "relay", "limit"),
    row("RSS: idle", AtMost(5.0), "idle", "no client: RSS", ""),
    row("connected", AtMost(6.0), "idle", "connected: RSS", ""),
    row("after 2 GB of 300 B", AtMost(24.0), "memory", "after 2 GB in lines of 300 B: RSS", ""),
    row("of 4 KB", AtMost(24.0), "memory", "after 2 GB in lines of 4096 B: RSS", ""),
    row("of 1 MB", AtMost(24.0), "memory", "after 2 GB in lines of 1048576 B: RSS", ""),
    row("idle wake-ups: no client", AtMost(0.0), "idle", "no client: wake-ups", "no client: CPU"),
    row("connected", AtMost(0.0), "idle", "connected: wake-ups", "connected: CPU"),
    row("binary, stripped", AtMost(4.0), "binary", "size", ""),
    row("replay of 16 MiB: 300 B", AtMost(50.0), "replay", "lines of 300 B", ""),
    row("4 KB", AtMost(50.0), "replay", "lines of 4096 B", ""),
    row("64 KB", AtMost(50.0), "replay", "lines of 65536 B", ""),
    row(
        "200 MiB on stderr slow stdout by",
        AtMost(10.0),
        "noise",
        "relay: slower by",
        "relay: more CPU",
    ),
    row(
        "CPU after 10 million, times a fresh server's",
        AtMost(1.1),
        "growth",
        "old, times fresh",
        "",
    ),
    row(
        "CPU with a full buffer, times an empty one's",
        AtMost(1.1),
        "growth",
        "full, times empty",
        "",
    ),
    row("8 watchers slow the client by: 300 B", AtMost(3.0), "watchers 300 B", SLOWER, PEAK),
    row("4 KB", AtMost(3.0), "watchers 4 KB", SLOWER, PEAK),
    row("they cost the server more CPU: 300 B", AtMost(3.0), "watchers 300 B", MORE_CPU, ""),
    row("4 KB", AtMost(3.0), "watchers 4 KB", MORE_CPU, ""),
    row("a run at `/agent`, share of the limit: 300 B", AtLeast(80.0), "runs 300 B", SHARE, RATE),
    row("4 KB", AtLeast(80.0), "runs 4 KB", SHARE, RATE),
    row("64 KB", AtLeast(80.0), "runs 64 KB", SHARE, RATE),
    row("CPU a message, times the limit: 300 B", AtMost(3.0), "runs 300 B", TIMES, CPU),
    row("4 KB", AtMost(1.6), "runs 4 KB", TIMES, CPU),
    row("64 KB", AtMost(1.6), "runs 64 KB", TIMES, CPU),
    row("1,000 a second, one way: median", AtMost(1.3), PACED_RUN, "p50, times the limit", ONE_WAY),
    row("p99", AtMost(1.6), PACED_RUN, "p99, times the limit", ""),
    row("CPU", AtMost(1.6), PACED_RUN, TIMES, CPU),
];

/// Prints the rows whose figures were measured.
pub(crate) fn print(report: &Report) -> Outcome {
    let mut out = io::stdout();
    writeln!(out, "\n| | goal | measured | | met |\n|---|---|---|---|---|")?;
    for Row { what, goal, section, figure, beside } in ROWS {
        let Some((series, unit)) = report.figure(section, figure) else { continue };
        let (goal, met) = match goal {
            AtLeast(least) => (format!("≥ {least} {unit}"), series.median() >= *least),
            AtMost(most) => (format!("≤ {most} {unit}"), series.median() <= *most),
        };
        let beside = report
            .figure(section, beside)
            .map(|(series, unit)| format!("{beside} {}", spread(series, unit)))
            .unwrap_or_default();
        let met = if met { "yes" } else { "**no**" };
        writeln!(out, "| {what} | {goal} | {} | {beside} | {met} |", spread(series, unit))?;
    }
    Ok(())
}

fn spread(series: &Series, unit: &str) -> String {
    let middle = short(series.median());
    if series.0.len() == 1 {
        return format!("{middle} {unit}");
    }
    format!("{middle} {unit} ({} to {})", short(series.at(0.0)), short(series.at(1.0)))
}
