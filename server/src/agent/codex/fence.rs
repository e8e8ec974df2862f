//! What holds Codex back besides its approval policy: the trust in the
//! workspace, and the files and the network that its commands can reach.
//!
//! | | how |
//! |---|---|
//! | `.codex` of an untrusted workspace: programs, servers, hooks, rules | the directory and all above it are named untrusted, whatever Codex has stored |
//! | Codex stores trust for good when a thread may write | it stores none for a directory that has an entry |
//! | its skills, which load all the same | each is switched off by its path, see [`super::confine`] |
//! | its AGENTS.md, which is then not read | [`super::instructions`] |
//! | files of `agentic` | a permission profile in place of the sandbox mode |
//! | within `--sandbox` | Codex cannot make a sandbox in one, so the profile leaves the files to the outer one, and forbids the network |

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::agent::mode::{GUARDED_FILES, Mode};

/// Name of the permission profile.
pub(super) const PROFILE: &str = "relay";

/// The fence that Codex's commands run in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// A sandbox of its own, in which its helper programs, in these
    /// directories, can be read.
    Own(Vec<PathBuf>),
    /// The sandbox around Codex.
    Outer,
    /// A sandbox whose programs are not known: on another machine, or behind a
    /// script. All files can be read in it.
    Unknown,
}

/// Returns the permission profile that takes the place of the sandbox mode
/// `workspace-write`, if there is one.
pub(super) fn profile(mode: Mode, fence: &Fence) -> Option<Value> {
    let files = match (mode, fence) {
        (Mode::Agentic | Mode::Ask, Fence::Outer) => json!({ ":root": "write" }),
        (Mode::Agentic, Fence::Own(readable)) => {
            let mut files = json!({ ":minimal": "read", ":workspace_roots": workspace() });
            for path in readable {
                files[&*path.to_string_lossy()] = json!("read");
            }
            files
        }
        (Mode::Agentic, Fence::Unknown) => {
            json!({ ":root": "read", ":workspace_roots": workspace() })
        }
        (Mode::Safe | Mode::Ask | Mode::Unrestricted, _) => return None,
    };
    Some(json!({ PROFILE: { "filesystem": files, "network": { "enabled": false } } }))
}

/// Returns the type by which Codex reports a profile.
pub(super) fn reported_type(profile: &Value) -> &'static str {
    match profile[PROFILE]["filesystem"][":root"].as_str() {
        Some("write") => "externalSandbox",
        _ => "workspaceWrite",
    }
}

/// Returns the directories of the programs that Codex's sandbox runs: those
/// beside `program`, and links that it makes in its `home`. Returns `None` if
/// `program` is a script that starts another one.
pub(super) fn helpers(program: &Path, home: Option<&Path>) -> Option<Vec<PathBuf>> {
    let program = program.canonicalize().ok()?;
    // npm's package is a script, whose native program is in a package beside it.
    let packages = program.ancestors().find(|path| path.ends_with("node_modules"));
    if packages.is_none() && is_script(&program) {
        return None;
    }
    let links = home.map(|home| home.canonicalize().unwrap_or(home.to_owned()).join("tmp"));
    let beside = program.parent().into_iter().chain(packages).map(Path::to_owned);
    Some(beside.chain(links).collect())
}

fn is_script(program: &Path) -> bool {
    let mut start = [0; 2];
    File::open(program).and_then(|mut file| file.read_exact(&mut start)).is_ok() && &start == b"#!"
}

/// The working directory, where the files that configure an agent can be read
/// alone.
fn workspace() -> Value {
    let guarded =
        GUARDED_FILES.map(|file| (file.trim_end_matches("/**").to_owned(), json!("read")));
    let mut files = Map::from_iter(guarded);
    files.insert(".".into(), json!("write"));
    files.into()
}

/// Returns Codex's entries of trust for the directory `cwd` of `workspace`.
/// The nearest entry counts, so one for each directory leaves nothing to those
/// that are stored.
pub(super) fn projects(is_trusted: bool, workspace: &Path, cwd: &Path) -> Value {
    let level = if is_trusted { "trusted" } else { "untrusted" };
    let named = cwd.ancestors().filter(|path| !is_trusted || path.starts_with(workspace));
    let entry =
        |path: &Path| (path.to_string_lossy().into_owned(), json!({ "trust_level": level }));
    Map::from_iter(named.map(entry)).into()
}

/// Returns `projects` as the value of an argument, in TOML.
pub(super) fn projects_in_toml(projects: &Value) -> String {
    let entries = projects.as_object().into_iter().flatten();
    let entries = entries
        .map(|(path, entry)| format!("{}={{trust_level={}}}", json!(path), entry["trust_level"]));
    format!("projects={{{}}}", entries.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agentic_reads_the_workspace_alone_and_writes_no_guarded_file() {
        let profile = profile(Mode::Agentic, &Fence::Own(vec!["/opt/codex".into()])).unwrap();
        let profile = &profile[PROFILE];
        assert_eq!(profile["network"]["enabled"], false);
        let files = &profile["filesystem"];
        assert_eq!((&files["/opt/codex"], &files[":minimal"]), (&json!("read"), &json!("read")));
        assert_eq!(files[":root"], Value::Null);
        let inside = &files[":workspace_roots"];
        for name in [".claude", ".codex", ".agents", ".git", ".mcp.json", ".env"] {
            assert_eq!(inside[name], "read", "{name}");
        }
        assert_eq!(inside["."], "write");
    }

    #[test]
    fn the_outer_sandbox_leaves_the_network_to_codex() {
        for mode in [Mode::Agentic, Mode::Ask] {
            let profile = profile(mode, &Fence::Outer).unwrap();
            let expected =
                json!({ "filesystem": { ":root": "write" }, "network": { "enabled": false } });
            assert_eq!(profile[PROFILE], expected);
        }
        for (mode, fence) in [
            (Mode::Safe, Fence::Outer),
            (Mode::Unrestricted, Fence::Outer),
            (Mode::Ask, Fence::Unknown),
        ] {
            assert_eq!(profile(mode, &fence), None, "{mode} {fence:?}");
        }
    }

    #[test]
    fn the_programs_of_the_sandbox_are_found_where_they_can_be() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let home = root.join("home");
        let put = |name: &str, text: &str| {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let native = put("bin/codex", "\u{7f}ELF");
        let found = helpers(&native, Some(&home));
        assert_eq!(found, Some(vec![root.join("bin"), home.join("tmp")]));
        let package = put("lib/node_modules/@openai/codex/bin/codex.js", "#!/usr/bin/env node");
        let packages = root.join("lib/node_modules");
        assert!(helpers(&package, None).unwrap().contains(&packages));
        let other = put("bin/launcher", "#!/bin/sh");
        assert_eq!(helpers(&other, Some(&home)), None);
    }

    #[test]
    fn nothing_above_the_directory_is_trusted() {
        let (workspace, cwd) = (Path::new("/a/w"), Path::new("/a/w/\"sub"));
        assert_eq!(
            projects_in_toml(&projects(false, workspace, cwd)),
            r#"projects={"/a/w/\"sub"={trust_level="untrusted"},"/a/w"={trust_level="untrusted"},"/a"={trust_level="untrusted"},"/"={trust_level="untrusted"}}"#
        );
        assert_eq!(
            projects_in_toml(&projects(true, workspace, cwd)),
            r#"projects={"/a/w/\"sub"={trust_level="trusted"},"/a/w"={trust_level="trusted"}}"#
        );
    }
}
