//! Decoding of escapes in any text: those of JSON and of string literals, of
//! addresses, and of HTML. What is none stays as it is.

use memchr::memchr3;

/// Longest entity of HTML that is looked at, without `&` and `;`.
const ENTITY_BYTES: usize = 8;

/// Returns `text` with its escapes decoded once; `None` if it has none.
pub(super) fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded: Option<Vec<u8>> = None;
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = memchr3(b'\\', b'%', b'&', &bytes[at..]) {
        at += found;
        let Some((length, value)) = escape(&bytes[at..]) else {
            at += 1;
            continue;
        };
        let out = decoded.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
        out.extend_from_slice(&bytes[copied..at]);
        match value {
            Value::Byte(byte) => out.push(byte),
            Value::Char(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        at += length;
        copied = at;
    }
    let mut decoded = decoded?;
    decoded.extend_from_slice(&bytes[copied..]);
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

/// What an escape stands for.
enum Value {
    Byte(u8),
    Char(char),
}

/// Reads the escape at the beginning of `bytes`: its length and value.
fn escape(bytes: &[u8]) -> Option<(usize, Value)> {
    match (bytes.first()?, bytes.get(1)?) {
        (b'%', _) => Some((3, Value::Byte(hex(bytes.get(1..3)?)?.try_into().ok()?))),
        (b'&', _) => entity(bytes),
        (_, b'x') => Some((4, Value::Byte(hex(bytes.get(2..4)?)?.try_into().ok()?))),
        (_, b'u') => unicode(bytes),
        (_, letter) => {
            let byte = match letter {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                b'"' | b'\'' | b'\\' | b'/' => *letter,
                _ => return None,
            };
            Some((2, Value::Byte(byte)))
        }
    }
}

/// Reads `\u0041`, or two of them that are one character.
fn unicode(bytes: &[u8]) -> Option<(usize, Value)> {
    let high = hex(bytes.get(2..6)?)?;
    if let Some(char) = char::from_u32(high) {
        return Some((6, Value::Char(char)));
    }
    let low = bytes.get(6..8).filter(|next| *next == b"\\u").and_then(|_| bytes.get(8..12));
    let pair = [u16::try_from(high).ok()?, u16::try_from(hex(low?)?).ok()?];
    let char = char::decode_utf16(pair).next()?.ok()?;
    Some((12, Value::Char(char)))
}

/// Reads `&amp;`, `&#38;` or `&#x26;`.
fn entity(bytes: &[u8]) -> Option<(usize, Value)> {
    let rest = bytes.get(1..)?;
    let end = rest.iter().take(ENTITY_BYTES + 1).position(|byte| *byte == b';')?;
    let name = &rest[..end];
    let char = match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(hex(digits)?)?,
        [b'#', digits @ ..] => char::from_u32(std::str::from_utf8(digits).ok()?.parse().ok()?)?,
        _ => return None,
    };
    Some((end + 2, Value::Char(char)))
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 6 {
        return None;
    }
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_is_decoded_and_anything_else_stays() {
        for (text, decoded) in [
            (r#"\"\\\/\n\u0041\u00f6\ud83d\ude00\x41"#, "\"\\/\nAö😀A"),
            ("%41%c3%B6", "Aö"),
            ("&amp;&lt;&gt;&quot;&apos;&#65;&#x41;", "&<>\"'AA"),
            (r"\%41", r"\A"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(decoded), "{text}");
        }
        for text in ["", "plain", r"\", "%", "&", r"\q\u12\ud83d\ude0", "%4", "%zz", "&a;", "&#;"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[\\\\%&#;ux0-9a-fö]{0,40}") {
            let _ = decode(&text);
        }

        #[test]
        fn what_json_escapes_is_there_again(text in ".{0,20}") {
            let json = serde_json::Value::from(text.as_str()).to_string();
            let inner = &json[1..json.len() - 1];
            let plain = text.contains(['%', '&']);
            prop_assert!(plain || decode(inner).unwrap_or(inner.to_owned()) == text);
        }
    }
}
