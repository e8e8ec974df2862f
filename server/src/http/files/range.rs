//! The `Range` of a request.

use std::ops::Range;

use super::error::FileError;

/// Returns the part of a file of `length` bytes that `header` asks for; `None`
/// for the whole file. A range that is not understood, or more than one, asks
/// for nothing in particular (RFC 9110).
pub(super) fn parse(header: Option<&str>, length: u64) -> Result<Option<Range<u64>>, FileError> {
    let Some((first, last)) = header.and_then(bounds) else { return Ok(None) };
    let unsatisfiable = FileError::Unsatisfiable { length };
    match (first, last) {
        (None, None) => Ok(None),
        (Some(first), Some(last)) if last < first => Ok(None),
        (Some(first), _) if first >= length => Err(unsatisfiable),
        (Some(first), last) => {
            let end = last.map_or(length, |last| last.saturating_add(1).min(length));
            Ok(Some(first..end))
        }
        (None, Some(suffix)) if suffix == 0 || length == 0 => Err(unsatisfiable),
        (None, Some(suffix)) => Ok(Some(length.saturating_sub(suffix)..length)),
    }
}

/// Reads `bytes=first-last`, each of which may be left out.
fn bounds(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| match text {
        "" => Some(None),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            // A number that is too large lies behind the end of every file.
            Some(Some(text.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    };
    Some((number(first)?, number(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_in_rfc_9110() {
        for (header, expected) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=2-4", Some(2..5)),
            ("bytes=2-", Some(2..10)),
            ("bytes=2-99999999999999999999999", Some(2..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-100", Some(0..10)),
            ("Bytes= 9-9", Some(9..10)),
            ("bytes=4-2", None),
            ("bytes=-", None),
            ("bytes=a-b", None),
            ("bytes=1-2,4-5", None),
            ("bytes=+1-2", None),
            ("lines=1-2", None),
            ("bytes", None),
        ] {
            assert_eq!(parse(Some(header), 10).unwrap(), expected, "{header}");
        }
        assert_eq!(parse(None, 10).unwrap(), None);
        for header in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert!(parse(Some(header), 10).is_err(), "{header}");
        }
        for header in ["bytes=0-", "bytes=-1"] {
            assert!(parse(Some(header), 0).is_err(), "{header}");
        }
    }
}
