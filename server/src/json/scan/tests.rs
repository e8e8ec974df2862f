//! Tests of the scan against serde_json.

use std::collections::HashMap;

use claude_relay_protocol::json;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::*;

/// Result of serde_json for `text`: `None` if it is not an object, else the
/// last value of `name`. Names with lone surrogates, which a Rust string cannot
/// hold, are compared by their raw text.
fn reference(text: &str, name: &str) -> Option<Option<String>> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    if !text.trim_ascii_start().starts_with('{') {
        return None;
    }
    match json::fields(text, [name]) {
        Ok([value]) => Some(value.map(|value| value.get().to_owned())),
        // The text is valid JSON, so the obstacle is a lone surrogate in a
        // name.
        Err(_) => {
            let text = text.replace("\\ud", "\\u1").replace("\\uD", "\\u1");
            let map: HashMap<String, &RawValue> = serde_json::from_str(&text).unwrap();
            Some(map.get(name).map(|value| value.get().to_owned()))
        }
    }
}

fn agree(text: &str) {
    let found = fields(text.as_bytes(), &["type"]);
    let baseline =
        dispatch!(Level::baseline(), simd => fields_with(simd, text.as_bytes(), &["type"]));
    assert_eq!(found, baseline, "with the processor's vectors and without, {text:?}");
    let ours = found.map(|[value]| value.map(|raw| String::from_utf8(raw.to_vec()).unwrap()));
    let theirs = reference(text, "type");
    // The reference may have changed surrogates inside the value too.
    if text.contains("\\ud") || text.contains("\\uD") {
        assert_eq!(ours.is_some(), theirs.is_some(), "{text:?}");
        assert_eq!(ours.flatten().is_some(), theirs.flatten().is_some(), "{text:?}");
    } else {
        assert_eq!(ours, theirs, "{text:?}");
    }
}

fn agree_on_bytes(line: &[u8]) {
    match str::from_utf8(line) {
        Ok(text) => agree(text),
        Err(_) => {
            assert_eq!(fields(line, &["type"]), None, "{line:?}");
            let baseline = dispatch!(Level::baseline(), simd => fields_with(simd, line, &["type"]));
            assert_eq!(baseline, None, "{line:?}");
        }
    }
}

#[test]
fn edge_cases_of_the_grammar() {
    for text in [
        "",
        " ",
        "{",
        "}",
        "{}",
        " { } ",
        "{}{}",
        "{} x",
        "[]",
        "[{}]",
        "null",
        "\"a\"",
        "1",
        "\u{feff}{}",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" : 1 , \"type\" : \"x\" }",
        "{\"type\":1,\"type\":2}",
        "{\"a\":1,,\"b\":2}",
        "{a:1}",
        "{'a':1}",
        "{1:1}",
        "{\"a\":1}}",
        "{\"a\":[1,2}",
        "{\"a\":{\"b\":1]}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1 2]}",
        "{\"a\":{\"b\":1,}}",
        "{\"a\":[[]]}",
        "{\"a\":tru}",
        "{\"a\":true}",
        "{\"a\":truee}",
        "{\"a\":True}",
        "{\"a\":nul}",
        "{\"a\":false,\"type\":null}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":undefined}",
        "{\"a\":0}",
        "{\"a\":-0}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1.0}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":1E-07}",
        "{\"a\":1e400}",
        "{\"a\":1.5.5}",
        "{\"a\":0x1}",
        "{\"a\":--1}",
        "{\"a\":1_000}",
        "{\"a\":123456789012345678901234567890}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\u{7f}\"}",
        "{\"a\":\"\0\"}",
        "{\"a\0\":1}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12G4\"}",
        "{\"a\":\"\\uFFFF\\/\\b\\f\\n\\r\\t\\\\\\\"\"}",
        "{\"a\":\"x",
        "{\"a\":\"x}",
        "{\"a\":1\u{a0}}",
        "{\"a\":1\u{b}}",
        "{\u{c}}",
        "\t\r\n{\t\r\n}\t\r\n",
        "{\"\\u0074ype\":1}",
        "{\"t\\u0079pe\":[1,2]}",
        "{\"\\u0054ype\":1}",
        "{\"\\type\":1}",
        "{\"type\\u0000\":1}",
        "{\"typ\":1,\"types\":2,\"Type\":3}",
        "{\"a\":{\"type\":1}}",
        "{\"\\u0074\\u0079\\u0070\\u0065\":1}",
        "{\"type\":1,\"\\u0074ype\":2}",
        "{\"\\ud800\":1}",
        "{\"\\ud800\":1,\"type\":\"x\"}",
        "{\"a\":\"\\udc00\\ud800\"}",
        "{\"ty\\ud800pe\":1}",
        "{\"type\":\"\\ud83d\"}",
        "/**/{}",
        "{}//",
        "{\"a\":1/**/}",
        "{\"type\":  {\"a\" : [ ] }  ,\"b\":\"\"}",
    ] {
        agree(text);
    }
}

/// Covers the boundaries of the words and of the switch to vector code.
#[test]
fn strings_of_every_length_with_every_byte_everywhere() {
    for length in (0..70).chain([127, 128, 129, 1000]) {
        let plain = "x".repeat(length);
        agree(&format!("{{\"a\":\"{plain}\",\"type\":\"{plain}\"}}"));
        agree(&format!("{{\"{plain}\":1}}"));
        for at in 0..length.min(70) {
            for special in [
                "\"",
                "\\",
                "\\n",
                "\\\"",
                "\u{1f}",
                "\u{1}",
                " ",
                "!",
                "#",
                "[",
                "]",
                "é",
                "\u{10ffff}",
            ] {
                let (before, after) = plain.split_at(at);
                agree(&format!("{{\"a\":\"{before}{special}{after}\",\"type\":1}}"));
            }
        }
    }
}

