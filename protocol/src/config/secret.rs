//! Text that must not be seen.

use std::fmt;

use zeroize::Zeroizing;

/// Text that cannot be printed by accident: `Debug` shows `Secret(..)`, there
/// is no `Display` and no `Serialize`, and the memory is overwritten when the
/// value is dropped.
///
/// Equality is not constant-time. It serves to tell whether a configuration
/// changed; a token that a stranger offers has to be compared elsewhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `text` over. What the caller copied it from is the caller's.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: for the child's environment, standard input or a file
    /// of mode 0600, and for nothing that is shown.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_text_and_its_length() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "Secret(..)");
        assert_eq!(format!("{:#?}", Some(Secret::new(String::new()))), "Some(\n    Secret(..),\n)");
    }
}
