//! Rules about the source of the library, read from its text: the imports
//! between its modules, and an example for each public method.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules and those that each may import, from the table in
/// ARCHITECTURE.md, in its order.
fn table() -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, text) = text.split_once("<!-- client imports -->").unwrap();
    let (text, _) = text.split_once("<!-- /client imports -->").unwrap();
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(module, uses)| (module.to_owned(), names(uses))).collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files below `folder`, each with its text.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

/// The top-level module that a file belongs to; `None` for `lib.rs`.
fn module_of(file: &Path) -> Option<String> {
    let relative = file.strip_prefix(source()).unwrap();
    let first = relative.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib").then(|| name.to_owned())
}

/// The lines of a file that are code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn modules_import_what_the_table_says() {
    let allowed: BTreeMap<_, _> = table().into_iter().collect();
    let mut found: BTreeMap<String, BTreeSet<String>> =
        allowed.keys().map(|module| (module.clone(), BTreeSet::new())).collect();
    for (file, text) in files(&source()) {
        let Some(module) = module_of(&file) else { continue };
        let imports = found.get_mut(&module).unwrap_or_else(|| panic!("{module} has no row"));
        for line in code(&text) {
            for after in line.split("crate::").skip(1) {
                let end = after.find(|c: char| !c.is_ascii_lowercase() && c != '_' && c != '2');
                let name = &after[..end.unwrap_or(after.len())];
                if allowed.contains_key(name) && name != module {
                    imports.insert(name.to_owned());
                }
            }
        }
    }
    let allowed: BTreeMap<String, BTreeSet<String>> =
        allowed.into_iter().map(|(module, uses)| (module, uses.into_iter().collect())).collect();
    assert_eq!(found, allowed, "the source on the left, ARCHITECTURE.md on the right");
}

#[test]
fn the_table_has_no_cycle() {
    let table = table();
    for (row, (module, imports)) in table.iter().enumerate() {
        for import in imports {
            let at = table.iter().position(|(other, _)| other == import).unwrap();
            assert!(at > row, "{module} imports {import}, which stands above it");
        }
    }
}

#[test]
fn only_the_socket_knows_frames_and_only_one_file_reads_the_environment() {
    for (file, text) in files(&source()) {
        let path = file.strip_prefix(source()).unwrap().to_str().unwrap().to_owned();
        let has = |word: &str| code(&text).any(|line| line.contains(word));
        // The handshake draws its key from the library that writes the frames.
        let frames = path.starts_with("net/socket/") || path == "net/http.rs";
        assert!(frames || !has("fastwebsockets"), "{path} knows frames");
        let environment = path == "api/environment.rs";
        assert!(environment || !has("std::env"), "{path} reads the environment");
    }
}

/// The public methods of a file without an example in their documentation.
fn without_example(text: &str) -> Vec<&str> {
    let mut missing = Vec::new();
    let mut example = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("///") {
            example |= trimmed == "/// # Examples";
        } else if line.starts_with("    pub fn") || line.starts_with("    pub async fn") {
            if !example {
                missing.push(trimmed);
            }
            example = false;
        } else if !trimmed.starts_with("#[") {
            example = false;
        }
    }
    missing
}

#[test]
fn every_public_method_has_an_example() {
    let missing: Vec<_> = files(&source())
        .iter()
        .flat_map(|(file, text)| {
            let file = file.display();
            without_example(text).into_iter().map(move |method| format!("{file}: {method}"))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn a_method_without_an_example_is_found() {
    let text = "    /// Text.\n    #[must_use]\n    pub fn bare(&self) {}\n\
                    /// Text.\n    ///\n    /// # Examples\n    pub async fn shown(&self) {}\n";
    assert_eq!(without_example(text), ["pub fn bare(&self) {}"]);
}
