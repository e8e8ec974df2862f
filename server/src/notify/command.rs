//! One attempt to deliver a notice to a command: on its standard input.

use std::ffi::{OsStr, OsString};

use super::{AttemptError, Setup};
use crate::isolation::probe;
use crate::process::{ExitReason, Input, Output, Process};

/// Variables that a command gets. No credential is among them.
const VARIABLES: [&str; 9] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SHELL"];

pub(super) async fn run(
    setup: &Setup,
    command: &[OsString],
    notice: &str,
) -> Result<(), AttemptError> {
    let again = |reason: String| AttemptError::Again(reason);
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    let is_passed = |name: &OsStr| VARIABLES.iter().any(|passed| name == *passed);
    let given = setup.environment.iter().filter(|(name, _)| is_passed(name)).cloned();
    let spec = probe::command(program.clone(), args.to_vec(), given.collect(), &setup.supervisor);
    let mut process = Process::spawn(spec).map_err(|error| again(error.to_string()))?;
    if let Some(stdin) = process.stdin.take() {
        // The channel is empty, so this cannot fail.
        let _ = stdin.try_send(Input::Control(format!("{notice}\n").into()));
    }
    loop {
        tokio::select! {
            output = process.output.recv() => match output {
                Some(Output::Lines(_)) => {}
                Some(Output::Exited(ended)) => return match ended.reason {
                    ExitReason::Exited(0) => Ok(()),
                    reason => Err(again(format!("{program:?}: {reason:?}"))),
                },
                None => return Err(again(format!("{program:?} is lost"))),
            },
            // A full channel would block the process.
            Some(_) = process.events.recv() => {}
        }
    }
}
