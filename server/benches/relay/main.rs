//! Distance of the relay from the limit of the machine.
//!
//! `cargo bench --bench relay [-- SECTION… --reps N]` starts the server as it
//! ships and, beside it, the **limit program**: the least that moves a line
//! from a pipe into a frame on a socket ([`limit`]). Both serve the same agent
//! and the same client, a bare frame reader, in turns, so that what else the
//! machine does falls on both. It prints medians, their spread and the share
//! of the limit inside each repetition, writes all figures as JSON, and ends
//! with a table in markdown that sets them against the goals.

mod agent;
mod client;
mod counts;
mod limit;
mod report;
mod runs;
mod sections;
mod subject;
mod summary;
mod watchers;
mod writers;

use std::io::{self, Write as _};
use std::process::ExitCode;

/// What can go wrong is the end of a bench; the words are for a person.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.first().map(String::as_str) {
        Some(limit::SUBCOMMAND) => limit::run(&args[1..]),
        Some(counts::SUBCOMMAND) => counts::run(&args[1..]),
        Some(limit::OWN_SESSION) => limit::become_agent(&args[1..]),
        // The relay starts an agent with the flags of the CLI.
        Some("--output-format") => agent::run(),
        _ => bench(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &[String]) -> Outcome {
    // Cargo says so; without it this is `cargo test --all-targets`.
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let mut reps = sections::REPETITIONS;
    let mut wanted = Vec::new();
    let mut args = args.iter().filter(|arg| *arg != "--bench");
    while let Some(arg) = args.next() {
        if arg == "--reps" {
            reps = args.next().ok_or("--reps: how many?")?.parse()?;
        } else {
            wanted.push(arg.as_str());
        }
    }
    let mut report = report::Report::default();
    for (name, section) in sections::ALL {
        if wanted.is_empty() || wanted.contains(name) {
            section(&mut report, reps)?;
        }
    }
    report.save()?;
    summary::print(&report)
}
