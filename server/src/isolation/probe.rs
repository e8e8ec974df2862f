//! Runs a small program to its end and gives what it said: whether a sandbox
//! works, which version a CLI has.
//!
//! By way of a [`Process`], because the server reaps every child it has, and a
//! status taken that way is lost to anybody else who waits for it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::process::{Ending, Output, Process, SpawnSpec};

/// How much of the output is kept. The programs asked here say a line.
const OUTPUT_BYTES: usize = 4096;

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub how: Ending,
    /// The beginning of its stdout.
    pub stdout: String,
    /// The end of its stderr.
    pub stderr: String,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It took too long and was ended.
    #[error("it did not end within {0:?}")]
    Late(Duration),
    /// No process can be made.
    #[error("no process can be started: {0}")]
    System(#[from] io::Error),
}

/// Runs `program` with `args` and the environment `env`, for at most `patience`.
///
/// # Errors
///
/// See [`ProbeError`]. That the program cannot be started or fails is an
/// outcome.
pub async fn run(
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    time_limit: Duration,
) -> Result<Outcome, ProbeError> {
    let spec = SpawnSpec { program, args, env, cwd: PathBuf::from("/"), scratch: None };
    let mut process = Process::spawn(spec)?;
    // It has nothing to read.
    process.stdin = None;
    let mut said = Vec::new();
    let listen = async {
        loop {
            // Its notes are news of no use here, but they must not fill up.
            tokio::select! {
                output = process.output.recv() => match output {
                    Some(Output::Lines(block)) => {
                        for line in block.lines() {
                            if let crate::process::lines::Line::Whole(line) = line
                                && said.len() + line.len() < OUTPUT_BYTES
                            {
                                said.extend_from_slice(line);
                                said.push(b'\n');
                            }
                        }
                    }
                    Some(Output::Ended(ended)) => return Some(ended),
                    None => return None,
                },
                Some(_) = process.events.recv() => {}
            }
        }
    };
    let ended = timeout(time_limit, listen).await.map_err(|_| ProbeError::Late(time_limit))?;
    let (how, stderr) = ended.map_or((Ending::Lost, Vec::new()), |ended| (ended.how, ended.stderr));
    Ok(Outcome {
        how,
        stdout: String::from_utf8_lossy(&said).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}
