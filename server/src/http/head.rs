//! The head of a request, judged before hyper sees it.
//!
//! hyper answers a head that it cannot read without a word, and takes what
//! RFC 9112 lets it take: a bare LF for the end of a line, a body that tells
//! its length in two ways. Others on the way of a request may read those
//! otherwise and see other requests in the same bytes, which is how requests
//! are smuggled. Here a head is read by the same parser, held to narrower
//! rules, and refused with a reason.

use std::str::FromStr as _;

use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING, UPGRADE};
use hyper::{StatusCode, Uri};
use memchr::memchr_iter;

/// How many header fields a request may have, and how large they may be
/// together. Browsers stay below 50 fields and 16 KiB, cookies of others
/// included.
pub(super) const FIELDS: usize = 100;
const FIELDS_BYTES: usize = 32 << 10;

/// How long the path and query of a request may be. A token and a stream id
/// fit many times.
const URL_BYTES: usize = 16 << 10;

/// Where reading ends, whatever of a head has come: it holds a URL and fields
/// of the longest, and some more, so that each can be named when it is too
/// long.
pub(super) const HEAD_BYTES: usize = 64 << 10;

/// Behind a head with one of these something else may come than the next head.
const ENDS_KEEP_ALIVE: [HeaderName; 3] = [CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE];

/// Whether something else than the next head may follow this one. Then the
/// connection is not used for another request, because the end of what follows
/// is known to hyper alone.
pub(super) fn closes_connection(headers: &HeaderMap) -> bool {
    ENDS_KEEP_ALIVE.iter().any(|name| headers.contains_key(name))
}

/// A head that is whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// How long it is, its empty line included.
    pub bytes: usize,
    /// Whether something else than the next head may follow it.
    pub ends_keep_alive: bool,
}

/// Why a head is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// It is not what RFC 9112 calls a request.
    #[error("malformed request: {0}")]
    Syntax(#[from] httparse::Error),
    /// A line ends with LF alone.
    #[error("malformed request: a line must end with CR and LF")]
    BareLineFeed,
    /// The target is no URL.
    #[error("malformed request: invalid URL")]
    Url,
    /// A length that is no number, or several of them.
    #[error("Content-Length: expected one whole number")]
    Length,
    /// An encoding of the body other than chunks, or chunks in HTTP/1.0.
    #[error("Transfer-Encoding: expected chunked, once, in HTTP/1.1")]
    Encoding,
    /// The body tells its end in two ways.
    #[error("Content-Length and Transfer-Encoding must not come together")]
    TwoLengths,
    /// The URL is over its bound.
    #[error("the URL is too long")]
    UrlTooLong,
    /// The fields together are over theirs.
    #[error("the header fields are too large")]
    FieldsTooLarge,
    /// So is their number.
    #[error("there are more than {FIELDS} header fields")]
    TooManyFields,
}

impl BadHead {
    /// The status that tells it.
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

/// The head at the beginning of `bytes`; none while it is not whole.
///
/// # Errors
///
/// When it is none, or over a bound; as soon as what has come shows it.
pub fn find(bytes: &[u8]) -> Result<Option<Head>, BadHead> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
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
    if url_bytes.is_some_and(|bytes| bytes > URL_BYTES) {
        return Err(BadHead::UrlTooLong);
    }
    let Some(length) = whole else {
        return match url_bytes {
            _ if bytes.len() < HEAD_BYTES => Ok(None),
            None => Err(BadHead::UrlTooLong),
            Some(_) => Err(BadHead::FieldsTooLarge),
        };
    };
    check(&request)?;
    let ends_keep_alive =
        ENDS_KEEP_ALIVE.iter().any(|name| values(&request, name).next().is_some());
    Ok(Some(Head { bytes: length, ends_keep_alive }))
}

/// Whether a line ends otherwise than with CR and LF.
fn has_bare_line_feed(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// Checks a whole head for what the parser leaves to others.
fn check(request: &httparse::Request<'_, '_>) -> Result<(), BadHead> {
    Uri::from_str(request.path.unwrap_or_default()).map_err(|_| BadHead::Url)?;
    let sizes = request.headers.iter().map(|field| field.name.len() + field.value.len());
    if sizes.map(|bytes| bytes + ": \r\n".len()).sum::<usize>() > FIELDS_BYTES {
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
    let is_spoken = request.version == Some(1) && encoding.eq_ignore_ascii_case(b"chunked");
    if !is_spoken || encodings.next().is_some() {
        return Err(BadHead::Encoding);
    }
    Ok(())
}

/// The values of all fields of this name.
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

    fn length(text: &str) -> usize {
        find(text.as_bytes()).unwrap().unwrap().bytes
    }

    fn refused(text: &str) -> BadHead {
        find(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_head_is_waited_for_and_ends_with_its_empty_line() {
        let head = "GET /ws?a=b HTTP/1.1\r\nHost: x\r\nX: content-length:\r\n\r\n";
        for end in 0..head.len() {
            assert_eq!(find(&head.as_bytes()[..end]), Ok(None), "{end}");
        }
        assert_eq!(length(head), head.len());
        assert_eq!(length(&format!("{head}GET / HTTP/1.1\n")), head.len(), "the next is not seen");
    }

    #[test]
    fn what_else_may_follow_is_known() {
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
    fn a_bare_line_feed_is_refused_as_soon_as_it_is_there() {
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
    fn what_is_no_http_is_refused_as_soon_as_it_is_there() {
        for text in ["\x16\x03\x01", "SSH-2.0-x\r\n", "GET / HTTP/2", "GET / HTTP/1.1\r\n a"] {
            assert!(matches!(refused(text), BadHead::Syntax(_)), "{text:?}");
        }
        assert_eq!(refused("GET http:///x HTTP/1.1\r\n\r\n"), BadHead::Url);
    }

    #[test]
    fn a_body_says_once_how_long_it_is() {
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
        assert!(of(URL_BYTES, 1, FIELDS_BYTES).is_ok_and(|head| head.is_some()));
        assert!(of(1, FIELDS, 100).is_ok_and(|head| head.is_some()));
        assert_eq!(of(URL_BYTES + 1, 1, 100), Err(BadHead::UrlTooLong));
        assert_eq!(of(1, 1, FIELDS_BYTES + 1), Err(BadHead::FieldsTooLarge));
        assert_eq!(of(1, FIELDS + 1, 600), Err(BadHead::TooManyFields));
        // What has no end is not waited for.
        let endless = |start: &str, bytes| find(&[start.as_bytes(), &vec![b'x'; bytes]].concat());
        let field = "GET / HTTP/1.1\r\nX: ";
        assert_eq!(endless(field, HEAD_BYTES - field.len() - 1), Ok(None));
        assert_eq!(endless(field, HEAD_BYTES - field.len()), Err(BadHead::FieldsTooLarge));
        assert_eq!(endless("GET /", HEAD_BYTES), Err(BadHead::UrlTooLong));
    }

    proptest! {
        /// However the bytes are cut on their way: what is said of some is
        /// never taken back when more have come.
        #[test]
        fn what_has_been_judged_stays_judged(
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
            let mut judged = Ok(None);
            for end in 0..=bytes.len() {
                let now = find(&bytes[..end]);
                match &judged {
                    Ok(None) => judged = now,
                    Ok(Some(_)) => prop_assert_eq!(&now, &judged),
                    Err(_) => prop_assert!(now.is_err()),
                }
            }
        }
    }
}
