//! The token: where one is shown, and how two are compared.

use std::borrow::Cow;

use claude_relay_protocol::Secret;
use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;
use subtle::ConstantTimeEq as _;

/// Compares in a time that tells nothing but whether the lengths are equal.
pub(super) fn equal(token: &Secret, offered: &[u8]) -> bool {
    token.expose().as_bytes().ct_eq(offered).into()
}

/// What `Authorization: Bearer …` offers: nothing for another scheme.
pub(super) fn in_header(value: &HeaderValue) -> &[u8] {
    const SCHEME: &[u8] = b"bearer ";
    let value = value.as_bytes();
    match value.split_at_checked(SCHEME.len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(SCHEME) => token.trim_ascii(),
        _ => b"",
    }
}

/// What each `token=…` of a query offers. A plus sign is one: the tokens of
/// many generators hold some, and people paste them as they are.
pub(super) fn in_query(query: &str) -> impl Iterator<Item = Cow<'_, [u8]>> {
    query
        .split('&')
        .filter_map(|pair| Some(percent_decode_str(pair.strip_prefix("token=")?).into()))
}
