//! Sandbox ids. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Id of a sandbox: lower-case letters and digits, because it becomes part of a
/// host name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SandboxId(String);

impl SandboxId {
    /// Returns the id of the only sandbox of debug mode.
    pub(crate) fn of_debug_mode() -> Self {
        Self("debug_sandbox_id".to_owned())
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not a sandbox id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a sandbox id: one is made of lower-case letters and digits")]
pub struct NotAnId(String);

impl TryFrom<String> for SandboxId {
    type Error = NotAnId;

    fn try_from(text: String) -> Result<Self, NotAnId> {
        // Only the id of debug mode contains another character.
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        match !text.is_empty() && text.len() <= 63 && text.bytes().all(fits) {
            true => Ok(Self(text)),
            false => Err(NotAnId(text)),
        }
    }
}

impl FromStr for SandboxId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        Self::try_from(text.to_owned())
    }
}

impl From<SandboxId> for String {
    fn from(id: SandboxId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_lead_elsewhere() {
        assert!("i00000000000000000001".parse::<SandboxId>().is_ok());
        for bad in ["", "a/b", "a.b", "../x", "A", "a b", "a-b", &"a".repeat(64)] {
            assert!(bad.parse::<SandboxId>().is_err(), "{bad}");
        }
    }
}
