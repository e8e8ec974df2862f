//! Subject of the measurement: a server as a process, and its figures in `/proc`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

use crate::client::{Client, Endpoint};
use crate::{Outcome, limit};

/// The relay, built with the profile it ships with.
pub(crate) const RELAY: &str = env!("CARGO_BIN_EXE_claude-relay-server");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    Relay,
    LimitCopy,
    LimitWritev,
}

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::LimitCopy => "limit-copy",
            Self::LimitWritev => "limit-writev",
        }
    }
}

/// Agent behind the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agent {
    /// The built-in agent.
    Demo,
    /// The one of this bench.
    Bench,
}

/// The way of the agent's lines to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// As each ships: the relay's default mode has sockets, the limit
    /// program a pipe.
    AsShipped,
    /// A pipe for both: the relay in mode `unrestricted`.
    Pipes,
    /// Sockets for both.
    Sockets,
}

impl Channel {
    /// Name of a section with this channel.
    pub(crate) fn title(self, section: &str) -> String {
        match self {
            Self::AsShipped => section.to_owned(),
            Self::Pipes => format!("{section}, pipes"),
            Self::Sockets => format!("{section}, sockets"),
        }
    }
}

/// A server that runs. Dropping it ends it.
pub(crate) struct Subject {
    child: Child,
    pub(crate) port: u16,
    _home: TempDir,
}

impl Subject {
    /// Starts it and waits until it listens.
    pub(crate) fn start(server: Server, agent: Agent) -> Outcome<Self> {
        Self::start_over(Channel::AsShipped, server, agent)
    }

    /// Starts it with this channel to its agent and waits until it listens.
    pub(crate) fn start_over(channel: Channel, server: Server, agent: Agent) -> Outcome<Self> {
        let of_limit = if channel == Channel::Sockets { limit::SOCKETS } else { limit::PIPE };
        let home = tempfile::tempdir()?;
        let this = std::env::current_exe()?;
        #[expect(clippy::disallowed_methods, reason = "here the server is the child")]
        let mut command =
            Command::new(if server == Server::Relay { RELAY.as_ref() } else { this.as_path() });
        match (server, agent) {
            (Server::Relay, agent) => {
                command.args(["--port", "0", "--log", "error", "--workspace"]).arg(home.path());
                if channel == Channel::Pipes {
                    // Root may run the agent in this mode in a sandbox alone.
                    command.args(["--mode", "unrestricted"]).env("IS_SANDBOX", "1");
                }
                match agent {
                    Agent::Demo => command.arg("--demo"),
                    Agent::Bench => command.arg("--claude-path").arg(&this),
                };
            }
            (Server::LimitCopy, _) => drop(command.args([limit::SUBCOMMAND, "copy", of_limit])),
            (Server::LimitWritev, _) => drop(command.args([limit::SUBCOMMAND, "writev", of_limit])),
        }
        if server != Server::Relay {
            match agent {
                Agent::Demo => command.args([RELAY, "demo-agent"]),
                Agent::Bench => command.arg(&this).arg("--output-format"),
            };
        }
        let mut child = command
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said)?;
        let port = said.trim().rsplit(':').next().unwrap_or_default().parse()?;
        Ok(Self { child, port, _home: home })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> Outcome<Client> {
        Client::connect(self.port, "")
    }

    pub(crate) fn connect_to(&self, endpoint: Endpoint) -> Outcome<Client> {
        match endpoint {
            Endpoint::Ws => self.connect(),
            Endpoint::Agent => Client::connect_to_agent(self.port),
        }
    }

    pub(crate) fn usage(&self) -> Outcome<Usage> {
        Usage::of(self.child.id())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // Asked first, so that the relay can bring down its agent.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// Pins this process, and what it starts from now on, to these CPUs.
pub(crate) fn pin(cpus: &[usize]) -> Outcome {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Resources that the server process has used so far, all its threads together, without
/// its children.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Time on a CPU, to the nanosecond, of the threads that live.
    pub(crate) cpu_ns: u64,
    /// Number of times that a thread gave up its CPU to wait: as often it was woken.
    pub(crate) waits: u64,
    /// Resident memory now, and the most there was.
    pub(crate) rss_kib: u64,
    pub(crate) peak_kib: u64,
}

impl Usage {
    fn of(pid: u32) -> Outcome<Self> {
        let mut usage = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            // A thread may end while it is being looked at.
            let Ok(scheduled) = fs::read_to_string(task.join("schedstat")) else { continue };
            usage.cpu_ns += scheduled.split(' ').next().unwrap_or_default().parse::<u64>()?;
            usage.waits +=
                field(&fs::read_to_string(task.join("status"))?, "voluntary_ctxt_switches:");
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        usage.rss_kib = field(&status, "VmRSS:");
        usage.peak_kib = field(&status, "VmHWM:");
        Ok(usage)
    }

    /// Resources that were used from `before` on.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            waits: self.waits.saturating_sub(before.waits),
            ..self
        }
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
