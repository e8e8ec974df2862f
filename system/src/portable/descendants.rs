//! Descendants of this process, by `ps`.

use std::collections::HashSet;
use std::io::{self, Read as _};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, getpid};

/// Interval between two looks at the processes.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Stack size of the thread that looks, whose call depth is small.
const STACK_BYTES: usize = 128 << 10;

/// A watch of the descendants of this process.
#[derive(Debug, Default)]
pub struct Descendants(Option<Arc<Mutex<Known>>>);

/// Those that were seen, and are still there.
#[derive(Debug, Default)]
struct Known {
    pids: HashSet<i32>,
}

impl Descendants {
    /// Begins to watch: a thread looks at all processes again and again. This
    /// process has to lead its process group; others in it count as descendants.
    #[must_use]
    pub fn watch() -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let seen = Arc::downgrade(&known);
        // Without it, what is found at the end is ended.
        let _ = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            while let Some(known) = seen.upgrade() {
                look(&known);
                drop(known);
                std::thread::sleep(LOOK_INTERVAL);
            }
        });
        Self(Some(known))
    }

    /// Returns true if some are left that are no children of this process.
    #[must_use]
    pub fn has_orphans(&self) -> bool {
        self.0.is_some() && !self.left().is_empty()
    }

    /// Returns those that are left.
    #[must_use]
    pub fn left(&self) -> Vec<Pid> {
        let pids = match &self.0 {
            Some(known) => look(known),
            None => processes().map(|all| below(&all, None, &HashSet::new())).unwrap_or_default(),
        };
        pids.into_iter().filter_map(Pid::from_raw).collect()
    }
}

/// Looks at all processes, and returns the descendants. One that was seen before
/// stays one when its parent has ended: its number is not given away so soon.
fn look(known: &Mutex<Known>) -> HashSet<i32> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    // What cannot be read this time is read the next time.
    if let Ok(all) = processes() {
        known.pids = below(&all, Some(getpid().as_raw_pid()), &known.pids);
    }
    known.pids.clone()
}

/// A process as `ps` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    pid: i32,
    parent: i32,
    group: i32,
}

/// Returns the processes below this one, those of `group`, those of `before`, and
/// what is below them.
fn below(all: &[Row], group: Option<i32>, before: &HashSet<i32>) -> HashSet<i32> {
    let own = getpid().as_raw_pid();
    let mut found: HashSet<i32> = all
        .iter()
        .filter(|row| row.parent == own || Some(row.group) == group || before.contains(&row.pid))
        .map(|row| row.pid)
        .collect();
    loop {
        let count = found.len();
        let more: Vec<i32> =
            all.iter().filter(|row| found.contains(&row.parent)).map(|row| row.pid).collect();
        found.extend(more);
        if found.len() == count {
            break;
        }
    }
    found.remove(&own);
    found
}

/// Returns all processes but this one's `ps`, and those that have ended and wait
/// for their parent.
fn processes() -> io::Result<Vec<Row>> {
    #[expect(clippy::disallowed_methods, reason = "nothing else tells of processes")]
    let mut ps = Command::new("/bin/ps")
        .args(["-A", "-o", "pid=", "-o", "ppid=", "-o", "pgid=", "-o", "stat="])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut text = String::new();
    let read = ps.stdout.take().map(|mut stdout| stdout.read_to_string(&mut text)).transpose();
    // Whoever waits for all children may have reaped it.
    let _ = ps.wait();
    read?;
    let own = i64::from(ps.id());
    Ok(text.lines().filter_map(row).filter(|row| i64::from(row.pid) != own).collect())
}

/// Reads a line of `ps`; `None` for a process that has ended.
fn row(line: &str) -> Option<Row> {
    let mut fields = line.split_ascii_whitespace();
    let mut next = || fields.next()?.parse().ok();
    let row = Row { pid: next()?, parent: next()?, group: next()? };
    (!fields.next()?.starts_with('Z')).then_some(row)
}

#[cfg(test)]
mod tests;
