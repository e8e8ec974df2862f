//! Ending and reaping all descendants of this process.
//!
//! The CLI starts its tools in sessions of their own, so process groups do not
//! cover them; [`Descendants`] does.

use std::time::Duration;

use claude_relay_system::Descendants;
use rustix::process::{Signal, WaitOptions, kill_process, wait};

/// Interval between two scans. A killed process usually ends sooner.
const SCAN_INTERVAL: Duration = Duration::from_millis(5);

/// Kills and reaps all descendants of this process. Blocks until none is left,
/// so it runs in the supervisor or on a thread of its own.
pub fn sweep() {
    sweep_watched(&Descendants::default());
}

/// Does so with those that were watched from the beginning.
pub(super) fn sweep_watched(descendants: &Descendants) {
    while reap() || descendants.has_orphans() {
        for pid in descendants.left() {
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
