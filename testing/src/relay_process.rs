//! The real server as a process, for crates that do not build it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::wait::soon;

/// Path of the server's program: the one that `RELAY_BIN` names. Without that it
/// is built, once per test process, because Cargo builds programs only for the
/// tests of their own package.
pub fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        built_server().unwrap_or_else(|| {
            build(&["--package", "claude-relay-server", "--bin", "claude-relay-server"])
        })
    })
}

/// Path of an example's program, which stands beside the server that
/// `RELAY_BIN` names, or is built.
pub fn build_example(package: &str, name: &str) -> PathBuf {
    match built_server().as_deref().and_then(Path::parent) {
        Some(programs) => programs.join("examples").join(name),
        None => build(&["--package", package, "--example", name]),
    }
}

/// Path of a package's program, in the same way.
pub fn build_program(package: &str, name: &str) -> PathBuf {
    match built_server().as_deref().and_then(Path::parent) {
        Some(programs) => programs.join(name),
        None => build(&["--package", package, "--bin", name]),
    }
}

#[allow(clippy::disallowed_methods, reason = "the harness is told of a server that is built")]
fn built_server() -> Option<PathBuf> {
    std::env::var_os("RELAY_BIN").map(PathBuf::from)
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
pub struct RelayProcess {
    /// Its address, `http://127.0.0.1:PORT`.
    pub url: String,
    /// Its port.
    pub port: u16,
    child: Child,
    folder: TempDir,
}

impl RelayProcess {
    /// With the built-in agent.
    pub async fn demo(arguments: &[&str]) -> Self {
        Self::start(&[&["--demo"], arguments].concat(), &[]).await
    }

    /// Starts it with these arguments and these variables alone.
    pub async fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_on(0, arguments, environment).await
    }

    /// Starts it on a given port, such as that of one that was killed.
    pub async fn start_on(port: u16, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::launch(&[], port, arguments, environment).await
    }

    /// Starts it in a mount namespace of its own, in which these directories are
    /// empty.
    pub async fn start_without(
        hidden: &[&Path],
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let fixed = ["bwrap", "--die-with-parent", "--dev-bind", "/", "/"];
        let hidden = hidden.iter().flat_map(|path| ["--tmpfs", path.to_str().unwrap()]);
        let wrapper: Vec<&str> = fixed.into_iter().chain(hidden).chain(["--"]).collect();
        Self::launch(&wrapper, 0, arguments, environment).await
    }

    /// Starts it in a machine of its own, as far as namespaces make one: with
    /// processes, `/proc`, `/tmp` and a home of its own, and of the files in `/tmp`
    /// with these alone.
    pub async fn start_as_machine(visible: &[&Path], arguments: &[&str]) -> Self {
        let program = tokio::task::spawn_blocking(program).await.unwrap().as_path();
        let folder = tempfile::tempdir().unwrap();
        let mut wrapper =
            vec!["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--dev-bind", "/"];
        wrapper.extend(["/", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/dev/shm"]);
        for path in visible.iter().copied().chain([program]) {
            let path = path.to_str().unwrap();
            wrapper.extend(["--ro-bind", path, path]);
        }
        let home = folder.path().to_str().unwrap().to_owned();
        wrapper.extend(["--bind", &home, &home, "--"]);
        Self::launch_in(folder, &wrapper, 0, arguments, &[("IS_SANDBOX", "1")]).await
    }

    async fn launch(
        wrapper: &[&str],
        port: u16,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::launch_in(folder, wrapper, port, arguments, environment).await
    }

    async fn launch_in(
        folder: TempDir,
        wrapper: &[&str],
        port: u16,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let program = tokio::task::spawn_blocking(program).await.unwrap().as_path();
        let words = wrapper.iter().map(Path::new).chain([program]);
        let words: Vec<&Path> = words.collect();
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .args(["--port", &port.to_string(), "--log", "warn", "--workspace"])
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
            let line = soon(lines.next_line()).await.unwrap().expect("it listens");
            if let Some(url) = line.strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
        Self { url, port, child, folder }
    }

    /// The workspace of its agent.
    pub fn workspace(&self) -> PathBuf {
        self.folder.path().join("workspace")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id().unwrap()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Kills it without warning, and waits until it is gone.
    pub async fn kill(self) {
        drop(self.kill_and_keep().await);
    }

    /// The same; its files stay as long as what it returns.
    pub async fn kill_and_keep(mut self) -> TempDir {
        soon(self.child.kill()).await.unwrap();
        self.folder
    }

    /// Ends it as a service manager would.
    pub async fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        soon(self.child.wait()).await.unwrap();
    }
}
