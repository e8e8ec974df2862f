//! Every input that was worth keeping goes through its target again.

use std::path::Path;

use claude_relay_fuzz::TARGETS;

#[test]
fn the_corpora_hold() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, target) in TARGETS {
        let entries = std::fs::read_dir(corpora.join(name));
        let mut inputs = 0;
        for entry in entries.unwrap_or_else(|error| panic!("the corpus of {name}: {error}")) {
            let path = entry.expect("a directory can be read").path();
            let input = std::fs::read(&path).expect("a file can be read");
            // The target's panic would not say which input it was.
            let outcome = std::panic::catch_unwind(|| target(&input));
            assert!(outcome.is_ok(), "{}", path.display());
            inputs += 1;
        }
        assert!(inputs >= 3, "{name} has a corpus of {inputs}");
    }
}
