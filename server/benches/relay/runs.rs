//! Runs at `/agent`: throughput, CPU and the way of single lines, as shares of the
//! limit's.

use crate::Outcome;
use crate::client::Endpoint;
use crate::report::Report;
use crate::sections::{Load, Run, Writer, copy_is_faster, cpu, rate};
use crate::subject::Channel;
use crate::writers::paced_over;

/// Bytes in a write of the agent.
const PIECE: usize = 64 << 10;

const LOADS: [Load; 3] =
    [load("300 B", 600_000, 300), load("4 KB", 80_000, 4096), load("64 KB", 6000, 65_536)];

const fn load(name: &'static str, count: u64, size: usize) -> Load {
    let writer = Writer::Pieces(PIECE);
    Load { name, count, size, writer, channel: Channel::Sockets, endpoint: Endpoint::Agent }
}

/// Lines of a second, and how many of them a run has.
const PACED: (u64, u64) = (1000, 3000);

pub(crate) fn runs(report: &mut Report, reps: usize) -> Outcome {
    for load in LOADS {
        let section = format!("runs {}", load.name);
        report.title(&section)?;
        let turns = load.in_turns(reps)?;
        let faster = copy_is_faster(&turns.copy, &turns.writev);
        let limit = if faster { &turns.copy } else { &turns.writev };
        let share = turns.relay.to(limit, |run: &Run| 100.0 * run.per_second, rate);
        let times = turns.relay.to(limit, cpu, cpu);
        report.series(&section, "relay", "msg/s", &turns.relay.of(rate))?;
        report.series(&section, "share of the limit", "%", &share)?;
        report.series(&section, "relay CPU a message", "us", &turns.relay.of(cpu))?;
        report.series(&section, "CPU, times the limit", "x", &times)?;
    }
    let (per_second, count) = PACED;
    paced_over(report, reps, "runs, 1000 a second", Endpoint::Agent, per_second, count)
}
