//! Values of options: durations and headers.

use std::time::Duration;

use claude_relay_protocol::duration::{self, DurationError};

pub(super) fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(super) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    duration::parse(text)
}
