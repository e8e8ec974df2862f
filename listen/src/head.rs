//! Validation of request heads before hyper parses them.
//!
//! hyper answers an invalid head without a reason in the body, and accepts
//! input that RFC 9112 allows a recipient to accept: a bare LF as the end of a
//! line, a body whose length is given twice. An intermediary may parse such
//! input differently and see other requests in the same bytes, which makes
//! request smuggling possible. This module uses the same parser with stricter
//! rules and gives a reason for each refusal.

use std::str::FromStr as _;

use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE};
use hyper::{StatusCode, Uri};
use memchr::memchr_iter;

/// Maximum number of header fields, and their maximum total size. Browsers stay
/// below 50 fields and 16 KiB, including cookies of other servers on the same
/// host.
pub(crate) const MAX_FIELDS: usize = 100;
const MAX_FIELDS_BYTES: usize = 32 << 10;

/// Maximum length of path and query. A token and a stream id need far less.
const MAX_URL_BYTES: usize = 16 << 10;

/// Maximum size of a head. It is larger than the longest URL and fields
/// together, so that the error can name the one that is too long.
pub(crate) const MAX_HEAD_BYTES: usize = 64 << 10;

/// Header fields after which bytes other than the next head may follow.
const ENDS_KEEP_ALIVE: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

/// Returns true if something other than another head may follow this one. The
/// connection is then closed after the response, because only hyper knows the
/// end of what follows.
#[must_use]
pub fn closes_connection(headers: &HeaderMap) -> bool {
    ENDS_KEEP_ALIVE.iter().any(|name| headers.contains_key(name))
}

/// A complete head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Length, including the empty line.
    pub bytes: usize,
    /// True if something other than another head may follow.
    pub ends_keep_alive: bool,
    /// True if the request shows the token.
    pub shows_token: bool,
}

/// Reason for refusing a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// The head violates the grammar of RFC 9112.
    #[error("malformed request: {0}")]
    Syntax(#[from] httparse::Error),
    /// A line ends with LF alone.
    #[error("malformed request: a line must end with CR and LF")]
    BareLineFeed,
    /// The target is not a URL.
    #[error("malformed request: invalid URL")]
    Url,
    /// The length is not a number, or is given more than once.
    #[error("Content-Length: expected one whole number")]
    Length,
    /// The transfer encoding is not `chunked`, or the request is HTTP/1.0.
    #[error("Transfer-Encoding: expected chunked, once, in HTTP/1.1")]
    Encoding,
    /// Both length and transfer encoding are given.
    #[error("Content-Length and Transfer-Encoding must not come together")]
    TwoLengths,
    /// The URL is too long.
    #[error("the URL is too long")]
    UrlTooLong,
    /// The fields together are too large.
    #[error("the header fields are too large")]
    FieldsTooLarge,
    /// There are too many fields.
    #[error("there are more than {MAX_FIELDS} header fields")]
    TooManyFields,
}

impl BadHead {
    /// Returns the status code of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UrlTooLong => StatusCode::URI_TOO_LONG,
            Self::FieldsTooLarge | Self::TooManyFields => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Finds the head at the beginning of `bytes`. Returns `None` while it is
/// incomplete. `shows_token` tells whether a request shows the token.
///
/// # Errors
///
/// Returns an error as soon as `bytes` cannot become a valid head within the
/// limits.
pub fn find(
    bytes: &[u8],
    shows_token: impl FnOnce(&httparse::Request<'_, '_>) -> bool,
) -> Result<Option<Head>, BadHead> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let whole = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => Some(length),
        Ok(httparse::Status::Partial) => None,
        Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooManyFields),
        Err(error) => return Err(error.into()),
    };
    if has_bare_line_feed(&bytes[..whole.unwrap_or(bytes.len())]) {
        return Err(BadHead::BareLineFeed);
    }
    let url_bytes = request.path.map(str::len);
    if url_bytes.is_some_and(|bytes| bytes > MAX_URL_BYTES) {
        return Err(BadHead::UrlTooLong);
    }
    let Some(length) = whole else {
        return match url_bytes {
            _ if bytes.len() < MAX_HEAD_BYTES => Ok(None),
            None => Err(BadHead::UrlTooLong),
            Some(_) => Err(BadHead::FieldsTooLarge),
        };
    };
    check(&request)?;
    let ends_keep_alive =
        ENDS_KEEP_ALIVE.iter().any(|name| values(&request, name).next().is_some());
    let shows_token = shows_token(&request);
    Ok(Some(Head { bytes: length, ends_keep_alive, shows_token }))
}

