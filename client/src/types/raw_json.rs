//! JSON that is handed on as it came, and looked into only where it must be.

use bytestring::ByteString;
use claude_relay_protocol::json::string;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON text with the bytes it came with. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(ByteString);

impl RawJson {
    /// Checks that `text` is one JSON value and keeps it as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::RawJson;
    ///
    /// assert!(RawJson::new(r#"{"n":1.0}"#).is_ok());
    /// assert!(RawJson::new("oops").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// It is not JSON.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, serde_json::Error> {
        let text = text.into();
        serde_json::from_str::<&RawValue>(&text)?;
        Ok(Self(text))
    }

    pub(crate) fn from_raw(value: &RawValue) -> Self {
        Self(value.get().into())
    }

    /// A value that was just made, as text.
    pub(crate) fn from_value(value: &Value) -> Self {
        // A `Value` has nothing in it that cannot be written.
        let text = value.to_string();
        serde_json::from_str::<&RawValue>(&text).map(Self::from_raw).unwrap_or_else(|_| {
            debug_assert!(false, "a Value that is not JSON");
            Self::from_raw(RawValue::NULL)
        })
    }

    /// A text that is known to be JSON.
    pub(crate) fn proven(text: ByteString) -> Self {
        Self(text)
    }

    /// The text.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::RawJson;
    ///
    /// let json = RawJson::new("[1.0]").unwrap();
    /// assert_eq!(json.get(), "[1.0]");
    /// ```
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Reads it as a type of the caller's choice.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::RawJson;
    ///
    /// let json = RawJson::new("[1,2]").unwrap();
    /// assert_eq!(json.parse::<Vec<u8>>().unwrap(), [1, 2]);
    /// ```
    ///
    /// # Errors
    ///
    /// It does not have that type's shape.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl std::fmt::Debug for RawJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.get())
    }
}

/// A string field of a JSON object.
pub(crate) fn text_of(value: Option<&RawValue>) -> Option<std::borrow::Cow<'_, str>> {
    value.and_then(string)
}
