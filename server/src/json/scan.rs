//! One pass over a line of JSON: proves that it is an object and finds some of
//! its fields.
//!
//! Every line of the agent goes through here, and it is most of what the relay
//! does for one, so it is written out by hand. What makes it fast:
//!
//! * Most bytes of a line stand in strings. Those are skipped a word of eight
//!   bytes at a time, and once a string turns out to be long, 64 bytes at a
//!   time with the widest vectors of this processor, which need some bytes to
//!   pay off.
//! * Where we are is the rest of the text, handed from function to function in
//!   registers. An index in a struct took half as long again.
//! * Nothing is built, copied or allocated. What a value stands in is a depth
//!   and one bit a level, object or array. So depth costs no stack: a line of
//!   nothing but brackets ends like any other.
//! * UTF-8 is the caller's business, who has vector code for it.
//!
//! The grammar is that of RFC 8259 without a byte of leniency: what passes is
//! pasted into a frame.

use fearless_simd::{Level, dispatch, prelude::*, u8x64};

/// The values of `names` among the fields of the JSON object `text`, each as
/// its raw text, in the order of `names`. Of duplicate names the last counts,
/// and a name may be written with escapes, as in every parser. Lone surrogates
/// are no fault: JSON can spell them.
///
/// `names` must not hold a character that has a short escape: quotes, slashes,
/// control characters. `None` when `text` is not one JSON object with nothing
/// but white space around it.
#[must_use]
pub fn fields<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<[Option<&'a str>; N]> {
    let mut found = [None; N];
    let (b'{', rest) = token(text.as_bytes())? else { return None };
    let (mut first, mut rest) = token(rest)?;
    while first != b'}' {
        let (name, value) = name(first, rest)?;
        rest = skip_value(value)?;
        if let Some(at) = names.iter().position(|wanted| is_name(name, wanted)) {
            let raw = text.get(text.len() - value.len()..text.len() - rest.len())?;
            found[at] = Some(raw.trim_ascii_start());
        }
        (first, rest) = match token(rest)? {
            end @ (b'}', _) => end,
            (b',', rest) => match token(rest)? {
                name @ (b'"', _) => name,
                _ => return None,
            },
            _ => return None,
        };
    }
    token(rest).is_none().then_some(found)
}

/// The next byte that is no white space, and what is behind it.
#[inline(always)]
fn token(mut rest: &[u8]) -> Option<(u8, &[u8])> {
    loop {
        let (byte, after) = rest.split_first()?;
        if !matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            return Some((*byte, after));
        }
        rest = after;
    }
}

/// What is behind one value, whatever stands in it.
fn skip_value(mut rest: &[u8]) -> Option<&[u8]> {
    let mut nesting = NestingStack::default();
    loop {
        let (first, after) = token(rest)?;
        rest = match first {
            b'"' => skip_string(after)?,
            b'{' => match token(after)? {
                (b'}', after) => after,
                (first, after) => {
                    nesting.enter(OBJECT);
                    (_, rest) = name(first, after)?;
                    continue;
                }
            },
            b'[' => match token(after)? {
                (b']', after) => after,
                _ => {
                    nesting.enter(ARRAY);
                    rest = after;
                    continue;
                }
            },
            b't' => after.strip_prefix(b"rue")?,
            b'f' => after.strip_prefix(b"alse")?,
            b'n' => after.strip_prefix(b"ull")?,
            _ => skip_number(first, after)?,
        };
        // A value has ended, and perhaps what it stands in.
        loop {
            if nesting.depth == 0 {
                return Some(rest);
            }
            let (next, after) = token(rest)?;
            rest = after;
            match (next, nesting.inside()) {
                (b',', OBJECT) => {
                    let (first, after) = token(rest)?;
                    (_, rest) = name(first, after)?;
                    break;
                }
                (b',', _) => break,
                (b'}', OBJECT) | (b']', ARRAY) => nesting.leave(),
                _ => return None,
            }
        }
    }
}

/// The name of a field as it is written, without its quotes, and what is
/// behind its colon. `first` is what it begins with.
#[inline(always)]
fn name(first: u8, rest: &[u8]) -> Option<(&[u8], &[u8])> {
    if first != b'"' {
        return None;
    }
    let after = skip_string(rest)?;
    let name = rest.get(..rest.len() - after.len() - 1)?;
    match token(after)? {
        (b':', after) => Some((name, after)),
        _ => None,
    }
}

/// What is behind a string whose opening quote is behind us.
#[inline(always)]
fn skip_string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (byte, after) = skip_plain(rest).split_first()?;
        rest = match byte {
            b'"' => return Some(after),
            b'\\' => skip_escape(after)?,
            _ => return None,
        };
    }
}

fn skip_escape(rest: &[u8]) -> Option<&[u8]> {
    match rest.split_first()? {
        (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after) => Some(after),
        (b'u', after) => {
            let (digits, after) = after.split_first_chunk::<4>()?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(after)
        }
        _ => None,
    }
}

