//! Runs a short program to its end and returns its output: a sandbox probe, the
//! version of a CLI.
//!
//! It uses [`Process`], because the server reaps all its children, so that
//! nobody else could wait for one.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::process::{Channel, Diagnostics, ExitReason, Output, Process, SpawnSpec};
use crate::supervisor::Supervisor;

/// Maximum size of the output. The programs print one line.
const OUTPUT_BYTES: usize = 4096;

/// Result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Reason of its end.
    pub reason: ExitReason,
    /// Beginning of stdout.
    pub stdout: String,
    /// End of stderr.
    pub stderr: String,
}

/// Reason for which there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The program exceeded the time limit and was killed.
    #[error("it did not end within {0:?}")]
    TimedOut(Duration),
    /// No process can be created.
    #[error("no process can be started: {0}")]
    System(#[from] io::Error),
}

/// Returns `program` with `args` and the environment `env` as a command that
/// runs in no directory of its own.
#[must_use]
pub fn command(
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    supervisor: &Supervisor,
) -> SpawnSpec {
    let cwd = PathBuf::from("/");
    SpawnSpec {
        program,
        args,
        env,
        cwd,
        scratch: Vec::new(),
        reserved_paths: Vec::new(),
        diagnostics: Diagnostics::Limited,
        channel: Channel::Pipes,
        supervisor: supervisor.clone(),
    }
}

/// Runs a command for at most `time_limit`.
///
/// # Errors
///
/// See [`ProbeError`]. A program that cannot be started or fails is a result,
/// not an error.
pub async fn run(spec: SpawnSpec, time_limit: Duration) -> Result<Outcome, ProbeError> {
    let mut process = Process::spawn(spec)?;
    // The program gets no input.
    process.stdin = None;
    let mut stdout = Vec::new();
    let read = async {
        loop {
            // Events are discarded, because a full channel would block the
            // process.
            tokio::select! {
                output = process.output.recv() => match output {
                    Some(Output::Lines(block)) => {
                        for line in block.lines() {
                            if let crate::process::lines::Line::Whole(line) = line
                                && stdout.len() + line.len() < OUTPUT_BYTES
                            {
                                stdout.extend_from_slice(line);
                                stdout.push(b'\n');
                            }
                        }
                    }
                    Some(Output::Exited(ended)) => return Some(ended),
                    None => return None,
                },
                Some(_) = process.events.recv() => {}
            }
        }
    };
    let ended = timeout(time_limit, read).await.map_err(|_| ProbeError::TimedOut(time_limit))?;
    let (reason, stderr) =
        ended.map_or((ExitReason::Lost, Vec::new()), |ended| (ended.reason, ended.stderr));
    Ok(Outcome {
        reason,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}
