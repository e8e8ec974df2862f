//! The real server: started as a user starts it, and ended so that nothing of
//! it is left.

use super::replayed::Recorded;
use super::ws;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::process::{self, Mark, Process};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Longest time until the server has ended after a signal: its timeouts for the
/// agent (5 s for the end of stdin, 5 s for SIGTERM) and some more.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// Longest time that a process of the server may outlive it.
const ORPHAN_DEADLINE: Duration = Duration::from_secs(8);

/// Arguments and environment of a server that is to be started.
#[derive(Clone)]
pub(crate) struct Launch {
    port: u16,
    mode: Option<&'static str>,
    user: Option<u32>,
    arguments: Vec<OsString>,
    environment: BTreeMap<String, String>,
    directory: std::path::PathBuf,
    /// The command that becomes the server.
    wrapper: Vec<OsString>,
    /// True if what the server records is played at its end.
    is_replayed: bool,
}

impl Launch {
    /// Any free port, the place's workspace, and an environment of its own.
    pub(crate) fn new(env: &TestEnv) -> Self {
        Self {
            port: 0,
            mode: None,
            user: None,
            arguments: vec!["--workspace".into(), env.workspace().into()],
            environment: env.environment(),
            directory: env.home(),
            wrapper: Vec::new(),
            is_replayed: false,
        }
    }

    /// With the built-in agent.
    pub(crate) fn demo(env: &TestEnv) -> Self {
        Self::new(env).argument("--demo")
    }

    /// With the CLI at `claude`, which talks to `api` and may use its tools
    /// without asking. What the server records is played when it is stopped.
    pub(crate) fn unrestricted(env: &TestEnv, claude: &Path, api: &MessagesApi) -> Self {
        let mut launch = Self::new(env).mode("unrestricted");
        launch.is_replayed = true;
        launch.environment = env.environment_with(api);
        launch.argument("--claude-path").argument(claude)
    }

    /// At the port where an earlier server has been, for a client that comes
    /// back to it.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// A path in the directory that it starts in.
    pub(crate) fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.join(name)
    }

    /// Sets the mode.
    pub(crate) fn mode(mut self, mode: &'static str) -> Self {
        self.mode = Some(mode);
        self
    }

    /// The token that it is given.
    pub(crate) fn token(&self) -> Option<String> {
        let of_argument = self.clone().take("--auth-token");
        of_argument.or_else(|| self.environment.get("RELAY_AUTH_TOKEN").cloned())
    }

    /// Takes an argument away: its value, which follows it or a `=` in it.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.arguments.iter().position(|argument| {
            argument.to_str().is_some_and(|text| text.split('=').next() == Some(name))
        })?;
        let argument = self.arguments.remove(at).into_string().expect("UTF-8");
        Some(match argument.split_once('=') {
            Some((_, value)) => value.to_owned(),
            None => self.arguments.remove(at).into_string().expect("UTF-8"),
        })
    }

    /// The user as whom it runs.
    pub(crate) fn runs_as(&self) -> Option<u32> {
        self.user
    }

    /// As this user, whose the place must be: to see what permissions are
    /// worth when the tests run as root.
    pub(crate) fn user(mut self, user: u32) -> Self {
        self.user = Some(user);
        self
    }

    /// Lets this command become the server, whose path and arguments follow it.
    pub(crate) fn within(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
        self
    }

    /// Sets a variable.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds one argument.
    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Takes a variable away.
    pub(crate) fn without_variable(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Starts the server and waits until it listens.
    #[expect(
        clippy::disallowed_methods,
        reason = "the rule is about the server's own children; here the server is the child"
    )]
    pub(crate) fn start(mut self) -> Relay {
        let recorded = std::mem::take(&mut self.is_replayed).then(|| Recorded::new(self.clone()));
        if let Some(recorded) = &recorded {
            self = self.argument("--record").argument(recorded.recording());
        }
        let mark = Mark::new();
        let (name, value) = mark.variable();
        let server = env!("CARGO_BIN_EXE_claude-relay-server").into();
        let mut words = self.wrapper.into_iter().chain([server]);
        let mut command = Command::new(words.next().expect("the server at least"));
        command.args(words);
        if let Some(user) = self.user {
            command.uid(user);
        }
        let mut child = command
            .arg(format!("--port={}", self.port))
            .args(self.mode.map(|mode| format!("--mode={mode}")))
            .args(self.arguments)
            .env_clear()
            .envs(self.environment)
            .env(name, value)
            .current_dir(self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = keep(child.stderr.take().expect("stderr is piped"));
        let listening = listening_address(stdout);
        // From here on its `Drop` sees to the child, also when this panics.
        let mut relay = Relay {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            mark,
            stderr,
            ended: false,
            recorded,
        };
        relay.address = listening.recv_timeout(wait::DEADLINE).unwrap_or_else(|_| {
            panic!("no `listening on http://127.0.0.1:PORT` on the server's stdout")
        });
        ws::forget_paths(relay.address);
        relay
    }
}

