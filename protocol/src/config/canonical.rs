//! Comparison of configurations as values: order of names, white space and the
//! spelling of numbers and strings do not count.

use serde_json::value::RawValue;

use super::{Json, QueryConfig, Secret};
use crate::json;

impl QueryConfig {
    /// Returns true if both mean the same.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        self == other || self.canonical() == other.canonical()
    }

    fn canonical(&self) -> Self {
        let mut config = self.clone();
        for secret in [&mut config.agents, &mut config.mcp_servers].into_iter().flatten() {
            *secret = Secret::new(canonical_text(secret.expose()));
        }
        for json in config.output_schema.iter_mut().chain(config.other.values_mut()) {
            *json = Json(canonical_text(json.get()).into());
        }
        if let Some(env) = &mut config.env {
            env.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        config
    }
}

fn canonical_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) => push(value, &mut out),
        Err(_) => out.push_str(text),
    }
    out
}

fn push(value: &RawValue, out: &mut String) {
    let text = value.get();
    if let Ok(mut entries) = json::entries(text) {
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        out.push('{');
        for (name, value) in entries {
            push_string(&name, out);
            out.push(':');
            push(value, out);
            out.push(',');
        }
        out.push('}');
    } else if let Ok(elements) = json::elements(value) {
        out.push('[');
        for element in elements {
            push(element, out);
            out.push(',');
        }
        out.push(']');
    } else if let Some(string) = json::string(value) {
        push_string(&string, out);
    } else if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        push_number(text, out);
    } else {
        out.push_str(text);
    }
}

fn push_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Appends a number as its significant digits and the exponent of the last.
fn push_number(text: &str, out: &mut String) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches(['-', '0']);
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        out.push('0');
        return;
    }
    let Ok(exponent) = exponent.parse::<i64>() else { return out.push_str(text) };
    let zeros = (digits.len() - significant.len()) as i64;
    let exponent = exponent.saturating_sub(fraction.len() as i64).saturating_add(zeros);
    let sign = if whole.starts_with('-') { "-" } else { "" };
    out.push_str(&format!("{sign}{significant}e{exponent}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_in_any_spelling() {
        let same = |one: &str, other: &str| canonical_text(one) == canonical_text(other);
        for (one, other) in [
            (
                r#"{"a":1,"b":[{"c":"x","d":null}]}"#,
                "{ \"b\":[ {\"d\":null, \"c\":\"\\u0078\"} ],\"a\":1.0 }",
            ),
            ("[100,0.5,-1200,0]", "[1e2,5E-1,-1.2e+3,-0.00]"),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("12345678901234567890", "1234567890123456789e1"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("[1,2]", "[2,1]"),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            ("9007199254740993", "9007199254740992"),
            ("1", "-1"),
            ("10", "1"),
            ("0.1", "0.01"),
            ("{}", "[]"),
            ("null", "false"),
            (r#"["a,b"]"#, r#"["a","b"]"#),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn configurations_are_equal_in_any_order_and_differ_by_a_secret() {
        let parse = |body: &str| {
            QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config
        };
        let one = parse(
            r#"{"env":{"A":"1","B":"2"},"mcpServers":{"s":{"command":"c","env":{"X":"1","Y":"2"}}}}"#,
        );
        let other = parse(
            r#"{"mcpServers":{"s":{"env":{"Y":"2","X":"1"},"command":"c"}},"env":{"B":"2","A":"1"}}"#,
        );
        assert!(one != other && one.is_equivalent(&other));
        let changed = parse(
            r#"{"mcpServers":{"s":{"env":{"Y":"3","X":"1"},"command":"c"}},"env":{"B":"2","A":"1"}}"#,
        );
        assert!(!one.is_equivalent(&changed));
    }
}
