//! The import rules of the server, and of the crate that it listens with, held
//! against their source; the boundary to the operating system, of all crates.
//!
//! A table for each in ARCHITECTURE.md says which module may use which. Every `use`
//! of a module by another is read from the source and has to stand there; the
//! table itself must have no cycle. Test code is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Words that only some files may hold, with the files, and the reason.
const RULES: &[Rule] = &[
    (
        "the environment is read by settings; the built-in agent is a process of its own, the launch needs the directory for temporary files",
        &["env::var", "env::vars", "env::temp_dir", "env::current_dir"],
        &["settings/", "agent/demo/", "agent/start.rs"],
    ),
    (
        "processes are started by process and supervisor",
        &["Command::new"],
        &["process/", "supervisor/"],
    ),
    (
        "WebSocket frames are known to the crate listen and the Codex client",
        &["fastwebsockets::"],
        &["agent/codex/remote.rs"],
    ),
];

/// [`RULES`] of the crate that the hub listens with, too.
const LISTEN_RULES: &[Rule] = &[
    ("the environment is read by the programs", &["env::var", "env::vars"], &[]),
    ("processes are started by the programs", &["Command::new"], &[]),
    (
        "WebSocket frames are known to ws; the handshake is HTTP's",
        &["fastwebsockets::"],
        &["ws/", "upgrade.rs"],
    ),
];

