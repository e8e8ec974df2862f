//! Descendants of this process, by `/proc`.

use std::collections::HashMap;
use std::fs;
use std::io;

use rustix::process::{Pid, getpid};

/// A watch of the descendants of this process.
#[derive(Debug, Default)]
pub struct Descendants {
    /// There is nothing to remember.
    _nothing: (),
}

impl Descendants {
    /// Begins to watch. On this system the tree of parents tells all, because its
    /// root is a subreaper: orphans are its children.
    #[must_use]
    pub fn watch() -> Self {
        Self::default()
    }

    /// Returns true if some are left that are no children of this process.
    #[must_use]
    pub fn has_orphans(&self) -> bool {
        false
    }

    /// Returns those that are left, by `/proc`.
    #[must_use]
    pub fn left(&self) -> Vec<Pid> {
        let children = children_by_parent().unwrap_or_default();
        let mut found = Vec::new();
        let mut open = vec![getpid().as_raw_pid()];
        while let Some(parent) = open.pop() {
            for &child in children.get(&parent).into_iter().flatten() {
                open.push(child);
                found.extend(Pid::from_raw(child));
            }
        }
        found
    }
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
