//! Single values out of the JSON of a line, `None` where they are none.

use std::borrow::Cow;
use std::time::Duration;

use claude_relay_protocol::json::elements;
use serde_json::value::RawValue;

use crate::types::raw_json::text_of;

pub(super) fn texts(value: Option<&RawValue>) -> Option<Vec<Cow<'_, str>>> {
    let elements = elements(value?).ok()?;
    Some(elements.into_iter().filter_map(|value| text_of(Some(value))).collect())
}

pub(super) fn number(value: Option<&RawValue>) -> Option<u64> {
    serde_json::from_str(value?.get()).ok()
}

/// Milliseconds, whole or not.
pub(super) fn milliseconds(value: Option<&RawValue>) -> Option<Duration> {
    let ms: f64 = serde_json::from_str(value?.get()).ok()?;
    Duration::try_from_secs_f64(ms / 1000.0).ok()
}

pub(super) fn is_true(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get() == "true")
}
