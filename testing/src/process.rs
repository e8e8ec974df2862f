//! Running processes, read from `/proc`: those that a test has started,
//! directly or not, and proof that none of them is left.

use crate::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The variable that carries a [`Mark`].
const MARK_VARIABLE: &str = "TEST_PROCESS_MARK";

/// A mark in the environment of a process that all its offspring inherit.
///
/// Ancestry is not enough to find an orphan: its parent is pid 1, and it has a
/// session of its own. Its environment still holds the mark.
#[derive(Clone, Debug)]
pub struct Mark(String);

impl Default for Mark {
    fn default() -> Self {
        Self::new()
    }
}

impl Mark {
    /// A mark that no other test has.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}-{number}", std::process::id()))
    }

    /// The variable to start the process with.
    pub fn variable(&self) -> (&'static str, &str) {
        (MARK_VARIABLE, &self.0)
    }

    /// Every process that has the mark. Zombies have no environment and are
    /// not among them; see [`zombies_of`].
    pub fn processes(&self) -> Vec<Process> {
        let wanted = format!("{MARK_VARIABLE}={}", self.0).into_bytes();
        all_pids()
            .filter(|pid| {
                fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|environ| environ.split(|&b| b == 0).any(|v| v == wanted))
            })
            .filter_map(Process::read)
            .collect()
    }

    /// Waits until no process has the mark, and returns those that still have
    /// it when `deadline` has passed.
    pub fn left_after(&self, deadline: Duration) -> Vec<Process> {
        wait::until_blocking(deadline, || self.processes().is_empty().then_some(()));
        self.processes()
    }
}

/// One process at the moment it was looked at.
#[derive(Clone)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// The id of its session, by which it is named for its leader. 0 when the
    /// leader is outside of this pid namespace, as in a container.
    pub session: i32,
    /// The letter of `/proc/PID/stat`: `R`, `S`, `Z` for a zombie, …
    pub state: char,
    /// The arguments, joined by spaces.
    pub command: String,
}

impl Process {
    /// `None` when there is no such process (any more).
    pub fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field is the name in parentheses, which may itself hold
        // spaces and parentheses: count from the last one.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        // The process group lies between the two.
        let session = fields.nth(1)?.parse().ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned();
        Some(Self { pid, parent, session, state, command })
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, parent, session, state, command } = self;
        write!(f, "{pid} (parent {parent}, session {session}, {state}) {command:.120}")
    }
}

/// Children, grandchildren and so on of `ancestor`, without itself.
pub fn descendants(ancestor: i32) -> Vec<Process> {
    let all: Vec<_> = all_pids().filter_map(Process::read).collect();
    let mut found = Vec::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|p| p.parent == parent) {
            parents.push(process.pid);
            found.push(process.clone());
        }
    }
    found
}

/// Descendants of `ancestor` that have ended and that nobody has reaped.
pub fn zombies_of(ancestor: i32) -> Vec<Process> {
    descendants(ancestor).into_iter().filter(|process| process.state == 'Z').collect()
}

/// Sends `signal` to one process by its id. One that has ended meanwhile is no
/// failure.
pub fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process id is positive");
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("could not send {signal:?} to {pid:?}: {error}"),
    }
}

fn all_pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .expect("the tests look at processes through /proc, which Linux has")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}
