//! Single pass over a line of JSON: validates that it is an object and finds
//! some of its fields.
//!
//! Every line of the agent is scanned, and this is most of the relay's work per
//! line, hence the hand-written code. The performance comes from these choices:
//!
//! * Most bytes are inside strings. They are skipped in blocks of 16 bytes, and in
//!   long strings of 64, with the vectors of the processor, which are chosen once
//!   for a line.
//! * The position is the rest of the text, passed between functions in
//!   registers. An index in a struct took half as long again.
//! * What is passed on in memory is there long before, as constants are. What has
//!   just been written in halves and is read as a whole waits for all stores
//!   before it, which go to the cold memory of the replay buffer.
//! * Nothing is built, copied or allocated. Nesting is a depth and one bit per
//!   level, object or array, so deep nesting needs no stack.
//! * UTF-8 is validated by vector code of a library, and only if a string holds
//!   more than ASCII: its separate pass took 7 % of the time of a line of 300 B.
//!
//! The grammar is strictly that of RFC 8259, because the text is pasted into a
//! frame.

use fearless_simd::{Level, dispatch, prelude::*, u8x16, u8x64};

/// Returns the values of `names` in the JSON object `line`, each as its raw
/// text, in the order of `names`. Of duplicate names the last counts, and names
/// may be written with escapes, as in other parsers. Lone surrogates are
/// accepted, because JSON can express them.
///
/// `names` must not contain a character with a short escape: quotes, slashes,
/// control characters. Returns `None` if `line` is not exactly one JSON object in
/// UTF-8, with optional white space around it.
#[must_use]
pub fn fields<'a, const N: usize>(
    line: &'a [u8],
    names: &[&str; N],
) -> Option<[Option<&'a [u8]>; N]> {
    dispatch!(Level::new(), simd => fields_with(simd, line, names))
}

/// Inlined with all that it calls, because it is compiled once for each
/// instruction set.
#[inline(always)]
fn fields_with<'a, S: Simd, const N: usize>(
    simd: S,
    line: &'a [u8],
    names: &[&str; N],
) -> Option<[Option<&'a [u8]>; N]> {
    let mut found = [None; N];
    let mut seen = Seen { simd, merged: u8x16::splat(simd, 0) };
    let (b'{', rest) = token(line)? else { return None };
    let (mut first, mut rest) = token(rest)?;
    while first != b'}' {
        let (name, value) = name(first, rest, &mut seen)?;
        rest = skip_value(value, &mut seen)?;
        for (wanted, found) in names.iter().zip(&mut found) {
            if is_name(name, wanted) {
                *found = value.get(..value.len() - rest.len()).map(<[u8]>::trim_ascii_start);
            }
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
    // Outside of strings there is only ASCII.
    let is_over = token(rest).is_none();
    if !is_over || !seen.is_ascii() && simdutf8::basic::from_utf8(line).is_err() {
        return None;
    }
    Some(found)
}

/// All bytes of strings, and possibly others of the same line, merged by OR.
struct Seen<S: Simd> {
    simd: S,
    merged: u8x16<S>,
}

impl<S: Simd> Seen<S> {
    #[inline(always)]
    fn is_ascii(&self) -> bool {
        self.merged.simd_ge(0x80).to_bitmask() == 0
    }
}

/// Returns the next byte that is not white space, and the rest after it.
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

/// Returns the rest after one value of any kind.
#[inline(always)]
fn skip_value<'a, S: Simd>(mut rest: &'a [u8], seen: &mut Seen<S>) -> Option<&'a [u8]> {
    let mut nesting = NestingStack::default();
    loop {
        let (first, after) = token(rest)?;
        rest = match first {
            b'"' => skip_string(after, seen)?,
            b'{' => match token(after)? {
                (b'}', after) => after,
                (first, after) => {
                    nesting.enter(OBJECT);
                    (_, rest) = name(first, after, seen)?;
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
        // A value has ended, and possibly the array or object around it.
        loop {
            if nesting.depth == 0 {
                return Some(rest);
            }
            let (next, after) = token(rest)?;
            rest = after;
            match (next, nesting.inside()) {
                (b',', OBJECT) => {
                    let (first, after) = token(rest)?;
                    (_, rest) = name(first, after, seen)?;
                    break;
                }
                (b',', _) => break,
                (b'}', OBJECT) | (b']', ARRAY) => nesting.leave(),
                _ => return None,
            }
        }
    }
}

/// Returns the name of a field as written, without quotes, and the rest after
/// its colon. `first` is its first byte.
#[inline(always)]
fn name<'a, S: Simd>(
    first: u8,
    rest: &'a [u8],
    seen: &mut Seen<S>,
) -> Option<(&'a [u8], &'a [u8])> {
    if first != b'"' {
        return None;
    }
    let after = skip_string(rest, seen)?;
    let name = rest.get(..rest.len() - after.len() - 1)?;
    match token(after)? {
        (b':', after) => Some((name, after)),
        _ => None,
    }
}

/// Returns the rest after a string whose opening quote has been consumed.
#[inline(always)]
fn skip_string<'a, S: Simd>(mut rest: &'a [u8], seen: &mut Seen<S>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = skip_plain(rest, seen).split_first()?;
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

/// Returns the rest from the first byte that is special in a string: a quote, a
/// backslash, or a control character.
#[inline(always)]
fn skip_plain<'a, S: Simd>(text: &'a [u8], seen: &mut Seen<S>) -> &'a [u8] {
    /// Number of short blocks before the switch to long ones. Most names, ids and
    /// numbers in quotes end in them.
    const SHORT_BLOCKS: usize = 3;
    let mut rest = text;
    for _ in 0..SHORT_BLOCKS {
        let Some((block, after)) = rest.split_first_chunk::<16>() else {
            return skip_plain_bytes(rest, seen);
        };
        let bytes = u8x16::from_slice(seen.simd, block);
        seen.merged |= bytes;
        let special = bytes.simd_eq(b'"') | bytes.simd_eq(b'\\') | bytes.simd_lt(b' ');
        let special = special.to_bitmask();
        if special != 0 {
            return rest.get(special.trailing_zeros() as usize..).unwrap_or_default();
        }
        rest = after;
    }
    skip_plain_blocks(rest, seen)
}

