//! External programs that tests drive. Their paths come from environment
//! variables, which `scripts/test` sets.

use std::path::PathBuf;

/// The pinned Claude Code CLIs. Their output differs, so most scenarios run
/// against both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cli {
    /// 2.1.197.
    V2_1_197,
    /// 2.1.329.
    V2_1_329,
}

impl Cli {
    /// The native binary of this version.
    pub fn path(self) -> PathBuf {
        tool(match self {
            Self::V2_1_197 => "CLAUDE_CLI_2_1_197",
            Self::V2_1_329 => "CLAUDE_CLI_2_1_329",
        })
    }
}

/// The native binary of the pinned Codex.
pub fn codex() -> PathBuf {
    tool("CODEX_0_169_0")
}

/// Chromium.
pub fn chromium() -> PathBuf {
    tool("CHROMIUM")
}

/// The WebDriver server that belongs to [`chromium`].
pub fn chromedriver() -> PathBuf {
    tool("CHROMEDRIVER")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the harness is told of its tools by variables; the server's settings are not involved"
)]
fn tool(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
        panic!(
            "{variable} is not set. Run scripts/test, which installs what the tests drive, \
             or eval \"$(scripts/test --tools)\" before cargo test."
        );
    };
    assert!(
        path.is_file(),
        "{variable} names {}, which is no file: run scripts/test",
        path.display()
    );
    path
}
