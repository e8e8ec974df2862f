//! Resources of the server, as `/proc` tells them.

use std::fs;

use crate::Failure;

/// Hundredths of a second, the unit of `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resources of the server.
pub(crate) struct Figures {
    pub(crate) descriptors: usize,
    pub(crate) processes: usize,
    pub(crate) heap_bytes: u64,
    pub(crate) cpu_seconds: f64,
}

impl Figures {
    pub(crate) fn of(pid: u32) -> Result<Self, Failure> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        // Without the pages of the program's own file: a debug build has many.
        let heap = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or("0");
        let heap_kib: u64 = heap.split_ascii_whitespace().next().unwrap_or("0").parse()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_ascii_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        Ok(Self {
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
            processes: descendants(pid),
            heap_bytes: heap_kib << 10,
            cpu_seconds: ticks / TICKS_PER_SECOND,
        })
    }
}

pub(crate) fn children(pid: u32) -> Vec<u32> {
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children")).ok();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists: Vec<String> = threads.filter_map(of_thread).collect();
    lists.iter().flat_map(|list| list.split_ascii_whitespace()).flat_map(str::parse).collect()
}

fn descendants(pid: u32) -> usize {
    children(pid).into_iter().map(|child| 1 + descendants(child)).sum()
}
