//! The `--sandbox` option.

use std::fmt;
use std::str::FromStr;

/// Sandbox requested by the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SandboxOption {
    /// No sandbox.
    #[default]
    None,
    /// The system's sandbox if it works, otherwise none, with a warning.
    Auto,
    /// The system's sandbox; without it the server does not start.
    Os,
    /// Bubblewrap, on Linux.
    Bwrap,
}

impl SandboxOption {
    /// All options.
    pub const ALL: [Self; 4] = [Self::None, Self::Auto, Self::Os, Self::Bwrap];

    /// Returns the name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Os => "os",
            Self::Bwrap => "bwrap",
        }
    }
}

impl fmt::Display for SandboxOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SandboxOption {
    type Err = UnknownSandbox;

    fn from_str(text: &str) -> Result<Self, UnknownSandbox> {
        Self::ALL.into_iter().find(|option| option.as_str() == text).ok_or(UnknownSandbox)
    }
}

/// Parse error of [`SandboxOption`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected none, auto, os or bwrap")]
pub struct UnknownSandbox;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_parse_as_they_are_displayed() {
        for option in SandboxOption::ALL {
            assert_eq!(option.to_string().parse(), Ok(option));
        }
        assert_eq!("OS".parse::<SandboxOption>(), Err(UnknownSandbox));
    }
}
