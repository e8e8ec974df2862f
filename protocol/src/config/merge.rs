//! JSON Merge Patch (RFC 7396) on a stored configuration.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{ConfigError, MASK, MAX_DEPTH, Parsed, QueryConfig, raw};
use crate::json;

impl QueryConfig {
    /// Reads the body of `PATCH /config`: fields that are absent stay as they
    /// are in `previous`, `null` removes one, objects are merged.
    ///
    /// The patch is applied to `previous` with its secrets masked, and the
    /// result is read like a posted configuration. So the same rules hold for a
    /// patch: a secret is never sent to an address that the patch changes.
    ///
    /// # Errors
    ///
    /// Same as [`QueryConfig::parse`].
    pub fn patch(body: &[u8], previous: &Self) -> Result<Parsed, ConfigError> {
        let text = std::str::from_utf8(body).map_err(|_| ConfigError::InvalidJson)?;
        let patch: &RawValue = serde_json::from_str(text).map_err(|_| ConfigError::InvalidJson)?;
        if !json::is_object(patch) {
            return Err(ConfigError::NotAnObject);
        }
        if raw::depth(patch.get()) > MAX_DEPTH {
            return Err(ConfigError::TooDeep);
        }
        let target = serde_json::value::to_raw_value(&previous.masked())
            .map_err(|_| ConfigError::InvalidJson)?;
        let merged = merge(Some(&target), patch).ok_or(ConfigError::InvalidJson)?;
        Self::parse(merged.as_bytes(), previous)
    }

    /// Returns the names of the secrets that are set, such as
    /// `anthropicApiKey` or `env.TOKEN`, in the order of the fields.
    #[must_use]
    pub fn secret_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Ok(masked) = serde_json::to_value(self.masked()) {
            collect(&masked, &mut String::new(), &mut names);
        }
        names
    }
}

/// Applies `patch` to `target`. Returns `None` if a name in it is not valid
/// text.
fn merge(target: Option<&RawValue>, patch: &RawValue) -> Option<String> {
    if !json::is_object(patch) {
        return Some(raw::compact(patch.get()));
    }
    let target = target.filter(|target| json::is_object(target));
    let mut entries: Vec<(Cow<'_, str>, String)> = match target {
        Some(target) => json::entries(target.get())
            .ok()?
            .into_iter()
            .map(|(name, value)| (name, value.get().to_owned()))
            .collect(),
        None => Vec::new(),
    };
    for (name, value) in json::entries(patch.get()).ok()? {
        let at = entries.iter().position(|(known, _)| *known == name);
        if value.get() == "null" {
            if let Some(at) = at {
                entries.remove(at);
            }
            continue;
        }
        let before = match at {
            Some(at) => Some(serde_json::from_str::<&RawValue>(&entries[at].1).ok()?),
            None => None,
        };
        let merged = merge(before, value)?;
        match at {
            Some(at) => entries[at].1 = merged,
            None => entries.push((name, merged)),
        }
    }
    let entries: Vec<_> = entries
        .iter()
        .map(|(name, value)| format!("{}:{value}", serde_json::Value::from(&**name)))
        .collect();
    Some(format!("{{{}}}", entries.join(",")))
}

/// Adds the paths of all masks in `value`.
fn collect(value: &serde_json::Value, path: &mut String, names: &mut Vec<String>) {
    let length = path.len();
    let mut each = |name: &str, value: &serde_json::Value| {
        if length > 0 {
            path.push('.');
        }
        path.push_str(name);
        collect(value, path, names);
        path.truncate(length);
    };
    match value {
        serde_json::Value::String(text) if text.contains(MASK) => names.push(path.clone()),
        serde_json::Value::Object(map) => map.iter().for_each(|(name, value)| each(name, value)),
        serde_json::Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| each(&index.to_string(), value));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(before: &str, patch: &str) -> Result<QueryConfig, String> {
        let before = QueryConfig::parse(before.as_bytes(), &QueryConfig::default()).unwrap().config;
        QueryConfig::patch(patch.as_bytes(), &before)
            .map(|parsed| parsed.config)
            .map_err(|error| error.to_string())
    }

    fn posted(body: &str) -> QueryConfig {
        QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config
    }

    #[test]
    fn absent_fields_stay_and_null_removes() {
        let before =
            r#"{"model":"a","anthropicApiKey":"sk-secret","env":{"A":"1","B":"2"},"betas":["x"]}"#;
        for (patch, after) in [
            ("{}", before),
            (
                r#"{"model":"b"}"#,
                r#"{"model":"b","anthropicApiKey":"sk-secret","env":{"A":"1","B":"2"},"betas":["x"]}"#,
            ),
            (r#"{"model":null,"env":null,"betas":null}"#, r#"{"anthropicApiKey":"sk-secret"}"#),
            (
                r#"{"anthropicApiKey":null,"betas":["y"]}"#,
                r#"{"model":"a","env":{"A":"1","B":"2"},"betas":["y"]}"#,
            ),
            (
                r#"{"env":{"A":null,"B":"3","C":"4"}}"#,
                r#"{"model":"a","anthropicApiKey":"sk-secret","env":{"B":"3","C":"4"},"betas":["x"]}"#,
            ),
        ] {
            assert_eq!(patched(before, patch).unwrap(), posted(after), "{patch}");
        }
    }

    #[test]
    fn spelling_of_what_is_not_patched_stays() {
        let before = r#"{"outputFormat":{"type":"json_schema","schema":{"b":1.0,"a":1e400}}}"#;
        let after = patched(before, r#"{"model":"m"}"#).unwrap();
        assert_eq!(after.output_schema.unwrap().get(), r#"{"b":1.0,"a":1e400}"#);
    }

    #[test]
    fn a_secret_does_not_follow_to_a_patched_address() {
        let before = r#"{"anthropicApiKey":"sk-secret","mcpServers":{"s":{"type":"http","url":"http://a/","headers":{"X":"secret"}}}}"#;
        let error = patched(before, r#"{"anthropicBaseUrl":"http://evil/"}"#).unwrap_err();
        assert!(error.starts_with("anthropicBaseUrl: changed while"), "{error}");
        let error = patched(before, r#"{"mcpServers":{"s":{"url":"http://evil/"}}}"#).unwrap_err();
        assert!(error.starts_with("mcpServers.s: \"***\" keeps a value only while"), "{error}");
        assert!(
            patched(before, r#"{"anthropicBaseUrl":"http://b/","anthropicApiKey":"k"}"#).is_ok()
        );
    }

    #[test]
    fn a_patch_that_is_no_object_is_refused() {
        for patch in ["[]", "null", "5", "x", "{\"model\":5}"] {
            assert!(patched("{}", patch).is_err(), "{patch}");
        }
    }

    #[test]
    fn secrets_are_named_and_not_shown() {
        let config = posted(
            r#"{"anthropicApiKey":"secret","env":{"FOO":"secret"},"anthropicBaseUrl":"http://u:secret@h/","mcpServers":{"x":{"type":"http","url":"http://h/","headers":{"Authorization":"secret"}}}}"#,
        );
        assert_eq!(
            config.secret_names(),
            [
                "mcpServers.x.headers.Authorization",
                "env.FOO",
                "anthropicApiKey",
                "anthropicBaseUrl"
            ]
        );
        assert!(QueryConfig::default().secret_names().is_empty());
    }
}
