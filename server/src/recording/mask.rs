//! Masking of secrets in JSON: in strings, however they are escaped, and in
//! numbers. What holds no secret keeps its bytes.

use std::borrow::Cow;

use claude_relay_protocol::config::MASK;
use memchr::{memchr, memchr2};

use crate::redact::Redactor;

/// Returns `json` with a mask in place of every secret. It stays JSON.
pub(super) fn mask<'a>(json: &'a str, redactor: &Redactor) -> Cow<'a, str> {
    let is_plain = memchr(b'\\', json.as_bytes()).is_none();
    if is_plain && !redactor.finds(json) && !redactor.finds_escaped(json) {
        return Cow::Borrowed(json);
    }
    let mut masked: Option<String> = None;
    let (mut rest, mut written) = (0, 0);
    while let Some(token) = next_token(json, rest) {
        rest = token.end;
        let text = &json[token.clone()];
        if let Some(replacement) = mask_token(text, redactor) {
            let out = masked.get_or_insert_with(|| String::with_capacity(json.len()));
            out.push_str(&json[written..token.start]);
            out.push_str(&replacement);
            written = token.end;
        }
    }
    match masked {
        None => Cow::Borrowed(json),
        Some(mut out) => {
            out.push_str(&json[written..]);
            Cow::Owned(out)
        }
    }
}

/// Returns the place of the next string, with its quotes, or of the next number
/// or word.
fn next_token(json: &str, from: usize) -> Option<std::ops::Range<usize>> {
    let bytes = json.as_bytes();
    let is_between = |byte: &u8| b" \t\r\n,:{}[]".contains(byte);
    let start = from + bytes.get(from..)?.iter().position(|byte| !is_between(byte))?;
    if bytes[start] != b'"' {
        let is_over = |byte: &u8| is_between(byte) || *byte == b'"';
        let end = bytes[start..].iter().position(is_over);
        return Some(start..end.map_or(bytes.len(), |end| start + end));
    }
    let mut at = start + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return Some(start..at + 1);
        }
        at += 2;
    }
    Some(start..bytes.len())
}

/// Returns what takes the place of a token that holds a secret.
fn mask_token(token: &str, redactor: &Redactor) -> Option<String> {
    let mask = || format!("\"{MASK}\"");
    if !token.starts_with('"') {
        return redactor.finds(token).then(mask);
    }
    if memchr(b'\\', token.as_bytes()).is_none() {
        let inner = token.trim_matches('"');
        let is_found = redactor.finds(inner) || redactor.finds_escaped(inner);
        return is_found.then(|| format!("\"{}\"", redactor.redact(inner.to_owned())));
    }
    match serde_json::from_str::<String>(token) {
        Ok(text) if redactor.finds(&text) || redactor.finds_escaped(&text) => {
            Some(serde_json::Value::from(redactor.redact(text)).to_string())
        }
        Ok(_) => None,
        // Half of a surrogate pair, which JSON allows.
        Err(_) => (redactor.finds(token) || redactor.finds_escaped(token)).then(mask),
    }
}

#[cfg(test)]
mod tests {
    use claude_relay_protocol::Secret;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let mut redactor = Redactor::default();
        redactor.extend(secrets.iter().map(|secret| Secret::from(*secret)));
        redactor
    }

    #[test]
    fn a_secret_is_masked_however_it_is_spelled() {
        let redactor = redactor(&["sk-secret/1234", "12345678", "quo\"te\\two", "zwölf-lang"]);
        for (json, masked) in [
            (r#"{"a":"x sk-secret/1234 y"}"#, r#"{"a":"x *** y"}"#),
            (r#"{"a":"x sk-secret\/1234 y\n"}"#, r#"{"a":"x *** y\n"}"#),
            (r#"{"a":"\u0073k-secret/1234"}"#, r#"{"a":"***"}"#),
            (r#"{"sk-secret/1234":[ 1 ]}"#, r#"{"***":[ 1 ]}"#),
            (r#"[ 12345678 ,1.0,-123456789.5e3]"#, r#"[ "***" ,1.0,"***"]"#),
            (r#"{"a":"quo\"te\\two"}"#, r#"{"a":"***"}"#),
            (r#"{"a":"zw\u00f6lf-lang"}"#, r#"{"a":"***"}"#),
            (r#"{"a":"\ud83d sk-secret/1234"}"#, r#"{"a":"***"}"#),
            (r#"{"a":"","b":"\"","c":"sk-secret/1234"}"#, r#"{"a":"","b":"\"","c":"***"}"#),
        ] {
            assert_eq!(mask(json, &redactor), masked);
        }
    }

    #[test]
    fn a_secret_is_masked_within_a_text_that_escapes_it_again() {
        let redactor = redactor(&["quo\"te\\two", "a+b/c=d&e"]);
        for (json, masked) in [
            (r#"{"a":"x\n{\"k\":\"quo\\\"te\\\\two\"}\ny"}"#, r#"{"a":"x\n***\ny"}"#),
            (r#"{"a":"\"a\\u002bb\\/c=d\\u0026e\""}"#, r#"{"a":"***"}"#),
            (r#"{"a":"http://h/?k=a%2Bb%2Fc%3Dd%26e"}"#, r#"{"a":"***"}"#),
            (r#"{"a%2Bb%2Fc%3Dd%26e":1}"#, r#"{"***":1}"#),
            (r#"{"a":"a+b/c=d&amp;e\nb"}"#, r#"{"a":"***\nb"}"#),
        ] {
            assert_eq!(mask(json, &redactor), masked);
        }
    }

    #[test]
    fn bytes_without_a_secret_stay() {
        let json = r#"{ "a" : 1.00, "b":"\u0041\/" ,"b":null}"#;
        assert!(
            matches!(mask(json, &redactor(&["sk-secret"])), Cow::Borrowed(same) if same == json)
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![".{0,20}", "[a-c\"\\\\]{0,8}sk-se\"cret[a-c\"\\\\]{0,8}"];
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,8}", inner), 0..4)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_masked_is_json_without_the_secret(value in value()) {
            let redactor = redactor(&["sk-se\"cret"]);
            let json = value.to_string();
            let masked = mask(&json, &redactor);
            let parsed: Value = serde_json::from_str(&masked).unwrap();
            prop_assert!(!redactor.finds(&texts(&parsed)));
        }

        #[test]
        fn nothing_panics_on_what_is_no_json(text in ".{0,60}") {
            let _ = mask(&text, &redactor(&["\\\\\\\\\\\\\\\\"]));
        }
    }

    fn texts(value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Array(list) => list.iter().map(texts).collect::<Vec<_>>().join("\n"),
            Value::Object(map) => {
                map.iter().map(|(key, value)| format!("{key}\n{}", texts(value))).collect()
            }
            _ => String::new(),
        }
    }
}
