//! The real server with its built-in agent.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The server's program, built by the cargo that runs these tests: it is in
/// another package, so cargo does not build it for us. Once a run, and next to
/// nothing when it is up to date.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        build(&["--package", "claude-relay-server", "--bin", "claude-relay-server"])
    })
}

/// One of this package's examples.
pub(crate) fn example(name: &str) -> PathBuf {
    build(&["--package", "claude-relay-client", "--example", name])
}

fn build(target: &[&str]) -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "the ban is for the server's own processes")]
    let mut build = std::process::Command::new(env!("CARGO"));
    build.arg("build").args(target).arg("--message-format=json-render-diagnostics");
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let output = build.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "{target:?} does not build");
    let messages = String::from_utf8(output.stdout).unwrap();
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .expect("cargo names the program")
}

/// A running server. Its process ends with it.
pub(crate) struct Relay {
    pub(crate) url: String,
    pub(crate) port: u16,
    child: Child,
    folder: TempDir,
}

impl Relay {
    /// With the built-in agent.
    pub(crate) async fn demo(arguments: &[&str]) -> Self {
        Self::start(&[&["--demo"], arguments].concat(), &[]).await
    }

    pub(crate) async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let program = tokio::task::spawn_blocking(program).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(program)
            .args(["--port", "0", "--log", "warn", "--workspace"])
            .arg(folder.path().join("workspace"))
            .args(arguments)
            .env_clear()
            .env("PATH", env!("PATH"))
            .env("HOME", folder.path())
            .envs(environment.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = super::soon(lines.next_line()).await.unwrap().expect("it listens");
            if let Some(url) = line.strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
        Self { url, port, child, folder }
    }

    /// Where its agent works.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Ends it as a service manager would.
    pub(crate) async fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        super::soon(self.child.wait()).await.unwrap();
    }
}
