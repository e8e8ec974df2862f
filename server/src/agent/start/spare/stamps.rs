//! Files that the CLI reads at its start.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::runtime::Runtime;

/// Those below the workspace, and those below the home directory.
const READ_AT_START: [&[&str]; 2] = [
    &[
        ".mcp.json",
        "CLAUDE.md",
        "CLAUDE.local.md",
        ".claude",
        ".claude/settings.json",
        ".claude/settings.local.json",
        ".claude/CLAUDE.md",
        ".claude/agents",
        ".claude/commands",
        ".claude/skills",
        ".git/HEAD",
    ],
    &[
        ".claude/settings.json",
        ".claude/CLAUDE.md",
        ".claude/agents",
        ".claude/commands",
        ".claude/skills",
        ".claude/.credentials.json",
    ],
];

/// What a file was like.
pub(super) type Stamp = (PathBuf, Option<(SystemTime, u64)>);

/// The files, and the program, as they are now.
pub(super) fn stamps(runtime: &Runtime) -> Vec<Stamp> {
    let settings = &runtime.settings;
    let home = settings.variable("HOME").map(PathBuf::from).unwrap_or_default();
    let stamp = |path: PathBuf| {
        let found = path.metadata().ok();
        let found = found.and_then(|found| Some((found.modified().ok()?, found.len())));
        (path, found)
    };
    let below = |directory: &Path, names: &[&str]| -> Vec<PathBuf> {
        names.iter().map(|name| directory.join(name)).collect()
    };
    let [of_workspace, of_home] = READ_AT_START;
    let program = settings.claude().and_then(|path| path.canonicalize().ok());
    let paths = [below(&settings.workspace, of_workspace), below(&home, of_home)];
    program.into_iter().chain(paths.into_iter().flatten()).map(stamp).collect()
}
