//! `docs/flags.md` against the program's own help.

use std::collections::BTreeMap;
use std::process::Command;

const DOCUMENT: &str = include_str!("../../../docs/flags.md");

#[test]
fn the_table_has_every_flag_with_its_variable_and_default() {
    let documented: BTreeMap<_, _> = DOCUMENT.lines().filter_map(row).collect();
    let mut in_help = flags_of_the_help();
    in_help.retain(|flag, _| flag != "--help" && flag != "--version");
    assert!(documented.keys().eq(in_help.keys()), "{documented:#?} {in_help:#?}");
    for (flag, [variable, default]) in documented {
        let text = &in_help[&flag];
        assert!(text.contains(&variable), "{flag}: {variable} is not in {text:?}");
        if default != "none" && default != "off" {
            assert!(text.contains(&default), "{flag}: {default} is not in {text:?}");
        }
    }
}

/// A row of the table: the flag, then its variable and its default.
fn row(line: &str) -> Option<(String, [String; 2])> {
    let cells: Vec<_> = line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect();
    let [flag, variable, default, ..] = cells[..] else { return None };
    flag.starts_with("--").then(|| (flag.to_owned(), [variable.to_owned(), default.to_owned()]))
}

/// Each flag with its text, which stands beside it or below it.
#[expect(
    clippy::disallowed_methods,
    reason = "the rule is about the server's own children; here the server is the child"
)]
fn flags_of_the_help() -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_claude-relay-server"))
        .arg("--help")
        .output()
        .expect("the server starts");
    let help = String::from_utf8(output.stdout).expect("the help is text");
    let mut flags = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in help.lines() {
        let words = line.split_whitespace();
        // A value that may be left out is written behind the flag.
        let flag = words.clone().find(|word| word.starts_with("--"));
        if let Some(flag) = flag.and_then(|flag| flag.split('[').next())
            && line.trim_start().starts_with('-')
        {
            last = Some(flag.to_owned());
        }
        if let Some(flag) = &last {
            let text: &mut String = flags.entry(flag.clone()).or_default();
            text.extend(words.map(|word| format!("{word} ")));
        }
    }
    flags
}
