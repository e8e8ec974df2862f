//! AGENTS.md of an untrusted workspace. Codex does not read it there, but it
//! is text for the model and nothing more.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use claude_relay_system::{self as system, Links};
use rustix::fs::OFlags;

/// Names of the file, the first of which that exists counts.
const NAMES: [&str; 2] = ["AGENTS.override.md", "AGENTS.md"];

/// Maximum size of all files together, which is Codex's own.
const BYTES: usize = 32 << 10;

/// Returns the instructions in the directories from `workspace` to `cwd`.
pub(super) fn read(workspace: &Path, cwd: &Path) -> Option<String> {
    let mut directories: Vec<_> =
        cwd.ancestors().take_while(|path| path.starts_with(workspace)).collect();
    directories.reverse();
    let mut all = String::new();
    for directory in directories {
        let Some(text) = NAMES.iter().find_map(|name| file(workspace, &directory.join(name)))
        else {
            continue;
        };
        let room = BYTES.saturating_sub(all.len());
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        if !text.trim().is_empty() {
            let name = directory.display();
            all.push_str(&format!(
                "# AGENTS.md instructions for {name}\n\n<INSTRUCTIONS>\n{text}\n</INSTRUCTIONS>\n"
            ));
        }
    }
    (!all.is_empty()).then_some(all)
}

/// Returns the beginning of a file. A link is followed within `workspace`.
fn file(workspace: &Path, path: &Path) -> Option<String> {
    let below = path.strip_prefix(workspace).ok()?;
    let root = system::open_directory(workspace).ok()?;
    // A pipe in the place of a file would wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = system::open_beneath(root, below, flags, Links::Followed).ok()?;
    let file = File::from(file);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(BYTES as u64).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_files_of_the_workspace_are_read_in_order_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (workspace, sub) = (root.join("w"), root.join("w/sub/deep"));
        fs::create_dir_all(&sub).unwrap();
        fs::write(root.join("AGENTS.md"), "PARENT").unwrap();
        assert_eq!(read(&workspace, &sub), None);
        fs::write(workspace.join("CLAUDE.md"), "FIRST").unwrap();
        symlink("CLAUDE.md", workspace.join("AGENTS.md")).unwrap();
        // Out of the workspace.
        symlink(root.join("AGENTS.md"), workspace.join("sub/AGENTS.md")).unwrap();
        fs::write(sub.join("AGENTS.md"), "OVERRIDDEN").unwrap();
        fs::write(sub.join("AGENTS.override.md"), "SECOND").unwrap();
        let text = read(&workspace, &sub).unwrap();
        assert!(text.find("FIRST") < text.find("SECOND"), "{text}");
        assert!(!text.contains("PARENT") && !text.contains("OVERRIDDEN"), "{text}");
    }

    #[test]
    fn the_size_is_bounded() {
        let workspace = tempfile::tempdir().unwrap();
        let workspace = workspace.path().canonicalize().unwrap();
        fs::write(workspace.join("AGENTS.md"), "é".repeat(BYTES)).unwrap();
        assert!(read(&workspace, &workspace).unwrap().len() < BYTES + 200);
    }
}