/// Returns true if a line does not end with CR and LF.
fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// Checks what the parser does not: the URL, the size of the fields, and the
/// framing of the body.
fn check(request: &httparse::Request<'_, '_>) -> Result<(), BadHead> {
    Uri::from_str(request.path.unwrap_or_default()).map_err(|_| BadHead::Url)?;
    let sizes = request.headers.iter().map(|field| field.name.len() + field.value.len());
    if sizes.map(|bytes| bytes + ": \r\n".len()).sum::<usize>() > MAX_FIELDS_BYTES {
        return Err(BadHead::FieldsTooLarge);
    }
    let mut lengths = values(request, &CONTENT_LENGTH);
    let length = lengths.next();
    let is_number = |value: &[u8]| {
        let digits = std::str::from_utf8(value).ok().filter(|text| !text.starts_with('+'));
        digits.is_some_and(|digits| digits.parse::<u64>().is_ok())
    };
    if length.is_some_and(|length| !is_number(length)) || lengths.next().is_some() {
        return Err(BadHead::Length);
    }
    let mut encodings = values(request, &TRANSFER_ENCODING);
    let Some(encoding) = encodings.next() else { return Ok(()) };
    if length.is_some() {
        return Err(BadHead::TwoLengths);
    }
    let is_supported = request.version == Some(1) && encoding.eq_ignore_ascii_case(b"chunked");
    if !is_supported || encodings.next().is_some() {
        return Err(BadHead::Encoding);
    }
    Ok(())
}