#[test]
fn what_is_not_utf8_is_no_object_wherever_that_is_seen() {
    for length in (0..150).chain([191, 192, 193, 1000]) {
        for at in (0..length).filter(|at| *at < 150 || at + 3 > length) {
            for wrong in [0x80, 0xc3, 0xff] {
                let mut string = vec![b'x'; length];
                string[at] = wrong;
                for around in
                    [["{\"a\":\"", "\"}"], ["{\"", "\":[]}"], ["{\"a\":[{\"b\":\"", "\"}]}"]]
                {
                    let [before, after] = around.map(str::as_bytes);
                    agree_on_bytes(&[before, &string, after].concat());
                }
            }
        }
    }
    for line in
        [&b"{}\xff"[..], b"{\xff}", b"{\"a\":\xff}", b"{\"a\":1\xc3\xa9}", b"{\"a\":\"\\\xff\"}"]
    {
        agree_on_bytes(line);
    }
}

#[test]
fn deep_nesting_needs_no_stack() {
    for depth in [1, 2, 62, 63, 64, 65, 66, 127, 128, 129, 192, 193, 100_000] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        agree(&format!("{{\"a\":{open}{close},\"type\":1}}"));
        agree(&format!("{{\"a\":{open}{}}}", &close[1..]));
        agree(&format!("{{\"a\":{open}{close}]}}"));
        let (open, close) = ("{\"a\":[".repeat(depth), "]}".repeat(depth));
        agree(&format!("{{\"a\":{open}1{close},\"type\":1}}"));
        agree(&format!("{{\"a\":{open}1{}}}", "}]".repeat(depth)));
    }
}

#[test]
fn the_longest_line() {
    let limit = crate::process::lines::LINE_LIMIT;
    for filling in ["[", "{\"a\":", "x", "\\n", "1", " "] {
        let line = filling.repeat(limit / filling.len());
        assert_eq!(fields(line.as_bytes(), &["type"]), None);
    }
    let line = format!("{{\"type\":\"{}\"}}", "x".repeat(limit - 11));
    assert_eq!(fields(line.as_bytes(), &["type"]).unwrap()[0].unwrap().len(), limit - 9);
    let line = format!("{{\"type\":{}{}}}", "[".repeat(limit / 2 - 5), "]".repeat(limit / 2 - 5));
    assert!(fields(line.as_bytes(), &["type"]).is_some());
}

#[test]
fn each_name_has_its_value() {
    let text = r#"{"a":1,"b":"x","c":[2] , "a":{"b":3}}"#;
    assert_eq!(
        fields(text.as_bytes(), &["c", "a", "d", "b"]),
        Some([Some(&b"[2]"[..]), Some(br#"{"b":3}"#), None, Some(b"\"x\"")])
    );
}

/// Arbitrary JSON, with unusual names, escapes and white space.
fn value() -> impl Strategy<Value = String> {
    let string = prop_oneof![
        Just("\"type\"".to_owned()),
        "\"[a-z ]{0,60}\"",
        r#""([a-z\u{80}-\u{10ffff}]|\\[nrtbf/"\\]|\\u[0-9a-fA-F]{4}){0,30}""#,
    ];
    let leaf = prop_oneof![
        string.clone(),
        r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("null".to_owned()),
    ];
    leaf.prop_recursive(6, 64, 5, move |inner| {
        prop_oneof![
            ("[ \t]{0,2}", prop::collection::vec(inner.clone(), 0..5)).prop_map(
                |(space, values)| format!("[{space}{}]", values.join(&format!("{space},{space}")))
            ),
            object(string.clone(), inner),
        ]
    })
}

fn object(
    name: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let name = prop_oneof![
        3 => name,
        1 => Just("\"type\"".to_owned()),
        1 => Just("\"\\u0074yp\\u0065\"".to_owned()),
    ];
    ("[ \r\n\t]{0,2}", prop::collection::vec((name, value), 0..5)).prop_map(|(space, fields)| {
        let fields: Vec<_> =
            fields.iter().map(|(name, value)| format!("{name}{space}:{value}")).collect();
        format!("{{{space}{}}}", fields.join(&format!("{space},")))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_json(text in object("\"[a-z]{0,12}\"", value())) {
        agree(&text);
    }

    /// Replaces, removes, inserts and truncates bytes.
    #[test]
    fn mutated_json(
        text in object("\"[a-z]{0,12}\"", value()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0u8..4, any::<prop::sample::Index>()), 1..4),
    ) {
        const BYTES: &[u8] = b"{}[]\",:\\ \t\r\n\x00\x1f0123456789+-.eEtrufalsnx/\x7f\xc3\xa9";
        let mut bytes = text.into_bytes();
        for (at, kind, with) in changes {
            let at = at.index(bytes.len() + 1);
            let with = BYTES[with.index(BYTES.len())];
            match kind {
                0 => bytes.insert(at, with),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if at < bytes.len() => bytes[at] = with,
                _ => bytes.truncate(at),
            }
        }
        agree_on_bytes(&bytes);
    }

    #[test]
    fn random_bytes(text in "[{}\\[\\]\",:\\\\ 0-9a-z.+-]{0,40}") {
        agree(&text);
        agree(&format!("{{{text}}}"));
    }
}
