//! Durations in the spelling of flags and variables: `500ms`, `5s`, `1h30m`.

use std::time::Duration;

/// Short list of valid spellings, for help and error texts.
pub const EXAMPLES: &str = "500ms, 30s or 10m";

/// Units, each with its length in milliseconds.
const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A number without a unit.
    #[error("expected a duration with a unit, got {0:?}: did you mean {0}s?")]
    NoUnit(String),
    /// Anything else.
    #[error("expected a duration such as {EXAMPLES}, got {0:?}")]
    Malformed(String),
}

/// Parses a duration: numbers, each followed by its unit `ms`, `s`, `m`, `h` or
/// `d`, without blanks. Zero may be written `0`.
///
/// # Errors
///
/// Returns an error if `text` has another form or is too long for a
/// [`Duration`].
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(is_number)
        && text.parse::<f64>().is_ok()
    {
        return Err(DurationError::NoUnit(crate::text::head(text, 30).to_owned()));
    }
    parts(text).ok_or_else(|| DurationError::Malformed(crate::text::cut(text, 30).into_owned()))
}

fn parts(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let number;
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        (number, rest) = rest.split_at(end);
        let end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        let unit;
        (unit, rest) = rest.split_at(end);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let part = match number.parse::<u64>() {
            Ok(whole) => Duration::from_millis(whole.checked_mul(*scale)?),
            Err(_) => {
                let scale = Duration::from_millis(*scale).as_secs_f64();
                Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()?
            }
        };
        total = total.checked_add(part)?;
        if rest.is_empty() {
            return Some(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("1.5s", 1500),
            ("5s", 5000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn a_plain_number_is_refused_with_a_suggestion() {
        assert_eq!(
            parse("5").unwrap_err().to_string(),
            "expected a duration with a unit, got \"5\": did you mean 5s?"
        );
        assert!(matches!(parse("1.5"), Err(DurationError::NoUnit(_))));
    }

    #[test]
    fn other_text_is_refused() {
        for text in
            ["", "s", "-1s", "+1s", "5x", "5S", "5 s", "1e3s", "NaNs", "infs", "5s5", ".s", "1.2.3"]
        {
            assert!(matches!(parse(text), Err(DurationError::Malformed(_))), "{text}");
        }
        assert!(parse("99999999999999999999d").is_err());
        assert!(parse(&"9".repeat(10_000)).unwrap_err().to_string().len() < 200);
    }
}
