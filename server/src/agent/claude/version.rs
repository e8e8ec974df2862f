//! The version of a CLI, as far as it decides how the CLI is spoken to.

use std::fmt;

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
}