/// A reason, the words, and the beginnings of the paths that may hold them.
type Rule = (&'static str, &'static [&'static str], &'static [&'static str]);

/// A crate whose imports are held against a table.
struct Package {
    /// Name in paths.
    name: &'static str,
    /// Folder of its source, from this crate's.
    folder: &'static str,
    /// Marker of its table.
    marker: &'static str,
    rules: &'static [Rule],
}

const PACKAGES: [Package; 2] = [
    Package { name: "claude_relay_server", folder: "src", marker: "imports", rules: RULES },
    Package {
        name: "claude_relay_listen",
        folder: "../listen/src",
        marker: "listen imports",
        rules: LISTEN_RULES,
    },
];

/// Words of one operating system alone. Those of Linux that POSIX has nothing alike
/// for stand in the crate system, as does the question which system it is.
const SYSTEM_WORDS: &[&str] = &[
    "target_os",
    "pidfd_",
    "set_child_subreaper",
    "set_parent_process_death_signal",
    "set_dumpable_behavior",
    "thread::set_name",
    "fcntl_setpipe_size",
    "fcntl_getpipe_size",
    "set_socket_send_buffer_size_force",
    "memfd_create",
    "openat2(",
    "OFlags::PATH",
    "inotify::",
    "CMSG_CLOEXEC",
    "SendFlags::NOSIGNAL",
    "/proc/self",
    "\"/proc/{",
    "\"/proc\")",
];

/// Crates of what is released, but for the crate system.
const RELEASED: &[&str] =
    &["protocol", "random", "dotenv", "listen", "server", "client", "cli", "hub", "e2b"];

type Table = BTreeMap<String, BTreeSet<String>>;

#[test]
fn modules_import_what_the_table_allows() {
    for package in &PACKAGES {
        let table = table(package);
        let nodes: Vec<&str> = table.keys().map(String::as_str).collect();
        let mut found: Table =
            nodes.iter().map(|node| ((*node).to_owned(), BTreeSet::new())).collect();
        for file in sources(package) {
            let from = node_of(&file.module, &nodes);
            for import in imports(&file, package) {
                let to = node_of(&import, &nodes);
                // The root is above all, and a module's parts may use each other.
                if let (Some(from), Some(to)) = (from, to)
                    && from != to
                {
                    found.get_mut(from).expect("it is a node").insert(to.to_owned());
                }
            }
        }
        let (found, table) = (text(&found), text(&table));
        assert!(found == table, "the source imports\n{found}\nand ARCHITECTURE.md allows\n{table}");
    }
}

#[test]
fn the_table_has_no_cycle() {
    for package in &PACKAGES {
        let mut left = table(package);
        assert!(!left.is_empty(), "{} has no table", package.name);
        while !left.is_empty() {
            let known: BTreeSet<String> = left.keys().cloned().collect();
            let before = left.len();
            left.retain(|_, uses| uses.iter().any(|used| known.contains(used)));
            assert!(left.len() < before, "a cycle: {}", text(&left));
        }
    }
}

#[test]
fn restricted_calls_are_made_only_by_the_allowed_modules() {
    for package in &PACKAGES {
        for file in sources(package) {
            for (reason, words, allowed) in package.rules {
                let found = words.iter().find(|word| file.text.contains(**word));
                let is_allowed = allowed.iter().any(|start| file.path.starts_with(start));
                let path = file.path.display();
                assert!(found.is_none() || is_allowed, "{path}: {found:?}: {reason}");
            }
        }
    }
}

#[test]
fn what_one_operating_system_has_stands_behind_one_boundary() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let system = sources_below(&crates.join("system/src"));
    for word in SYSTEM_WORDS {
        assert!(system.iter().any(|file| file.text.contains(word)), "nothing uses {word}");
        for name in RELEASED {
            let found = sources_below(&crates.join(name).join("src"));
            let found = found.iter().find(|file| file.text.contains(word));
            let path = found.map(|file| file.path.display());
            assert!(path.is_none(), "{name}: {word}: {:?}", path.map(|path| path.to_string()));
        }
    }
}

struct Source {
    path: PathBuf,
    module: Vec<String>,
    /// The code without its tests and comments.
    text: String,
}

fn sources(package: &Package) -> Vec<Source> {
    sources_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(package.folder))
}

fn sources_below(root: &Path) -> Vec<Source> {
    let mut directories = vec![root.to_owned()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("the source is there") {
            let path = entry.expect("it can be listed").path();
            let name = path.strip_prefix(root).expect("it is below").to_owned();
            if path.is_dir() && !path.ends_with("tests") {
                directories.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs")
            {
                let code = fs::read_to_string(&path).expect("it is text");
                let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                let mut module: Vec<String> =
                    name.with_extension("").iter().map(|part| part.display().to_string()).collect();
                module.retain(|part| !["mod", "lib", "main"].contains(&part.as_str()));
                let text = lines.collect::<Vec<_>>().join("\n");
                sources.push(Source { path: name, module, text });
            }
        }
    }
    sources
}

/// The modules that a file names, as paths from the root of the crate: by
/// `crate::`, by `super::`, and by the name of a module that it declares.
fn imports(file: &Source, package: &Package) -> Vec<Vec<String>> {
    let is_parent = file.path.ends_with("mod.rs") || file.module.is_empty();
    let mut starts =
        vec![("crate::".to_owned(), Vec::new()), (format!("{}::", package.name), Vec::new())];
    let above = &file.module[..file.module.len().saturating_sub(1)];
    starts.push(("super::".to_owned(), above.to_vec()));
    for line in file.text.lines().filter(|_| is_parent) {
        let declared = line.trim_start_matches("pub ").strip_prefix("mod ");
        if let Some(name) = declared.and_then(|rest| rest.strip_suffix(';')) {
            starts.push((format!("{name}::"), [&file.module[..], &[name.to_owned()]].concat()));
        }
    }
    let mut found = Vec::new();
    for (start, base) in &starts {
        for (at, _) in file.text.match_indices(start.as_str()) {
            let before = file.text[..at].chars().next_back();
            let is_visibility = file.text[..at].ends_with("(in ");
            if !is_visibility && !before.is_some_and(|c| c.is_alphanumeric() || "_:".contains(c)) {
                expand(base, &file.text[at + start.len()..], &mut found);
            }
        }
    }
    found
}

/// Adds the paths that `text` begins with, braces taken apart.
fn expand(base: &[String], text: &str, found: &mut Vec<Vec<String>>) {
    if let Some(inside) = text.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (at, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    expand(base, inside[start..at].trim_start(), found);
                    start = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                _ => {}
            }
        }
        return;
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let path = [base, &[text[..end].to_owned()]].concat();
    match text[end..].strip_prefix("::") {
        Some(rest) if end > 0 => expand(&path, rest, found),
        _ => found.push(path),
    }
}

/// The longest node that holds a module.
fn node_of<'a>(module: &[String], nodes: &[&'a str]) -> Option<&'a str> {
    (1..=module.len()).rev().find_map(|parts| {
        let name = module[..parts].join("::");
        nodes.iter().copied().find(|node| *node == name)
    })
}

/// The table between the markers in ARCHITECTURE.md.
fn table(package: &Package) -> Table {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let text = fs::read_to_string(file).expect("it is there");
    let marker = package.marker;
    let (_, text) = text.split_once(&format!("<!-- {marker} -->")).expect("the table begins");
    let (text, _) = text.split_once(&format!("<!-- /{marker} -->")).expect("the table ends");
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .map(|(node, uses)| {
            let uses =
                uses.split(", ").filter_map(|name| name.strip_prefix('`')?.strip_suffix('`'));
            (node.to_owned(), uses.map(str::to_owned).collect())
        })
        .collect()
}

fn text(table: &Table) -> String {
    let line = |(node, uses): (&String, &BTreeSet<String>)| {
        let uses: Vec<_> = uses.iter().map(|name| format!("`{name}`")).collect();
        format!("| `{node}` | {} |", uses.join(", "))
    };
    table.iter().map(line).collect::<Vec<_>>().join("\n")
}
