//! Fields of a JSON object as raw text.
//!
//! Every value that this project passes on must reach the other side byte for
//! byte, so the parser reads values but never prints them again. Of duplicate
//! keys the last one counts, as in `JSON.parse`: a check of the first one could
//! be circumvented.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{self, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

/// Maximum number of entries of an object, or elements of an array, that are
/// read apart. One that holds more could be millions in one message.
pub const MAX_ITEMS: usize = 100_000;

/// Returns the values of `names` in the JSON object `text`, each as its raw
/// text, in the order of `names`. Other fields only have to be valid JSON.
///
/// # Errors
///
/// Returns an error if `text` is not one JSON object.
pub fn fields<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    Ok(fields_and_others(text, names)?.0)
}

/// Fields by their names, and the name of the last other one.
pub type FieldsAndOthers<'a, const N: usize> = ([Option<&'a RawValue>; N], Option<Cow<'a, str>>);

/// Returns these fields of the JSON object `text` as [`fields`] does, and the name
/// of another one, if there is any.
///
/// # Errors
///
/// As [`fields`].
pub fn fields_and_others<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<FieldsAndOthers<'a, N>, serde_json::Error> {
    struct Fields<'n, const N: usize>([&'n str; N]);

    impl<'de, const N: usize> Visitor<'de> for Fields<'_, N> {
        type Value = FieldsAndOthers<'de, N>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(a_string(&self))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut found, mut other) = ([None; N], None);
            while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                match self.0.iter().position(|name| *name == key) {
                    Some(at) => found[at] = Some(value),
                    None => other = Some(key),
                }
            }
            Ok((found, other))
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = deserializer.deserialize_any(Fields(names))?;
    deserializer.end()?;
    Ok(found)
}

/// Entries of an object: decoded names, values as their raw text.
pub type Entries<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// Returns the entries of the JSON object `text`, in order. Of duplicate names
/// the last value counts, at the position of the first, as in `JSON.parse`.
///
/// # Errors
///
/// Returns an error if `text` is not one JSON object of at most [`MAX_ITEMS`]
/// entries, or if a name in it holds a lone surrogate.
pub fn entries(text: &str) -> Result<Entries<'_>, serde_json::Error> {
    struct Found;

    impl<'de> Visitor<'de> for Found {
        type Value = Entries<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(a_string(&self))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found: Entries<'de> = Vec::new();
            let mut places = BTreeMap::new();
            let mut read = 0;
            while let Some((Key(name), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
                read += 1;
                if read > MAX_ITEMS {
                    return Err(too_many());
                }
                let place = *places.entry(name.clone()).or_insert(found.len());
                match found.get_mut(place) {
                    Some(entry) => entry.1 = value,
                    None => found.push((name, value)),
                }
            }
            Ok(found)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = deserializer.deserialize_any(Found)?;
    deserializer.end()?;
    Ok(found)
}

/// Returns the error for a string in place of an object. serde's own error
/// repeats the string, which may be as long as a message. For the same reason
/// the code above calls `deserialize_any`: `deserialize_map` builds that error
/// itself.
fn a_string<E: de::Error>(expected: &dyn de::Expected) -> E {
    E::invalid_type(Unexpected::Other("string"), expected)
}

/// Returns the elements of the JSON array `value`, each as its raw text.
///
/// # Errors
///
/// Returns an error if `value` is not an array of at most [`MAX_ITEMS`] elements.
pub fn elements(value: &RawValue) -> Result<Vec<&RawValue>, serde_json::Error> {
    struct Found;

    impl<'de> Visitor<'de> for Found {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_str<E: de::Error>(self, _: &str) -> Result<Self::Value, E> {
            Err(a_string(&self))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(element) = seq.next_element()? {
                if found.len() >= MAX_ITEMS {
                    return Err(too_many());
                }
                found.push(element);
            }
            Ok(found)
        }
    }

    serde_json::Deserializer::from_str(value.get()).deserialize_any(Found)
}

fn too_many<E: de::Error>() -> E {
    E::custom(format_args!("more than {MAX_ITEMS} elements"))
}

/// Returns the text of the JSON string `value`. Returns `None` for other values
/// and for a lone surrogate, which no Rust string can hold.
#[must_use]
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Key<'_>>(value.get()).ok().map(|key| key.0)
}

/// Returns whether `value` is an object. Its first byte decides: a [`RawValue`]
/// is valid and starts without white space.
#[must_use]
pub fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Returns whether `value` is a string, lone surrogates included.
#[must_use]
pub fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

/// Returns whether `value` is an array.
#[must_use]
pub fn is_array(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

/// A string that borrows from the input unless it holds an escape.
/// (`Cow<str>` alone always allocates inside a map's key.)
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_duplicate_keys_counts() {
        let [a, b] = fields(r#"{"a":1,"b":2,"a":3}"#, ["a", "b"]).unwrap();
        assert_eq!(a.unwrap().get(), "3");
        assert_eq!(b.unwrap().get(), "2");
    }

    #[test]
    fn a_key_written_with_escapes_is_the_same_key() {
        let [a] = fields(r#"{"\u0061":1}"#, ["a"]).unwrap();
        assert_eq!(a.unwrap().get(), "1");
    }

    #[test]
    fn values_keep_their_bytes() {
        let [a] = fields("{\"a\" : [1.0,\r\n1e400] }", ["a"]).unwrap();
        assert_eq!(a.unwrap().get(), "[1.0,\r\n1e400]");
    }

    #[test]
    fn text_that_is_no_object_is_refused() {
        for text in ["", "x", "[]", "5", "null", "\"a\"", "{", "{}x", "{} {}", "\u{feff}{}"] {
            assert!(fields(text, ["a"]).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_list_of_more_elements_than_are_read_apart_is_refused() {
        let list = |count: usize| {
            let text = format!("[{}1]", "1,".repeat(count - 1));
            RawValue::from_string(text).unwrap()
        };
        assert_eq!(elements(&list(MAX_ITEMS)).unwrap().len(), MAX_ITEMS);
        assert!(elements(&list(MAX_ITEMS + 1)).is_err());
        let object = |count: usize| {
            let entries: Vec<String> = (0..count).map(|at| format!("\"{at}\":1")).collect();
            format!("{{{}}}", entries.join(","))
        };
        assert_eq!(entries(&object(MAX_ITEMS)).unwrap().len(), MAX_ITEMS);
        assert!(entries(&object(MAX_ITEMS + 1)).is_err());
        let twice = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(MAX_ITEMS));
        assert!(entries(&twice).is_err(), "a name that is there twice is read twice");
    }

    #[test]
    fn a_string_in_place_of_an_object_is_not_repeated() {
        let text = serde_json::Value::from("secret".repeat(1000)).to_string();
        for error in [fields(&text, ["a"]).unwrap_err(), entries(&text).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("expected an object") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn depth_does_not_overflow_the_stack() {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(fields(&text, ["a"]).unwrap()[0].is_some());
    }

    #[test]
    fn of_duplicate_names_the_last_value_counts_at_the_first_place() {
        let entries = entries(r#"{"a":1,"b":2,"a":3}"#).unwrap();
        let seen: Vec<_> = entries.iter().map(|(name, value)| (&**name, value.get())).collect();
        assert_eq!(seen, [("a", "3"), ("b", "2")]);
    }
}
