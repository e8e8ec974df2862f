//! External programs that tests drive. Their paths come from environment
//! variables, which `scripts/test` sets.

use std::path::PathBuf;

/// The pinned programs: registry, package, version, variable.
const PINNED: &str = include_str!("../pinned-tools");

/// The pinned Claude Code CLIs. Their output differs, so most scenarios run
/// against both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cli {
    /// The oldest that is supported.
    Oldest,
    /// The newest that was tried.
    Newest,
}

impl Cli {
    const fn variable(self) -> &'static str {
        match self {
            Self::Oldest => "CLAUDE_CLI_OLDEST",
            Self::Newest => "CLAUDE_CLI_NEWEST",
        }
    }

    /// The native binary of this version.
    pub fn path(self) -> PathBuf {
        file(self.variable())
    }

    /// The version.
    pub fn version(self) -> &'static str {
        version(self.variable())
    }
}

/// The native binary of the pinned Codex.
pub fn codex() -> PathBuf {
    file("CODEX")
}

/// The version of the pinned Codex.
pub fn codex_version() -> &'static str {
    version("CODEX")
}

/// The directory of the official SDK for TypeScript: `sdk.mjs`, `sdk.d.ts`.
pub fn agent_sdk() -> PathBuf {
    directory("CLAUDE_AGENT_SDK")
}

/// The directory of an early version of it.
pub fn agent_sdk_oldest() -> PathBuf {
    directory("CLAUDE_AGENT_SDK_OLDEST")
}

/// The version of [`agent_sdk`].
pub fn agent_sdk_version() -> &'static str {
    version("CLAUDE_AGENT_SDK")
}

/// The Python that has a server which speaks S3.
pub fn moto_python() -> PathBuf {
    file("MOTO_PYTHON")
}

/// A Python that has the official SDK.
pub fn agent_sdk_python() -> PathBuf {
    file("CLAUDE_AGENT_SDK_PYTHON")
}

/// Chromium.
pub fn chromium() -> PathBuf {
    file("CHROMIUM")
}

/// Chromium without a desktop's parts, where there is a package of it.
pub fn headless_shell() -> Option<PathBuf> {
    is_set("HEADLESS_SHELL").then(|| file("HEADLESS_SHELL"))
}

/// The WebDriver server that belongs to [`chromium`].
pub fn chromedriver() -> PathBuf {
    file("CHROMEDRIVER")
}

/// nginx.
pub fn nginx() -> PathBuf {
    file("NGINX")
}

/// The script of axe, which looks for what assistive technology cannot use.
pub fn axe() -> PathBuf {
    file("AXE")
}

/// The pinned version of what a variable names.
fn version(variable: &str) -> &'static str {
    PINNED
        .lines()
        .filter_map(|line| line.strip_suffix(variable)?.trim_end().split(' ').nth(2))
        .next()
        .unwrap_or_else(|| panic!("testing/pinned-tools has no {variable}"))
}

fn file(variable: &str) -> PathBuf {
    let path = place(variable);
    assert!(path.is_file(), "{variable} names {}, no file: run scripts/test", path.display());
    path
}

fn directory(variable: &str) -> PathBuf {
    let path = place(variable);
    assert!(path.is_dir(), "{variable} names {}, no directory: run scripts/test", path.display());
    path
}

#[expect(clippy::disallowed_methods, reason = "as in `place`")]
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the harness is told of its tools by variables; the server's settings are not involved"
)]
fn place(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
        panic!(
            "{variable} is not set. Run scripts/test, which installs what the tests drive, \
             or eval \"$(scripts/test --tools)\" before cargo test."
        );
    };
    path
}
