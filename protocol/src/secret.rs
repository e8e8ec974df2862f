//! Text that must not be shown: keys, tokens, passwords.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A key, token or password.
///
/// `Debug` prints `Secret(..)`, there is no `Display` and no `Serialize`, and
/// the memory is overwritten on drop. A comparison takes the same time wherever
/// two texts of the same length differ. To send a secret, call
/// [`expose`](Self::expose) or name [`exposed`] in a `serialize_with`.
#[derive(Clone, Default, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes ownership of `text`. Does not erase copies that the caller made.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Returns the text, for a child's environment, a header, standard input or
    /// a file of mode 0600, never for output.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Compares with bytes from an unauthenticated peer, in constant time for
    /// a given length.
    #[must_use]
    pub fn matches(&self, offered: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(offered).into()
    }

    /// Returns whether the text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self::new(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Serializers that write the text of secrets, for `serialize_with` on the
/// fields of a message that carries them.
pub mod exposed {
    use std::collections::BTreeMap;

    use super::{Secret, Serialize, Serializer};

    struct Exposed<'a>(&'a Secret);

    impl Serialize for Exposed<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.0.expose())
        }
    }

    /// Writes an optional secret.
    ///
    /// # Errors
    ///
    /// Returns the error of the serializer.
    pub fn option<S: Serializer>(
        secret: &Option<Secret>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        secret.as_ref().map(Exposed).serialize(serializer)
    }

    /// Writes an optional map of secrets.
    ///
    /// # Errors
    ///
    /// Returns the error of the serializer.
    pub fn option_map<S: Serializer>(
        secrets: &Option<BTreeMap<String, Secret>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match secrets {
            None => serializer.serialize_none(),
            Some(map) => {
                serializer.collect_map(map.iter().map(|(name, secret)| (name, Exposed(secret))))
            }
        }
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

    #[test]
    fn comparison_is_by_the_whole_text() {
        let secret = Secret::from("hunter2");
        assert!(secret.matches(b"hunter2") && !secret.matches(b"hunter") && !secret.matches(b""));
        assert_eq!(secret, Secret::from("hunter2"));
        assert_ne!(secret, Secret::from("hunter3"));
    }

    #[test]
    fn text_is_written_only_where_a_field_asks_for_it() {
        #[derive(Serialize)]
        struct Message {
            #[serde(serialize_with = "exposed::option")]
            key: Option<Secret>,
            #[serde(serialize_with = "exposed::option_map")]
            env: Option<std::collections::BTreeMap<String, Secret>>,
        }
        let env = Some([("A".to_owned(), Secret::from("v"))].into());
        let message = Message { key: Some("k".into()), env };
        assert_eq!(serde_json::to_string(&message).unwrap(), r#"{"key":"k","env":{"A":"v"}}"#);
    }
}