/// Returns the values of all fields with this name.
fn values<'a>(
    request: &'a httparse::Request<'_, '_>,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    let fields = request.headers.iter();
    fields.filter(move |field| field.name.eq_ignore_ascii_case(name.as_str())).map(|f| f.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(bytes: &[u8]) -> Result<Option<Head>, BadHead> {
        super::find(bytes, |_| false)
    }

    fn length(text: &str) -> usize {
        find(text.as_bytes()).unwrap().unwrap().bytes
    }

    fn refused(text: &str) -> BadHead {
        find(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        let head = "GET /ws?a=b HTTP/1.1\r\nHost: x\r\nX: content-length:\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(find(&head.as_bytes()[..end]), Ok(None), "{end}");
        }
        assert_eq!(length(head), head.len());
        assert_eq!(
            length(&format!("{head}GET / HTTP/1.1\n")),
            head.len(),
            "the next head is not included"
        );
    }

    #[test]
    fn a_body_or_an_upgrade_ends_keep_alive() {
        let ends_keep_alive = |fields: &str| {
            let text = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\n\n");
            find(text.as_bytes()).unwrap().unwrap().ends_keep_alive
        };
        assert!(!ends_keep_alive(""));
        assert!(!ends_keep_alive("X-Upgrade: y\r\n"));
        for field in ["Content-Length: 0", "TRANSFER-encoding: chunked", "uPGRADE: websocket"] {
            assert!(ends_keep_alive(&format!("{field}\r\n")), "{field}");
        }
        let mut headers = HeaderMap::new();
        assert!(!super::closes_connection(&headers));
        headers.insert(CONTENT_LENGTH, 0.into());
        assert!(super::closes_connection(&headers));
    }

    #[test]
    fn a_bare_line_feed_is_refused_at_once() {
        for text in [
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\r\nHost: x\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\n",
            "\nGET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(refused(text), BadHead::BareLineFeed, "{text:?}");
        }
    }

    #[test]
    fn input_other_than_http_is_refused_at_once() {
        for text in ["\x16\x03\x01", "SSH-2.0-x\r\n", "GET / HTTP/2", "GET / HTTP/1.1\r\n a"] {
            assert!(matches!(refused(text), BadHead::Syntax(_)), "{text:?}");
        }
        assert_eq!(refused("GET http:///x HTTP/1.1\r\n\r\n"), BadHead::Url);
    }

    #[test]
    fn the_length_of_a_body_is_given_once() {
        let head = |fields: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        for (fields, bad) in [
            ("Content-Length: +1", BadHead::Length),
            ("Content-Length: ", BadHead::Length),
            ("Content-Length: 1, 1", BadHead::Length),
            ("Content-Length: 99999999999999999999", BadHead::Length),
            ("Content-Length: 1\r\ncontent-length: 1", BadHead::Length),
            ("Transfer-Encoding: xchunked", BadHead::Encoding),
            ("Transfer-Encoding: gzip, chunked", BadHead::Encoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", BadHead::Encoding),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked", BadHead::TwoLengths),
            ("TRANSFER-ENCODING: chunked\r\nCONTENT-LENGTH: 1", BadHead::TwoLengths),
        ] {
            assert_eq!(refused(&head(fields)), bad, "{fields}");
        }
        let old = head("Transfer-Encoding: chunked").replace("1.1", "1.0");
        assert_eq!(refused(&old), BadHead::Encoding);
        for fields in ["Content-Length: 0017", "Transfer-Encoding: Chunked"] {
            assert_eq!(length(&head(fields)), head(fields).len());
        }
    }

    #[test]
    fn the_bounds_are_exact() {
        let of = |url: usize, fields: usize, bytes: usize| {
            let (url, field) = ("x".repeat(url - 1), "x".repeat(bytes - "X: \r\n".len()));
            let fields = "Y:\r\n".repeat(fields - 1);
            find(format!("GET /{url} HTTP/1.1\r\n{fields}X: {field}\r\n\r\n").as_bytes())
        };
        assert!(of(MAX_URL_BYTES, 1, MAX_FIELDS_BYTES).is_ok_and(|head| head.is_some()));
        assert!(of(1, MAX_FIELDS, 100).is_ok_and(|head| head.is_some()));
        assert_eq!(of(MAX_URL_BYTES + 1, 1, 100), Err(BadHead::UrlTooLong));
        assert_eq!(of(1, 1, MAX_FIELDS_BYTES + 1), Err(BadHead::FieldsTooLarge));
        assert_eq!(of(1, MAX_FIELDS + 1, 600), Err(BadHead::TooManyFields));
        // Endless input is refused at the limit.
        let endless = |start: &str, bytes| find(&[start.as_bytes(), &vec![b'x'; bytes]].concat());
        let field = "GET / HTTP/1.1\r\nX: ";
        assert_eq!(endless(field, MAX_HEAD_BYTES - field.len() - 1), Ok(None));
        assert_eq!(endless(field, MAX_HEAD_BYTES - field.len()), Err(BadHead::FieldsTooLarge));
        assert_eq!(endless("GET /", MAX_HEAD_BYTES), Err(BadHead::UrlTooLong));
    }

    proptest! {
        /// For every split of the input, a result is not revised when more
        /// bytes arrive.
        #[test]
        fn a_result_is_not_revised(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("GET / HTTP/1.1\r\n".to_owned()),
                    Just("Content-Length: 5\r\n".to_owned()),
                    Just("Transfer-Encoding: chunked\r\n".to_owned()),
                    Just("\r\n".to_owned()),
                    "[A-Za-z:/ \r\n\t\0\u{e4}]{0,12}",
                ],
                0..12,
            ),
        ) {
            let bytes = pieces.concat().into_bytes();
            let mut result = Ok(None);
            for end in 0..=bytes.len() {
                let now = find(&bytes[..end]);
                match &result {
                    Ok(None) => result = now,
                    Ok(Some(_)) => prop_assert_eq!(&now, &result),
                    Err(_) => prop_assert!(now.is_err()),
                }
            }
        }
    }
}
