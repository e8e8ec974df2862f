//! Template of claude-relay: a Debian with the Claude Code CLI, the usual tools
//! of an agent, and the running server.

use std::path::PathBuf;

use crate::context::FileSet;
use crate::quote::quote;
use crate::template::{Copy, CopyFrom, DEFAULT_USER, Template, url_answers};
pub use crate::template_defaults::{DEFAULT_NAME, PORT, WORKSPACE};

/// Version of the Claude Code CLI in the template.
pub const CLI_VERSION: &str = "2.1.332";
/// Version of Rust that compiles the server in the template.
pub const RUST_VERSION: &str = "1.95";
/// Debian release of both base images.
pub const DEBIAN: &str = "trixie";
/// Arguments of the server. It requires no token, because the sandbox protects
/// it, and holds no secret, because all sandboxes are copies of this process.
/// The first client to configure it may claim it with a token, which also starts
/// the agent.
pub const START_COMMAND: &str =
    "claude-relay-server --mode unrestricted --host 0.0.0.0 --no-auth --prewarm=configured";
/// Name prefix of the sources inside their archive.
pub const SOURCE_PREFIX: &str = "claude-relay";

/// Directory of the sources while they are compiled.
const BUILD_DIRECTORY: &str = "/opt/claude-relay";
/// Path of the installed server.
const SERVER_PATH: &str = "/usr/local/bin/claude-relay-server";

/// Tools that an agent expects, besides those of every Debian.
const PACKAGES: [&str; 15] = [
    "bash",
    "ca-certificates",
    "curl",
    "file",
    "git",
    "jq",
    "less",
    "openssh-client",
    "patch",
    "procps",
    "python3",
    "ripgrep",
    "sudo",
    "unzip",
    "xz-utils",
];

/// Options of the relay's template.
#[derive(Clone, Debug)]
pub struct RelayTemplate {
    /// The origin of the server.
    pub server: ServerFrom,
    /// The version of the CLI.
    pub cli_version: CliVersion,
    /// The base image, if not the default. To compile the server it must have
    /// Rust at the same paths as the official Rust images.
    pub image: Option<String>,
    /// Further Debian packages.
    pub packages: Vec<Package>,
}

/// Origin of the server in the template.
#[derive(Clone, Debug)]
pub enum ServerFrom {
    /// Compiled in the template from these sources, whose names all begin with
    /// [`SOURCE_PREFIX`].
    Sources(FileSet),
    /// This file, checked by [`crate::binary::check`].
    Binary(PathBuf),
}

/// A pinned version: three numbers, optionally with a suffix. No range and no
/// `latest`, because the server would never repeat a cached step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliVersion(String);

/// Name of a Debian package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package(String);

/// A text that is neither a pinned version nor a package name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadChoice {
    /// Not a version.
    #[error("{0:?} is not a pinned version such as {CLI_VERSION}")]
    Version(String),
    /// Not a package.
    #[error("{0:?} is not the name of a Debian package")]
    Package(String),
}

impl Default for CliVersion {
    fn default() -> Self {
        Self(CLI_VERSION.to_owned())
    }
}

impl std::str::FromStr for CliVersion {
    type Err = BadChoice;

    fn from_str(text: &str) -> Result<Self, BadChoice> {
        let (numbers, suffix) = match text.split_once('-') {
            Some((numbers, suffix)) => (numbers, Some(suffix)),
            None => (text, None),
        };
        let number =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
        let fits = numbers.split('.').count() == 3
            && numbers.split('.').all(number)
            && suffix.is_none_or(|suffix| !suffix.is_empty() && suffix.bytes().all(word));
        fits.then(|| Self(text.to_owned())).ok_or_else(|| BadChoice::Version(text.to_owned()))
    }
}

impl std::str::FromStr for Package {
    type Err = BadChoice;

    fn from_str(text: &str) -> Result<Self, BadChoice> {
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let fits = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.:=~".contains(&byte)
        };
        (first && text.bytes().all(fits))
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| BadChoice::Package(text.to_owned()))
    }
}

impl RelayTemplate {
    /// Returns a template with this server and default options otherwise.
    #[must_use]
    pub fn new(server: ServerFrom) -> Self {
        Self { server, cli_version: CliVersion::default(), image: None, packages: Vec::new() }
    }

    /// Returns the base image: with Rust if the server is compiled, plain
    /// otherwise.
    #[must_use]
    pub fn image(&self) -> String {
        self.image.clone().unwrap_or_else(|| match self.server {
            ServerFrom::Sources(_) => format!("rust:{RUST_VERSION}-slim-{DEBIAN}"),
            ServerFrom::Binary(_) => format!("debian:{DEBIAN}-slim"),
        })
    }