#[inline(always)]
fn skip_plain_blocks<'a, S: Simd>(text: &'a [u8], seen: &mut Seen<S>) -> &'a [u8] {
    let simd = seen.simd;
    let mut merged = u8x64::splat(simd, 0);
    let mut rest = text;
    let mut found = 0;
    while let Some((block, after)) = rest.split_first_chunk() {
        found = special_bytes(simd, block, &mut merged);
        if found != 0 {
            break;
        }
        rest = after;
    }
    // The last block begins with bytes that are known to be plain.
    if found == 0
        && let Some(last) = text.last_chunk()
    {
        found = special_bytes(simd, last, &mut merged);
        rest = last;
    }
    if merged.simd_ge(0x80).to_bitmask() != 0 {
        seen.merged = u8x16::splat(simd, 0x80);
    }
    match (found, rest.len()) {
        (0, 64) => &[],
        (0, _) => skip_plain_bytes(rest, seen),
        _ => rest.get(found.trailing_zeros() as usize..).unwrap_or_default(),
    }
}

/// Returns a bit for each byte of a block that is special in a string.
#[inline(always)]
fn special_bytes<S: Simd>(simd: S, block: &[u8; 64], merged: &mut u8x64<S>) -> u64 {
    let bytes = u8x64::from_slice(simd, block);
    *merged |= bytes;
    let special = bytes.simd_eq(b'"') | bytes.simd_eq(b'\\') | bytes.simd_lt(b' ');
    special.to_bitmask()
}

/// Less than a block is left.
#[inline(always)]
fn skip_plain_bytes<'a, S: Simd>(mut rest: &'a [u8], seen: &mut Seen<S>) -> &'a [u8] {
    let mut merged = 0;
    while let [byte, after @ ..] = rest
        && !matches!(byte, b'"' | b'\\' | ..0x20)
    {
        merged |= byte;
        rest = after;
    }
    seen.merged |= u8x16::splat(seen.simd, merged);
    rest
}

/// Returns true if a name as written is `wanted`.
#[inline(always)]
fn is_name(written: &[u8], wanted: &str) -> bool {
    let (written_first, wanted_first) = (written.first(), wanted.as_bytes().first());
    written == wanted.as_bytes()
        // The first byte rules out nearly all other names.
        || ((written_first == wanted_first || written_first == Some(&b'\\'))
            && written.contains(&b'\\')
            && is_escaped_name(written, wanted))
}

/// Compares a well-formed name that contains escapes.
#[cold]
fn is_escaped_name(written: &[u8], wanted: &str) -> bool {
    let mut written = written.iter().copied();
    let mut character = || match written.next() {
        Some(b'\\') => match written.next() {
            Some(b'u') => (0..4).try_fold(0, |value, _| {
                Some(value * 16 + char::from(written.next()?).to_digit(16)?)
            }),
            // Short escapes stand for characters that no wanted name contains.
            _ => Some(0),
        },
        byte => byte.map(u32::from),
    };
    wanted.bytes().all(|byte| character() == Some(byte.into())) && character().is_none()
}

const OBJECT: u64 = 1;
const ARRAY: u64 = 0;

/// Open objects and arrays, one bit each.
#[derive(Default)]
struct NestingStack {
    depth: usize,
    /// The innermost levels, the last one in the lowest bit.
    bits: u64,
    /// Outer levels, 64 per word. Only hostile input needs them.
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
