//! Rules of the network that the documents state in words alone.

use serde_json::Value;

/// Violations in the network settings of a body, at its top or below `network`.
pub(crate) fn violations(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let network = if body["network"].is_object() { &body["network"] } else { &body };
    let mut wrong = Vec::new();
    for denied in texts(&network["denyOut"]) {
        if denied.bytes().any(|byte| byte.is_ascii_alphabetic()) && !denied.contains(':') {
            wrong.push(format!("a domain cannot be denied: {denied}"));
        }
    }
    for (domain, rules) in network["rules"].as_object().into_iter().flatten() {
        let name = domain.strip_prefix("*.").unwrap_or(domain);
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !name.contains('.') || !name.bytes().all(fits) {
            wrong.push(format!("not a domain with a rule: {domain:?}"));
        }
        for rule in rules.as_array().into_iter().flatten() {
            for (header, _) in rule["transform"]["headers"].as_object().into_iter().flatten() {
                if !header.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                    wrong.push(format!("not a header: {header:?}"));
                }
            }
        }
    }
    wrong
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
