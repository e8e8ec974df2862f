//! The program as a script runs it: arguments, pipes, an exit code.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use claude_relay_testing::scripted_agent::executable;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::soon;

/// Exit code, stdout and stderr.
pub(crate) type Told = (i32, String, String);

/// The program with nothing of the tests' environment and no stdin.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_claude-relay"));
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The program as a client of `url`.
pub(crate) fn command(url: &str) -> Command {
    let mut command = bare();
    command.env("CLAUDE_RELAY_URL", url);
    command
}

pub(crate) async fn run(command: &mut Command) -> Told {
    told(soon(command.output()).await.unwrap())
}

pub(crate) fn told(output: Output) -> Told {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Runs it with `input` on its stdin.
pub(crate) async fn piped(command: &mut Command, input: &[u8]) -> Told {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).await.unwrap();
    drop(stdin);
    told(soon(child.wait_with_output()).await.unwrap())
}

/// Writes an agent of a few lines of shell into `folder`, and beside it
/// `claude-relay-agent`. Returns the agent's path.
pub(crate) fn agent_and_stand_in(folder: &Path, script: &str) -> PathBuf {
    let agent = folder.join("agent");
    executable(&agent, format!("#!/bin/sh\n{script}\n"));
    symlink(env!("CARGO_BIN_EXE_claude-relay"), folder.join("claude-relay-agent")).unwrap();
    agent
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Reads stderr up to a line that begins so; the rest stays to be read.
pub(crate) async fn wait_for_line(child: &mut Child, begins: &str) {
    let stderr = child.stderr.as_mut().unwrap();
    let mut line = Vec::new();
    soon(async {
        loop {
            let byte = stderr.read_u8().await.expect("it ended early");
            if byte != b'\n' {
                line.push(byte);
            } else if line.starts_with(begins.as_bytes()) {
                return;
            } else {
                line.clear();
            }
        }
    })
    .await;
}