/// Starts the server with `arguments` and `variables` where it must refuse:
/// its exit code and its stderr.
#[expect(clippy::disallowed_methods, reason = "the server is the child here")]
pub(crate) fn refused(
    env: &TestEnv,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_claude-relay-server"))
        .args(["--port=0", "--workspace"])
        .arg(env.workspace())
        .args(arguments)
        .env_clear()
        .envs(env.environment())
        .envs(variables.iter().copied())
        .current_dir(env.home())
        .output()
        .expect("the server starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Beginning of a command in a network (`--net`) or with mounts (`--mount`) of
/// its own. A normal user becomes the root of them.
pub(crate) fn unshared(what: &str) -> Vec<&str> {
    let mut wrapper = vec!["unshare", what];
    if !rustix::process::geteuid().is_root() {
        wrapper.extend(["--user", "--map-root-user"]);
    }
    wrapper
}

/// A running server.
pub(crate) struct Relay {
    child: Child,
    address: SocketAddr,
    mark: Mark,
    stderr: Arc<Mutex<Vec<u8>>>,
    ended: bool,
    recorded: Option<Recorded>,
}

impl Relay {
    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id fits")
    }

    /// Its stderr so far.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().expect("no holder panics")).into_owned()
    }

    /// Every process it has started that still runs, whosever child it is now.
    pub(crate) fn offspring(&self) -> Vec<Process> {
        let mut processes = self.mark.processes();
        processes.retain(|process| process.pid != self.pid());
        processes
    }

    /// Sends it a signal and returns at once.
    pub(crate) fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// SIGTERM; its exit must be 0 and leave no process behind. What was recorded
    /// plays to the same frames.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{}", self.stderr());
        self.assert_nothing_left();
        if let Some(recorded) = self.recorded.take() {
            recorded.assert_replays(&ws::paths(self.address));
        }
    }

    /// Waits for its end after a signal that the test has sent: nothing may be
    /// left behind.
    pub(crate) fn end(mut self) -> ExitStatus {
        let status = self.ended();
        self.assert_nothing_left();
        status
    }

    fn ended(&mut self) -> ExitStatus {
        let status = wait::until_blocking(STOP_DEADLINE, || {
            self.child.try_wait().expect("the server is our child")
        });
        let status = status.unwrap_or_else(|| {
            panic!("still up {STOP_DEADLINE:?} after a signal\n{}", self.stderr())
        });
        self.ended = true;
        status
    }

    fn assert_nothing_left(&self) {
        let left = self.mark.left_after(ORPHAN_DEADLINE);
        for process in &left {
            process::signal(process.pid, Signal::KILL);
        }
        assert!(left.is_empty(), "left {ORPHAN_DEADLINE:?} after the server's end: {left:#?}");
    }
}

impl Drop for Relay {
    /// For a test that did not stop it: the same end and the same demand, or,
    /// when the test has failed already, no more than a clean machine and a
    /// look at what the server said.
    fn drop(&mut self) {
        if std::thread::panicking() {
            if !self.ended {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            for process in self.mark.processes() {
                process::signal(process.pid, Signal::KILL);
            }
            #[expect(clippy::print_stderr, reason = "the test runner shows it beside the failure")]
            {
                eprintln!("--- the server's stderr ---\n{}", self.stderr());
            }
        } else if !self.ended {
            self.signal(Signal::TERM);
            self.ended();
            self.assert_nothing_left();
            if let Some(recorded) = self.recorded.take() {
                recorded.assert_replays(&ws::paths(self.address));
            }
        }
    }
}

/// Reads to the end in a thread, so that the server never waits for us.
fn keep(mut stream: impl Read + Send + 'static) -> Arc<Mutex<Vec<u8>>> {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&kept);
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            written.lock().expect("no holder panics").extend(&chunk[..read]);
        }
    });
    kept
}

/// Sends the address of the line `listening on http://…`, and reads on.
fn listening_address(stdout: impl Read + Send + 'static) -> mpsc::Receiver<SocketAddr> {
    let (found, address) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("listening on http://") {
                let address = address.trim_end_matches('/').parse().expect("an address");
                let _ = found.send(address);
            }
        }
    });
    address
}
