//! Runs the regressions and the seeds through their targets, with any Rust.

use std::path::{Path, PathBuf};

use claude_relay_fuzz::{TARGETS, Target, seeds};

#[test]
fn every_finding_of_the_fuzzer_stays_mended() {
    let regressions = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for directory in entries(&regressions) {
        let name = directory.file_name().expect("a directory has a name").to_string_lossy();
        let (_, target) = TARGETS
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap_or_else(|| panic!("{} belongs to no target", directory.display()));
        for path in entries(&directory) {
            let input = std::fs::read(&path).expect("a file can be read");
            run(*target, &input, &path.display().to_string());
        }
    }
}

#[test]
fn every_target_takes_its_seeds() {
    for (name, target) in TARGETS {
        let inputs = seeds(name);
        assert!(inputs.len() >= 3, "{name} has {} seeds", inputs.len());
        for input in inputs {
            run(target, &input, name);
        }
    }
}

/// Runs a target and names the input that it fails on.
fn run(target: Target, input: &[u8], name: &str) {
    let outcome = std::panic::catch_unwind(|| target(input));
    assert!(outcome.is_ok(), "{name}: \"{}\"", input.escape_ascii());
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.expect("a directory can be read").path())
        .collect()
}
