//! Finding and ending all descendants of this process, by `/proc`.
//!
//! The CLI starts its tools in sessions of their own, so process groups do not
//! cover them. The tree of parents does, because the process at its root is a
//! child subreaper: orphans become children of the root instead of pid 1.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

/// Interval between two scans. A killed process usually ends sooner.
const SCAN_INTERVAL: Duration = Duration::from_millis(5);

/// Kills and reaps all descendants of this process. Blocks until none is left,
/// so it runs in the supervisor or on a thread of its own.
pub fn sweep() {
    while reap() {
        for pid in descendants(getpid()) {
            // The process may have ended already.
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(SCAN_INTERVAL);
    }
}

/// Reaps all children that have ended. Returns true if any child is left.
pub fn reap() -> bool {
    loop {
        // Not `waitpid(None, …)`, which waits only for this process group.
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Returns all processes below `root`, without `root`.
fn descendants(root: Pid) -> Vec<Pid> {
    let children = children_by_parent().unwrap_or_default();
    let mut found = Vec::new();
    let mut open = vec![root.as_raw_pid()];
    while let Some(parent) = open.pop() {
        for &child in children.get(&parent).into_iter().flatten() {
            open.push(child);
            found.extend(Pid::from_raw(child));
        }
    }
    found
}

fn children_by_parent() -> io::Result<HashMap<i32, Vec<i32>>> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that has just ended has no entry any more.
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    Ok(children)
}

/// Returns the parent of `pid`: the second field after the name. The name is in
/// parentheses and may contain any character, parentheses included.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_below_its_parent() {
        let own = getpid().as_raw_pid();
        assert!(parent(own).is_some());
        let thread_safe = children_by_parent().unwrap();
        assert!(thread_safe.values().flatten().any(|pid| *pid == own));
    }
}
