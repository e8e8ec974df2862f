//! Tokens in requests, and their comparison.

use std::borrow::Cow;
use std::fmt;

use claude_relay_protocol::Secret;
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

/// The token that requests need.
#[derive(Debug)]
pub(super) enum Expected {
    /// Itself.
    Token(Secret),
    /// What was kept of one.
    Digest(Digest),
}

/// A token's SHA-256, by which it is known again and not found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Expected {
    /// Compares in a time that tells nothing but whether the lengths are equal.
    pub(super) fn is(&self, offered: &[u8]) -> bool {
        match self {
            Self::Token(token) => token.matches(offered),
            Self::Digest(digest) => digest.is_of(offered),
        }
    }
}

impl Digest {
    /// The digest of a token.
    #[must_use]
    pub fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Returns whether it is the digest of `token`.
    #[must_use]
    pub fn is_of(&self, token: &[u8]) -> bool {
        // The time tells of a digest alone, which nobody can choose.
        *self == Self::of(token)
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What `Authorization: Bearer …` offers: nothing for another scheme.
pub(super) fn in_header(value: &[u8]) -> &[u8] {
    const SCHEME: &[u8] = b"bearer ";
    match value.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token.trim_ascii(),
        _ => b"",
    }
}

/// The values of all `token=…` pairs of a query. A plus sign stands for itself,
/// because many generated tokens contain some and are pasted unescaped.
pub(super) fn in_query(query: &str) -> impl Iterator<Item = Cow<'_, [u8]>> {
    query
        .split('&')
        .filter_map(|pair| Some(percent_decode_str(pair.strip_prefix("token=")?).into()))
}
