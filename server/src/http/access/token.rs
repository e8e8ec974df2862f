//! Tokens in requests, and their comparison.

use std::borrow::Cow;

use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;

/// The token in `Authorization: Bearer …`; empty for another scheme.
pub(super) fn in_header(value: &HeaderValue) -> &[u8] {
    const SCHEME: &[u8] = b"bearer ";
    let value = value.as_bytes();
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
