//! Every process below this one, found in `/proc`, and their end.
//!
//! The CLI starts its tools in sessions of their own, so no process group
//! reaches them. What does is the tree of parents, if the process at its root
//! is a child subreaper: whoever loses its parent then hangs under the root,
//! not under pid 1.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

/// Between two looks at what is left. A killed process is usually gone sooner.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Kills every descendant of this process and reaps it; returns when none is
/// left. Blocks: for the supervisor, or a thread of its own.
pub fn sweep() {
    while reap() {
        for pid in descendants(getpid()) {
            // It may be gone already, which is what is wanted.
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Reaps every child that has ended; whether any child is left.
pub fn reap() -> bool {
    loop {
        // Not `waitpid(None, …)`, which means this process's group only.
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// The processes below `root`, without it.
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
        // One that ends while we look has no parent to be found by.
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    Ok(children)
}

/// The parent of `pid`: the second field behind the name, which stands in
/// parentheses and may hold anything, parentheses included.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_ascii_whitespace().nth(1)?.parse().ok()
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
