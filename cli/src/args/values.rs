//! Values of options: durations and headers.

use std::time::Duration;

use claude_relay_protocol::duration::{self, DurationError};

pub(super) fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Takes a text with something in it: an empty one comes from a variable that is
/// not set, and would stand for something else than was meant.
pub(super) fn parse_text(text: &str) -> Result<String, &'static str> {
    if text.trim().is_empty() {
        return Err("it is empty, as the value of a variable that is not set");
    }
    Ok(text.to_owned())
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    duration::parse(text)
}
