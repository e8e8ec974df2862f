use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Folder;

const PROJECT: &str = "-w";

/// The folder of a project, and where it lies.
fn folder() -> (TempDir, Folder, PathBuf) {
    let state = tempfile::tempdir().unwrap();
    let folder = Folder::open(state.path(), PROJECT).unwrap();
    let path = state.path().join("projects").join(PROJECT);
    (state, folder, path)
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn listed(folder: &Folder, limit: usize) -> BTreeSet<String> {
    folder.transcripts("s", limit).unwrap().into_iter().collect()
}

#[test]
fn transcripts_of_sub_agents_are_listed_wherever_they_lie() {
    let (_state, folder, path) = folder();
    assert_eq!(listed(&folder, 10), BTreeSet::new());
    for name in ["a", "deep/b", "deep/er/c"] {
        put(&path.join(format!("s/subagents/{name}.jsonl")), "{}\n");
    }
    for other in ["s/subagents/a.meta.json", "s/tool-results/x.jsonl", "t/subagents/d.jsonl"] {
        put(&path.join(other), "{}\n");
    }
    let all = ["subagents/a", "subagents/deep/b", "subagents/deep/er/c"].map(str::to_owned);
    assert_eq!(listed(&folder, 10), all.into());
}

#[test]
fn at_most_so_many_transcripts_are_listed() {
    let (_state, folder, path) = folder();
    for number in 0..20 {
        put(&path.join(format!("s/subagents/{number}.jsonl")), "{}\n");
        put(&path.join(format!("s/subagents/{number}/x.jsonl")), "{}\n");
    }
    assert_eq!(listed(&folder, 100).len(), 40);
    assert!(listed(&folder, 7).len() <= 7);
}

#[test]
fn names_that_no_key_may_have_are_left_out() {
    let (_state, folder, path) = folder();
    for name in [".hidden", "a b", "a\\b", ".h/a", &format!("{}x", "a/".repeat(9))] {
        put(&path.join(format!("s/subagents/{name}.jsonl")), "{}\n");
    }
    assert_eq!(listed(&folder, 100), BTreeSet::new());
}

/// The agent can make links, to what this user may read and it may not.
#[test]
fn no_link_is_followed() {
    let (state, folder, path) = folder();
    let elsewhere = state.path().join("elsewhere");
    put(&elsewhere.join("subagents/secret.jsonl"), "secret\n");
    put(&elsewhere.join("secret.jsonl"), "secret\n");
    fs::create_dir_all(path.join("s")).unwrap();
    let subagents = path.join("s/subagents");
    symlink(elsewhere.join("subagents"), &subagents).unwrap();
    assert_eq!(listed(&folder, 10), BTreeSet::new());
    folder.below(&["s", "subagents"]).unwrap_err();
    fs::remove_file(&subagents).unwrap();

    fs::create_dir(&subagents).unwrap();
    symlink(&elsewhere, subagents.join("deep")).unwrap();
    symlink(elsewhere.join("secret.jsonl"), subagents.join("a.jsonl")).unwrap();
    assert_eq!(listed(&folder, 10), BTreeSet::new());
    let below = folder.below(&["s", "subagents"]).unwrap();
    below.read("a.jsonl", 100).unwrap_err();
    below.write("a.jsonl", b"of the conversation\n").unwrap();
    assert_eq!(fs::read_to_string(elsewhere.join("secret.jsonl")).unwrap(), "secret\n");

    fs::remove_dir_all(path.join("s")).unwrap();
    symlink(&elsewhere, path.join("s")).unwrap();
    assert_eq!(listed(&folder, 10), BTreeSet::new());
    folder.below(&["s", "subagents"]).unwrap_err();
}

#[test]
fn a_file_that_is_kept_aside_is_there_under_both_names() {
    let (_state, folder, path) = folder();
    folder.write("x.jsonl", b"one\n").unwrap();
    folder.keep_aside("x.jsonl", "aside").unwrap();
    assert_eq!(fs::read(path.join("x.jsonl")).unwrap(), b"one\n", "no moment without it");
    folder.write("x.jsonl", b"two\n").unwrap();
    assert_eq!(fs::read(path.join("aside")).unwrap(), b"one\n");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "nothing else is left");
}

#[test]
fn what_is_no_file_or_too_long_is_not_read() {
    let (_state, folder, path) = folder();
    assert_eq!(folder.read("x", 3).unwrap(), None);
    fs::write(path.join("x"), "1234").unwrap();
    assert_eq!(folder.read("x", 4).unwrap().unwrap(), b"1234");
    folder.read("x", 3).unwrap_err();
    fs::create_dir(path.join("d")).unwrap();
    folder.read("d", 3).unwrap_err();
    rustix::fs::mkfifoat(rustix::fs::CWD, path.join("f"), rustix::fs::Mode::RWXU).unwrap();
    folder.read("f", 3).unwrap_err();
}
