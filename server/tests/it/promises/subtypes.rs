//! The control subtypes that a CLI knows, taken out of its binary.

use claude_relay_testing::tools::Cli;
use std::collections::BTreeSet;
use std::process::Command;

/// Comparisons that pick the handler of a request.
const COMPARED: &str = r#"\.request\.subtype==="[a-z_]+""#;

/// The table in which newer CLIs list their subtypes.
const TABLE: &str = r"\{claim_session:![^}]*\}";

/// Every subtype that the binary of `cli` handles.
pub(super) fn of(cli: Cli) -> BTreeSet<String> {
    let compared = found(cli, COMPARED);
    let compared = compared.lines().filter_map(|found| found.split('"').nth(1));
    let table = found(cli, TABLE);
    let listed = table.split(['{', ',']).filter_map(|entry| entry.split(':').next());
    let names = compared.chain(listed).map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// What in the binary matches `pattern`, a line each. In a process of its own:
/// some hundred megabytes take long in a test's own code.
#[expect(
    clippy::disallowed_methods,
    reason = "the rule is about the server's own children; this one is the test's"
)]
fn found(cli: Cli, pattern: &str) -> String {
    let mut grep = Command::new("grep");
    grep.env("LC_ALL", "C").args(["-aoE", pattern]).arg(cli.path());
    // It ends with 1 when nothing matches.
    String::from_utf8(grep.output().expect("grep runs").stdout).expect("names")
}
