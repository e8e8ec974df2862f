//! A text that must not be seen.

use std::fmt;

use serde::Serialize;

/// A key or token. It is sent where it belongs and shows nowhere else: its
/// `Debug` form hides it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A fresh one that nobody can guess: 256 bits in hexadecimal.
    #[cfg(feature = "e2b")]
    pub(crate) fn draw() -> Self {
        Self(rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The text itself, for where it is used.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Secret;
    ///
    /// let secret = Secret::from("a key");
    /// assert_eq!(secret.expose(), "a key");
    /// assert_eq!(format!("{secret:?}"), "Secret(…)");
    /// ```
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
