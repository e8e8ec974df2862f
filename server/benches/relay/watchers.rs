//! The throughput of the client beside watchers, one of which never reads.

use std::thread::spawn;

use crate::Outcome;
use crate::client::Client;
use crate::report::{Report, Series};
use crate::sections::{Load, Run};
use crate::subject::{Agent, Server, Subject};

const WATCHERS: usize = 8;

const LOADS: [Load; 2] = [Load::demo("300 B", 1_000_000, 300), Load::demo("4 KB", 100_000, 4096)];

/// Runs a load beside so many watchers. Gives the most memory, too, in MiB.
fn beside(load: Load, watchers: usize) -> Outcome<(Run, f64)> {
    let subject = Subject::start(Server::Relay, Agent::Demo)?;
    let mut client = subject.connect()?;
    Load { count: load.count / 20 + 1, ..load }.run(&mut client, &subject)?;
    let watch = || Client::connect(subject.port, "?watch=true");
    let silent = (watchers > 0).then(watch).transpose()?;
    for _ in 1..watchers {
        let watcher = watch()?;
        spawn(move || watcher.drain());
    }
    let run = load.run(&mut client, &subject)?;
    drop(silent);
    Ok((run, subject.usage()?.peak_kib as f64 / 1024.0))
}

pub(crate) fn watchers(report: &mut Report, reps: usize) -> Outcome {
    for load in LOADS {
        let section = format!("watchers {}", load.name);
        report.title(&section)?;
        let mut series: [Series; 5] = Default::default();
        for _ in 0..reps {
            let (alone, _) = beside(load, 0)?;
            let (watched, peak) = beside(load, WATCHERS)?;
            series[0].push(alone.per_second);
            series[1].push(watched.per_second);
            series[2].push(100.0 * (1.0 - watched.per_second / alone.per_second));
            series[3].push(100.0 * (watched.cpu_us / alone.cpu_us - 1.0));
            series[4].push(peak);
        }
        let names = [
            ("without watchers", "msg/s"),
            ("beside 8, one of which never reads", "msg/s"),
            ("slower by", "%"),
            ("more CPU by", "%"),
            ("peak RSS", "MiB"),
        ];
        for ((name, unit), series) in names.into_iter().zip(&series) {
            report.series(&section, name, unit, series)?;
        }
    }
    Ok(())
}
