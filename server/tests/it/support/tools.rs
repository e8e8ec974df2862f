//! The outside programs that tests drive, as `scripts/test` found them.

use std::path::PathBuf;

/// The pinned Claude Code CLIs. What they print differs, so most scenarios run
/// against both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cli {
    V2_1_197,
    V2_1_329,
}

impl Cli {
    /// The native binary of this version.
    pub(crate) fn path(self) -> PathBuf {
        tool(match self {
            Self::V2_1_197 => "CLAUDE_CLI_2_1_197",
            Self::V2_1_329 => "CLAUDE_CLI_2_1_329",
        })
    }
}

/// The native binary of the pinned Codex.
pub(crate) fn codex() -> PathBuf {
    tool("CODEX_0_169_0")
}

/// Chromium.
pub(crate) fn chromium() -> PathBuf {
    tool("CHROMIUM")
}

/// The WebDriver server that belongs to [`chromium`].
pub(crate) fn chromedriver() -> PathBuf {
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
