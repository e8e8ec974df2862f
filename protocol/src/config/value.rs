//! Reads single values, with errors that name their path.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::raw::HALF_A_PAIR;
use super::{ConfigError, MAX_ARGUMENT_BYTES};
use crate::json::{self, Entries};
use crate::text;

/// Longest part of a name chosen by a client that an error repeats, in
/// characters.
const MAX_NAME_CHARS: usize = 50;

/// Largest integer that JavaScript represents exactly: 2^53 - 1.
const MAX_WHOLE: f64 = 9_007_199_254_740_991.0;

/// Path of a value in the configuration, built only for messages.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    /// A field of the configuration.
    Field(&'a str),
    /// An element of an array.
    Index(&'a Self, usize),
    /// An entry of an object.
    Name(&'a Self, &'a str),
}

impl Path<'_> {
    /// Returns the error for a value of another type.
    pub(super) fn expected(&self, expected: &'static str) -> ConfigError {
        ConfigError::WrongType { path: self.to_string(), expected }
    }

    /// Returns the error for a value that cannot be used.
    pub(super) fn refused(&self, reason: impl Into<Cow<'static, str>>) -> ConfigError {
        ConfigError::Refused { path: self.to_string(), reason: reason.into() }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Field(name) => f.write_str(name),
            Path::Index(of, index) => write!(f, "{of}[{index}]"),
            Path::Name(of, name) => write!(f, "{of}.{}", shown(name)),
        }
    }
}

/// Makes a name chosen by a client fit to be shown: cut, and with control
/// characters escaped.
pub(super) fn shown(name: &str) -> String {
    text::cut(name, MAX_NAME_CHARS).escape_debug().to_string()
}

/// Reads a string without NUL.
pub(super) fn string(value: &RawValue, path: &Path<'_>) -> Result<String, ConfigError> {
    if !json::is_string(value) {
        return Err(path.expected("a string"));
    }
    let Some(text) = json::string(value) else {
        return Err(path.refused(HALF_A_PAIR));
    };
    if text.contains('\0') {
        return Err(path.refused("holds a NUL character"));
    }
    Ok(text.into_owned())
}

/// Reads a string without NUL that fits into one argument or environment
/// variable.
pub(super) fn argument(value: &RawValue, path: &Path<'_>) -> Result<String, ConfigError> {
    let text = string(value, path)?;
    fits(text.len(), path)?;
    Ok(text)
}

/// Checks that `bytes` fit into one argument of a program.
pub(super) fn fits(bytes: usize, path: &Path<'_>) -> Result<(), ConfigError> {
    if bytes > MAX_ARGUMENT_BYTES {
        return Err(path.refused(format!(
            "{bytes} bytes are more than the {MAX_ARGUMENT_BYTES} that fit into one argument of a program"
        )));
    }
    Ok(())
}

/// Reads `true` or `false`.
pub(super) fn boolean(value: &RawValue, path: &Path<'_>) -> Result<bool, ConfigError> {
    match value.get() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(path.expected("true or false")),
    }
}

/// Reads an integer of at least `least` in any spelling: `3`, `3.0`.
pub(super) fn whole(value: &RawValue, least: u32, path: &Path<'_>) -> Result<u64, ConfigError> {
    let expected = match least {
        0 => "a whole number of at least 0",
        _ => "a whole number of at least 1",
    };
    match number(value) {
        Some(n) if n.fract() == 0.0 && (f64::from(least)..=MAX_WHOLE).contains(&n) => Ok(n as u64),
        _ => Err(path.expected(expected)),
    }
}

/// Reads a finite number above 0.
pub(super) fn positive(value: &RawValue, path: &Path<'_>) -> Result<f64, ConfigError> {
    match number(value) {
        Some(n) if n.is_finite() && n > 0.0 => Ok(n),
        _ => Err(path.expected("a number above 0")),
    }
}

fn number(value: &RawValue) -> Option<f64> {
    // A JSON number starts with a digit or a minus sign. Rust's parser accepts
    // other spellings too, but no other JSON value starts with these.
    value.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()).then_some(())?;
    value.get().parse().ok()
}

/// Returns the elements of an array.
pub(super) fn array<'a>(
    value: &'a RawValue,
    expected: &'static str,
    path: &Path<'_>,
) -> Result<Vec<&'a RawValue>, ConfigError> {
    json::elements(value).map_err(|_| path.expected(expected))
}

/// Reads an array of strings, each of which fits into one argument.
pub(super) fn arguments(value: &RawValue, path: &Path<'_>) -> Result<Vec<String>, ConfigError> {
    array(value, "an array of strings", path)?
        .into_iter()
        .enumerate()
        .map(|(index, element)| argument(element, &Path::Index(path, index)))
        .collect()
}

/// Reads an array of strings that goes into one argument, joined by commas.
pub(super) fn joined(value: &RawValue, path: &Path<'_>) -> Result<Vec<String>, ConfigError> {
    let list = arguments(value, path)?;
    fits(list.iter().map(|entry| entry.len() + 1).sum(), path)?;
    Ok(list)
}

/// Returns the entries of an object.
pub(super) fn object<'a>(value: &'a RawValue, path: &Path<'_>) -> Result<Entries<'a>, ConfigError> {
    if !json::is_object(value) {
        return Err(path.expected("an object"));
    }
    let entries = json::entries(value.get()).map_err(|_| {
        path.refused("a name holds half of a surrogate pair, which is no character")
    })?;
    for (name, _) in &entries {
        if name.contains('\0') {
            return Err(path.refused("a name holds a NUL character"));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn paths_are_spelled_as_in_javascript_and_names_are_cut() {
        let field = Path::Field("mcpServers");
        let name = Path::Name(&field, "x\n");
        assert_eq!(Path::Index(&name, 3).to_string(), "mcpServers.x\\n[3]");
        let long = "n".repeat(1000);
        assert_eq!(Path::Name(&field, &long).to_string().chars().count(), 62);
    }

    #[test]
    fn numbers_are_judged_by_value_not_by_spelling() {
        let path = Path::Field("n");
        assert_eq!(whole(raw("3.0"), 1, &path).unwrap(), 3);
        assert_eq!(whole(raw("1e2"), 1, &path).unwrap(), 100);
        assert_eq!(whole(raw("-0"), 0, &path).unwrap(), 0);
        for text in ["0", "-1", "1.5", "1e400", "-1e400", "9007199254740993", "\"3\"", "null", "[]"]
        {
            assert!(whole(raw(text), 1, &path).is_err(), "{text}");
        }
        assert!((positive(raw("1e-7"), &path).unwrap() - 1e-7).abs() < f64::EPSILON);
        for text in ["0", "-0.0", "-1", "1e400", "\"1\"", "true"] {
            assert!(positive(raw(text), &path).is_err(), "{text}");
        }
    }

    #[test]
    fn half_a_surrogate_pair_and_nul_are_named() {
        let path = Path::Field("model");
        assert!(string(raw(r#""\ud800""#), &path).unwrap_err().to_string().contains("surrogate"));
        assert_eq!(
            string(raw(r#""a\u0000b""#), &path).unwrap_err().to_string(),
            "model: holds a NUL character"
        );
    }
}
