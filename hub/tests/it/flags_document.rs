//! The table of flags in `docs/hub.md` against the program's own.

use std::collections::BTreeMap;

use clap::CommandFactory as _;
use claude_relay_hub::settings::Args;

const DOCUMENT: &str = include_str!("../../../docs/hub.md");

/// Defaults that are made while the hub starts; the table says them in words.
const MADE: [&str; 3] = ["--directory", "--auth-token", "--relay-path"];

#[test]
fn the_table_has_every_flag_with_its_variable_and_default() {
    let documented: BTreeMap<_, _> = DOCUMENT.lines().flat_map(rows).collect();
    let command = Args::command();
    let mut own = BTreeMap::new();
    for flag in command.get_arguments() {
        let (Some(long), Some(variable)) = (flag.get_long(), flag.get_env()) else { continue };
        let defaults = flag.get_default_values();
        let default =
            defaults.first().map_or_else(|| "none".into(), |value| value.to_string_lossy());
        let variable = variable.to_string_lossy().into_owned();
        own.insert(format!("--{long}"), [variable, default.into_owned()]);
    }
    for made in MADE {
        own.get_mut(made).expect("it is a flag")[1].clone_from(&documented[made][1]);
    }
    assert_eq!(documented, own);
}

/// Flags of a row of the table, each with its variable and its default.
fn rows(line: &str) -> Vec<(String, [String; 2])> {
    let cells: Vec<_> = line.split(" | ").collect();
    let [flags, variables, defaults, ..] = cells[..] else { return Vec::new() };
    if !flags.starts_with("| `--") {
        return Vec::new();
    }
    let parts = |cell: &str| -> Vec<String> {
        cell.split(", ").map(|part| part.trim_matches(['|', ' ', '`']).to_owned()).collect()
    };
    let (variables, defaults) = (parts(variables), parts(defaults));
    let row = |(place, flag): (usize, String)| {
        // A default that holds for all flags of the row stands once.
        let default = defaults.get(place).unwrap_or(&defaults[0]);
        (flag, [variables[place].clone(), default.clone()])
    };
    parts(flags).into_iter().enumerate().map(row).collect()
}