    /// Returns the definition. The steps that change least come first, so that
    /// a new server can use the cache for the others. A step of its own checks
    /// each program by running it as its later user.
    #[must_use]
    pub fn definition(&self) -> Template {
        let packages =
            PACKAGES.into_iter().chain(self.packages.iter().map(|package| package.0.as_str()));
        let version = &self.cli_version.0;
        let template = Template::from_image(&self.image())
            .apt_install(packages)
            .run_as("root", install_cli(version))
            .run_as(DEFAULT_USER, prove("claude", version));
        let template = match &self.server {
            ServerFrom::Sources(files) => template
                .copy(Copy {
                    source: SOURCE_PREFIX.to_owned(),
                    dest: BUILD_DIRECTORY.to_owned(),
                    owner: Some("root".to_owned()),
                    mode: None,
                    from: CopyFrom::Files(files.clone()),
                })
                .run_as("root", compile()),
            ServerFrom::Binary(path) => {
                let mut files = FileSet::default();
                files.add_file("claude-relay-server", path, 0o755);
                template.copy(Copy {
                    source: "claude-relay-server".to_owned(),
                    dest: SERVER_PATH.to_owned(),
                    owner: Some("root".to_owned()),
                    mode: Some(0o755),
                    from: CopyFrom::Files(files),
                })
            }
        };
        template
            .run_as(DEFAULT_USER, "claude-relay-server --version")
            // An update during a conversation would replace the version that
            // was pinned and checked.
            .env([("DISABLE_AUTOUPDATER", "1")])
            .user(DEFAULT_USER)
            .workdir("/home/user")
            .run(format!("mkdir -p {WORKSPACE}"))
            .start(START_COMMAND)
            .ready(url_answers(&format!("http://localhost:{PORT}/health"), 200))
    }
}

/// Installs the CLI, a native program in an npm package. Then removes npm
/// unless it was there before; the next step checks that the CLI runs without
/// it. npm brings some hundred Debian packages, and dpkg syncs each of their
/// files to disk. A build that is interrupted is discarded, so the syncs are
/// turned off.
fn install_cli(version: &str) -> String {
    let package = quote(&format!("@anthropic-ai/claude-code@{version}"));
    format!(
        "set -e; export DEBIAN_FRONTEND=noninteractive; \
         apt() {{ apt-get -y -o Dpkg::Options::=--force-unsafe-io \"$@\"; }}; \
         if ! command -v npm >/dev/null; then \
         apt update; apt install --no-install-recommends npm; borrowed=1; fi; \
         npm install --global --prefix /usr/local --no-audit --no-fund --no-update-notifier {package}; \
         if [ -n \"$borrowed\" ]; then apt purge --auto-remove npm nodejs; fi; \
         rm -rf /root/.npm /var/lib/apt/lists/*"
    )
}

/// Returns a command that runs a program and checks its version.
fn prove(program: &str, version: &str) -> String {
    let version = quote(version);
    format!("{program} --version && {program} --version | grep -qwF -e {version}")
}

/// Returns the command that compiles the server. A login shell resets the
/// image's PATH, so it sets that of Rust again. It removes the toolchain and
/// the sources at the end.
fn compile() -> String {
    format!(
        "set -e; export CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup; \
         export PATH=/usr/local/cargo/bin:$PATH; cd {BUILD_DIRECTORY}; \
         cargo build --release --locked --package claude-relay-server; \
         install -m 0755 target/release/claude-relay-server {SERVER_PATH}; \
         cd /; rm -rf {BUILD_DIRECTORY} /usr/local/cargo /usr/local/rustup"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pinned_versions_go_in() {
        assert!("2.1.329".parse::<CliVersion>().is_ok());
        assert!("2.1.329-beta.1".parse::<CliVersion>().is_ok());
        for bad in ["latest", "2.1", "^2.1.3", "2.1.x", "2.1.3;rm", "2.1.3-", "", "2.1.3 "] {
            assert!(bad.parse::<CliVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_template_holds_a_version_that_is_tested() {
        let pinned = include_str!("../../testing/pinned-tools");
        let line = format!("npm @anthropic-ai/claude-code {CLI_VERSION} CLAUDE_CLI_NEWEST");
        assert!(pinned.lines().any(|pinned| pinned == line), "{line} is not pinned");
    }

    #[test]
    fn a_package_cannot_become_an_option_or_a_command() {
        for bad in ["-y", "a b", "a;b", "$(x)", "", "A"] {
            assert!(bad.parse::<Package>().is_err(), "{bad}");
        }
        assert!("libssl-dev".parse::<Package>().is_ok());
        assert!("g++".parse::<Package>().is_ok());
    }

    #[test]
    fn the_start_command_is_nothing_but_public() {
        let template = RelayTemplate::new(ServerFrom::Binary("x".into())).definition();
        assert_eq!(template.start.as_deref(), Some(START_COMMAND));
        assert_eq!(
            template.ready.as_deref(),
            Some(
                "curl -s -o /dev/null -w \"%{http_code}\" http://localhost:3000/health | grep -q \"200\""
            )
        );
    }

    #[test]
    fn every_program_is_proven_by_a_step_as_the_user_who_runs_it() {
        let template = RelayTemplate::new(ServerFrom::Sources(FileSet::default())).definition();
        let steps: Vec<_> = template.steps().iter().map(crate::template::Step::summary).collect();
        let proof = format!(
            "RUN as user: claude --version && claude --version | grep -qwF -e {CLI_VERSION}"
        );
        assert!(steps.contains(&proof), "{steps:#?}");
        assert!(steps.iter().any(|step| step == "RUN as user: claude-relay-server --version"));
        assert_eq!(
            RelayTemplate::new(ServerFrom::Binary("x".into())).image(),
            "debian:trixie-slim",
            "Rust is not brought along when nothing is compiled"
        );
    }
}
