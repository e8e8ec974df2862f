//! `claude-relay-e2b rehearse`.

use claude_relay_e2b::rehearsal::{Rehearsal, RehearsalError, rehearse};

use super::Failure;
use super::args::Rehearse;
use super::contents::relay_template;
use super::report::Report;

pub(crate) async fn run(arguments: &Rehearse) -> Result<(), Failure> {
    let mut report = Report::stderr();
    let relay = relay_template(&arguments.contents, &mut report).await?;
    let turn = match &arguments.turn {
        Some(turn) => Some(std::path::absolute(turn)?),
        None => None,
    };
    let rehearsal = Rehearsal {
        template: relay.definition(),
        directory: std::path::absolute(&arguments.directory)?,
        mirror: arguments.mirror.clone(),
        turn,
        keep: arguments.keep,
    };
    report.start_clock();
    let done = {
        let mut tell = |line: &str| {
            // A closed stderr is no reason to stop.
            let _ = report.line(line);
        };
        tokio::select! {
            done = rehearse(&rehearsal, &mut tell) => done,
            _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted("interrupted".to_owned())),
        }
    };
    match done {
        Ok(()) => Ok(report.line(&format!("rehearsed in {}", report.elapsed()))?),
        Err(error @ (RehearsalError::Machine(_) | RehearsalError::Context(_))) => {
            Err(Failure::Usage(error.to_string()))
        }
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}