fn skip_number(mut first: u8, mut rest: &[u8]) -> Option<&[u8]> {
    if first == b'-' {
        let (digit, after) = rest.split_first()?;
        (first, rest) = (*digit, after);
    }
    match first {
        b'0' => {}
        b'1'..=b'9' => rest = skip_digits(rest),
        _ => return None,
    }
    if let [b'.', after @ ..] = rest {
        rest = skip_some_digits(after)?;
    }
    if let [b'e' | b'E', after @ ..] = rest {
        rest = skip_some_digits(match after {
            [b'+' | b'-', after @ ..] => after,
            _ => after,
        })?;
    }
    Some(rest)
}

fn skip_some_digits(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b'0'..=b'9', after @ ..] => Some(skip_digits(after)),
        _ => None,
    }
}

fn skip_digits(mut rest: &[u8]) -> &[u8] {
    while let [b'0'..=b'9', after @ ..] = rest {
        rest = after;
    }
    rest
}

/// What is left from the first byte on that means more than itself in a
/// string: a quote, a backslash, a control character.
#[inline(always)]
fn skip_plain(mut rest: &[u8]) -> &[u8] {
    /// Names, ids and numbers in quotes are done after this many words.
    const WORDS: usize = 6;
    for _ in 0..WORDS {
        let Some((word, after)) = rest.split_first_chunk() else {
            return skip_plain_bytes(rest);
        };
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return rest.get(special.trailing_zeros() as usize / 8..).unwrap_or_default();
        }
        rest = after;
    }
    skip_long_plain(rest)
}

fn skip_long_plain(rest: &[u8]) -> &[u8] {
    dispatch!(Level::new(), simd => skip_plain_blocks(simd, rest))
}

/// Compiled once for each kind of vectors there is, hence the inlining.
#[inline(always)]
fn skip_plain_blocks<S: Simd>(simd: S, mut rest: &[u8]) -> &[u8] {
    while let Some((block, after)) = rest.split_first_chunk::<64>() {
        let bytes = u8x64::from_slice(simd, block);
        let special = bytes.simd_eq(b'"') | bytes.simd_eq(b'\\') | bytes.simd_lt(b' ');
        let special = special.to_bitmask();
        if special != 0 {
            return rest.get(special.trailing_zeros() as usize..).unwrap_or_default();
        }
        rest = after;
    }
    skip_plain_bytes(rest)
}

fn skip_plain_bytes(rest: &[u8]) -> &[u8] {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    let end = rest.iter().position(special).unwrap_or(rest.len());
    rest.get(end..).unwrap_or_default()
}

/// The highest bit of each byte that is a quote, a backslash or a control
/// character. Bytes behind the first of them may be marked wrongly, because a
/// borrow runs from it into them; so only the first mark counts.
#[inline(always)]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let equal = |byte: u8| {
        let differs = word ^ (ONES * u64::from(byte));
        differs.wrapping_sub(ONES) & !differs
    };
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (equal(b'"') | equal(b'\\') | control) & HIGH
}

/// Whether a name as it is written is `wanted`.
#[inline(always)]
fn is_name(written: &[u8], wanted: &str) -> bool {
    let (written_first, wanted_first) = (written.first(), wanted.as_bytes().first());
    written == wanted.as_bytes()
        // Nearly every other name is told apart by how it begins.
        || ((written_first == wanted_first || written_first == Some(&b'\\'))
            && written.contains(&b'\\')
            && is_escaped_name(written, wanted))
}

/// The same for a name with escapes in it, known to be well formed.
#[cold]
fn is_escaped_name(written: &[u8], wanted: &str) -> bool {
    let mut written = written.iter().copied();
    let mut character = || match written.next() {
        Some(b'\\') => match written.next() {
            Some(b'u') => (0..4).try_fold(0, |value, _| {
                Some(value * 16 + char::from(written.next()?).to_digit(16)?)
            }),
            // Short escapes stand for what no wanted name holds.
            _ => Some(0),
        },
        byte => byte.map(u32::from),
    };
    wanted.bytes().all(|byte| character() == Some(byte.into())) && character().is_none()
}

const OBJECT: u64 = 1;
const ARRAY: u64 = 0;

/// What we are in: one bit for each open object or array.
#[derive(Default)]
struct NestingStack {
    depth: usize,
    /// The innermost ones, the last in the lowest bit.
    bits: u64,
    /// Those around them, 64 each. Nobody but an attacker gets here.
    outer: Vec<u64>,
}

impl NestingStack {
    #[inline(always)]
    fn enter(&mut self, kind: u64) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.spill();
        }
        self.bits = self.bits << 1 | kind;
        self.depth += 1;
    }

    #[inline(always)]
    fn leave(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.unspill();
        }
    }

    #[inline(always)]
    fn inside(&self) -> u64 {
        self.bits & 1
    }

    #[cold]
    fn spill(&mut self) {
        self.outer.push(self.bits);
    }

    #[cold]
    fn unspill(&mut self) {
        self.bits = self.outer.pop().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
