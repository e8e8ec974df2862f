//! Root directory that replaces the base image.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::jail::lines;
use super::{Rehearsal, RehearsalError};
use crate::relay::{DEBIAN, RUST_VERSION};
use crate::template::{Base as TemplateBase, Template};

/// Time limit of debootstrap and of copying a tree.
const MAKE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Directory of Rust in the official Rust images.
const RUSTUP: &str = "usr/local/rustup/toolchains/rehearsal";
const CARGO_BIN: &str = "usr/local/cargo/bin";

/// Base image to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// `debian:…-slim`
    Debian,
    /// `rust:…-slim-…`
    Rust,
}

impl Base {
    pub(super) fn of(template: &Template) -> Result<Self, RehearsalError> {
        let image = match &template.base {
            TemplateBase::Image(image) => image.as_str(),
            TemplateBase::Template(name) => name.as_str(),
        };
        let rust = format!("rust:{RUST_VERSION}-slim-{DEBIAN}");
        match image {
            image if image == rust => Ok(Self::Rust),
            image if image == format!("debian:{DEBIAN}-slim") => Ok(Self::Debian),
            other => Err(RehearsalError::Machine(format!(
                "{other} cannot be stood for here: rehearse without --image"
            ))),
        }
    }

    /// Returns the variables of the image.
    pub(super) fn variables(self) -> Vec<(String, String)> {
        let pairs: &[(&str, &str)] = match self {
            Self::Debian => &[],
            Self::Rust => {
                &[("RUSTUP_HOME", "/usr/local/rustup"), ("CARGO_HOME", "/usr/local/cargo")]
            }
        };
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Makes the root, or uses that of an earlier rehearsal.
    pub(super) async fn make(
        self,
        rehearsal: &Rehearsal,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<PathBuf, RehearsalError> {
        for program in ["debootstrap", "bwrap", "setpriv"] {
            if !on_path(program).await {
                return Err(RehearsalError::Machine(format!(
                    "{program} is not installed: apt-get install debootstrap bubblewrap util-linux"
                )));
            }
        }
        if !is_root().await {
            return Err(RehearsalError::Machine(
                "a rehearsal makes a Debian with its owners and needs root: run it with sudo"
                    .to_owned(),
            ));
        }
        let name = match self {
            Self::Debian => format!("{DEBIAN}-slim"),
            Self::Rust => format!("{DEBIAN}-rust"),
        };
        let directory = std::path::absolute(&rehearsal.directory).map_err(|error| io(&error))?;
        let done = directory.join(&name);
        if done.is_dir() {
            tell(&format!("the bare Debian is the one in {}", done.display()));
            return Ok(done);
        }
        std::fs::create_dir_all(&directory).map_err(|error| io(&error))?;
        let mirror = match &rehearsal.mirror {
            Some(mirror) => mirror.clone(),
            None => machine_mirror().await?,
        };
        let unfinished = directory.join(format!("{name}.unfinished"));
        remove_tree(&unfinished).await;
        let packages = match self {
            Self::Debian => "ca-certificates",
            // Packages of the official image besides Rust.
            Self::Rust => "ca-certificates,gcc,libc6-dev",
        };
        tell(&format!("debootstrap of {DEBIAN}, as apt of this machine gets its packages"));
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", &format!("--include={packages}"), DEBIAN]);
        debootstrap.arg(&unfinished).arg(&mirror);
        lines(&mut debootstrap, MAKE_TIMEOUT, &mut |_| {})
            .await
            .map_err(|problem| RehearsalError::Machine(format!("debootstrap: {problem}")))?;
        if self == Self::Rust {
            lay_in_rust(&unfinished, tell).await?;
        }
        std::fs::rename(&unfinished, &done).map_err(|error| io(&error))?;
        Ok(done)
    }
}

/// Copies this machine's Rust to the directory of the official image.
async fn lay_in_rust(
    root: &Path,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<(), RehearsalError> {
    let sysroot = said_by("rustc", &["--print", "sysroot"]).await?;
    let version = said_by("rustc", &["--version"]).await?;
    tell(&format!("Rust of this machine stands for the image's {RUST_VERSION}: {version}"));
    let toolchain = root.join(RUSTUP);
    std::fs::create_dir_all(&toolchain).map_err(|error| io(&error))?;
    for part in ["bin", "lib"] {
        copy_tree(&Path::new(&sysroot).join(part), &toolchain.join(part), tell).await?;
    }
    let bin = root.join(CARGO_BIN);
    std::fs::create_dir_all(&bin).map_err(|error| io(&error))?;
    for program in ["cargo", "rustc", "rustdoc"] {
        let target = format!("/{RUSTUP}/bin/{program}");
        std::os::unix::fs::symlink(target, bin.join(program)).map_err(|error| io(&error))?;
    }
    Ok(())
}

/// Copies a tree with its owners, links and permissions.
pub(super) async fn copy_tree(
    from: &Path,
    to: &Path,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<(), RehearsalError> {
    let mut cp = Command::new("cp");
    cp.args(["-a", "--reflink=auto", "--"]).arg(from).arg(to);
    lines(&mut cp, MAKE_TIMEOUT, tell).await.map_err(|problem| {
        RehearsalError::Machine(format!("{} cannot be copied: {problem}", from.display()))
    })
}

/// Removes a tree that a rehearsal made. Mounts in it belong to other
/// namespaces and do not exist here.
pub(super) async fn remove_tree(path: &Path) {
    let path = path.to_owned();
    // Best effort: the user can remove the rest.
    let _ = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(path)).await;
}

/// Returns the mirror of Debian's main archive in this machine's apt
/// configuration.
async fn machine_mirror() -> Result<String, RehearsalError> {
    let targets = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
    let said = said_by("apt-get", &targets).await?;
    main_archive(&said).map(str::to_owned).ok_or_else(|| {
        RehearsalError::Machine(
            "apt of this machine has no Debian mirror: name one with --mirror".to_owned(),
        )
    })
}

/// Returns the first address whose last part is `debian`: the archive itself,
/// not its security updates or other repositories.
fn main_archive(uris: &str) -> Option<&str> {
    uris.lines()
        .map(|uri| uri.trim_end_matches('/'))
        .find(|uri| uri.starts_with("http") && uri.ends_with("/debian"))
}

async fn on_path(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status();
    found.await.is_ok_and(|status| status.success())
}

async fn is_root() -> bool {
    said_by("id", &["-u"]).await.is_ok_and(|id| id == "0")
}

async fn said_by(program: &str, arguments: &[&str]) -> Result<String, RehearsalError> {
    let output = Command::new(program).args(arguments).output().await;
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => {
            Err(RehearsalError::Machine(format!("{program} ended with {}", output.status)))
        }
        Err(error) => Err(RehearsalError::Machine(format!("{program} cannot be started: {error}"))),
    }
}

fn io(error: &std::io::Error) -> RehearsalError {
    RehearsalError::Machine(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_archive_and_nothing_else() {
        let uris = "http://mirror.example/debian-security/\nhttps://other.example/apt/\nhttp://mirror.example/debian/\n";
        assert_eq!(main_archive(uris), Some("http://mirror.example/debian"));
        assert_eq!(main_archive("cdrom:/debian\n"), None);
    }

    #[test]
    fn only_our_own_images_can_be_stood_for() {
        let of = |image: &str| Base::of(&Template::from_image(image));
        assert_eq!(of("debian:trixie-slim").unwrap(), Base::Debian);
        assert_eq!(of("rust:1.95-slim-trixie").unwrap(), Base::Rust);
        assert!(of("ubuntu:24.04").is_err());
    }
}
