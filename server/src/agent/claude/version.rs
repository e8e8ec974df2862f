//! The version of a CLI, as far as it decides how the CLI is spoken to.

use std::fmt;

use claude_relay_protocol::QueryConfig;

/// Three numbers. What follows them (`-beta.1`) is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32, u32, u32);

impl Version {
    /// The oldest CLI that this server was tried with.
    pub const OLDEST: Self = Self::new(2, 1, 197);

    /// A version.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self(major, minor, patch)
    }

    /// Reads `2.1.329`, with anything behind the numbers.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().ok()
        });
        Some(Self(numbers.next()??, numbers.next()??, numbers.next()??))
    }
}

/// Behaviour of the CLI that came with a version. Read from one table, so that
/// nothing else compares versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// It was tried with this server, or is newer.
    Tried,
    /// It takes a message for text that says `client_composed`.
    ClientComposed,
    /// It reads plugins from the first request.
    AwaitInitialize,
    /// It knows `--restricted`, and runs no program of a repository by itself.
    Hardened,
    /// A setting of variables takes effect while it runs.
    LateSettings,
    /// It knows `--permission-prompts`.
    PermissionPrompts,
    /// It knows `--project-config-root`.
    ProjectConfigRoot,
    /// It knows `--resume-drops-turn`.
    ResumeDropsTurn,
}

/// The version that each capability came with, or the oldest that was seen to
/// have it.
const SINCE: [(Capability, Version); 8] = [
    (Capability::Tried, Version::OLDEST),
    (Capability::ClientComposed, Version::new(2, 1, 248)),
    (Capability::AwaitInitialize, Version::new(2, 1, 261)),
    (Capability::Hardened, Version::new(2, 1, 329)),
    (Capability::LateSettings, Version::new(2, 1, 329)),
    (Capability::PermissionPrompts, Version::new(2, 1, 329)),
    (Capability::ProjectConfigRoot, Version::new(2, 1, 329)),
    (Capability::ResumeDropsTurn, Version::new(2, 1, 329)),
];

/// Options that a CLI has to know. One that does not would end with an unknown
/// flag, or go on without the option.
const OPTIONS: [(&str, Capability); 5] = [
    ("permissionPrompts", Capability::PermissionPrompts),
    ("pluginDelivery", Capability::AwaitInitialize),
    ("projectConfigRoot", Capability::ProjectConfigRoot),
    ("resumeDropsTurn", Capability::ResumeDropsTurn),
    ("verbatimPrompts", Capability::ClientComposed),
];

impl Capability {
    /// The version that it came with.
    #[must_use]
    pub fn since(self) -> Version {
        let row = SINCE.iter().find(|(capability, _)| *capability == self);
        row.map_or(Version::OLDEST, |(_, since)| *since)
    }

    /// Whether a CLI has it; one of unknown version has nothing.
    #[must_use]
    pub fn is_in(self, version: Option<Version>) -> bool {
        version >= Some(self.since())
    }

    /// The options of a configuration that not every CLI knows.
    pub(in crate::agent) fn needed(
        config: &QueryConfig,
    ) -> impl Iterator<Item = (&'static str, Self)> {
        OPTIONS.into_iter().filter(|(name, _)| {
            let value = config.other.get(name).map(|value| value.get());
            value.is_some_and(|value| !["false", "\"argv\"", "\"host\""].contains(&value))
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_by_number() {
        let of = |text| Version::parse(text);
        assert_eq!(of("2.1.329"), Some(Version::new(2, 1, 329)));
        assert_eq!(of("2.1.0-beta.1+x"), Some(Version::new(2, 1, 0)));
        for none in ["", "2", "2.1", "a.b.c", "2.1.x", "99999999999.1.1"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert!(of("2.1.1000") > of("2.1.329") && of("10.0.0") > of("2.9.9"));
        assert!(Some(Version::OLDEST) > None);
        assert_eq!(Version::OLDEST.to_string(), "2.1.197");
    }

    #[test]
    fn every_capability_has_a_version_and_no_cli_without_one_has_any() {
        for (capability, since) in SINCE {
            assert_eq!(capability.since(), since);
            assert!(capability.is_in(Some(since)) && !capability.is_in(None), "{capability:?}");
            let before = Version(since.0, since.1, since.2 - 1);
            assert!(!capability.is_in(Some(before)), "{capability:?}");
        }
        let newest = Version::parse(claude_relay_testing::tools::Cli::Newest.version());
        let oldest = Version::parse(claude_relay_testing::tools::Cli::Oldest.version());
        assert!(SINCE.into_iter().all(|(capability, _)| capability.is_in(newest)));
        assert_eq!(oldest, Some(Version::OLDEST));
    }
}
