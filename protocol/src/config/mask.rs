//! Values that look like credentials in the arguments of MCP servers, and texts in
//! fields that are not known here. In the echo those are masked but for a list of
//! names: nobody knows what a field of tomorrow holds.

use serde_json::Value;

use super::MASK;

/// Endings of names that hold a credential, in lower case and without
/// separators.
const NAMES: [&str; 14] = [
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "auth",
    "credential",
    "credentials",
    "cookie",
];

/// Names of fields that are not known here and whose text may be shown, if it does
/// not look like a credential.
const SHOWN: [&str; 16] = [
    "alwaysAllow",
    "authServerMetadataUrl",
    "autoApprove",
    "callbackUrl",
    "clientId",
    "cwd",
    "description",
    "disabledTools",
    "name",
    "protocolVersion",
    "scope",
    "scopes",
    "title",
    "tools",
    "transport",
    "type",
];

/// Beginnings of values that are credentials.
const VALUES: [&str; 16] = [
    "sk-",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "e2b_",
    "npm_",
    "hf_",
    "AIza",
];

/// Shortest value with such a beginning.
const MIN_VALUE_BYTES: usize = 12;

/// Returns whether a value of this name is a credential: `--api-key`,
/// `GITHUB_TOKEN`, `Authorization`.
fn is_credential_name(name: &str) -> bool {
    let letters = name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' '));
    let name: String = letters.flat_map(char::to_lowercase).collect();
    name == "key" || NAMES.iter().any(|ending| name.ends_with(ending))
}

/// Returns `text` with what looks like a credential in it masked. `name` is
/// the name that it is the value of.
fn mask_text(name: Option<&str>, text: &str) -> String {
    if name.is_some_and(is_credential_name) && !text.is_empty() {
        return MASK.to_owned();
    }
    let named = text.find(['=', ':']).filter(|at| !text[*at..].starts_with("://"));
    if let Some(at) = named {
        let (before, after) = (&text[..at], &text[at + 1..]);
        if is_credential_name(before.trim_start_matches('-').trim()) && !after.trim().is_empty() {
            let space = if after.starts_with(' ') { " " } else { "" };
            return format!("{}{space}{MASK}", &text[..=at]);
        }
        if text[at..].starts_with('=') && (after.contains("://") || is_credential(after)) {
            return format!("{}{}", &text[..=at], mask_text(None, after));
        }
    }
    // ASCII letters have one byte in either case.
    if let Some(at) = text.to_ascii_lowercase().find("bearer ") {
        return format!("{}{MASK}", &text[..at + "bearer ".len()]);
    }
    if is_credential(text) {
        return MASK.to_owned();
    }
    match text.split_once("://") {
        Some((scheme, _))
            if !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric()) =>
        {
            mask_url(text)
        }
        _ => text.to_owned(),
    }
}

fn is_credential(text: &str) -> bool {
    text.len() >= MIN_VALUE_BYTES && VALUES.iter().any(|beginning| text.starts_with(beginning))
}

/// Returns the arguments of a program with the credentials in them masked.
pub(super) fn mask_args(args: &[String]) -> Vec<String> {
    let mut flag = None;
    args.iter()
        .map(|arg| {
            let name = flag.take().filter(|_| !arg.starts_with("--"));
            let masked = mask_text(name, arg);
            flag = arg.strip_prefix('-').filter(|rest| !rest.contains('='));
            masked
        })
        .collect()
}

/// Returns a field that is not known here with its texts masked, but for those of
/// names that may be shown.
pub(super) fn mask_value(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if SHOWN.contains(&name) => mask_text(Some(name), text).into(),
        Value::String(text) if text.is_empty() => value.clone(),
        Value::String(_) => MASK.into(),
        Value::Array(list) => list.iter().map(|value| mask_value(name, value)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), mask_value(name, value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Returns `url` without anything that may be a password: the user information,
/// the values of the query, and the fragment. An address of any other form is
/// masked completely, because programs differ in how they parse it.
pub(super) fn mask_url(url: &str) -> String {
    let plain = !url.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control());
    let Some((scheme, rest)) = url.split_once("://").filter(|_| plain) else {
        return MASK.to_owned();
    };
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if authority.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric()) {
        return MASK.to_owned();
    }
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    let (tail, fragment) = match tail.split_once('#') {
        Some((tail, _)) => (tail, format!("#{MASK}")),
        None => (tail, String::new()),
    };
    let tail = match tail.split_once('?') {
        None => tail.to_owned(),
        Some((path, query)) => {
            let masked: Vec<_> = query
                .split('&')
                .map(|pair| match pair.split_once('=') {
                    Some((name, _)) => format!("{name}={MASK}"),
                    None => MASK.to_owned(),
                })
                .collect();
            format!("{path}?{}", masked.join("&"))
        }
    };
    format!("{scheme}://{host}{tail}{fragment}")
}

/// Adds what is masked in `shown` and not in `value`: the texts, without what
/// both begin with.
pub(super) fn collect(value: &Value, shown: &Value, secrets: &mut Vec<String>) {
    match (value, shown) {
        (Value::String(text), Value::String(shown)) if text != shown => {
            let before = shown.find(MASK).unwrap_or_default();
            secrets.push(text.get(before..).unwrap_or(text).to_owned());
        }
        (Value::Array(list), Value::Array(shown)) => {
            list.iter().zip(shown).for_each(|(value, shown)| collect(value, shown, secrets));
        }
        (Value::Object(map), Value::Object(shown)) => {
            for (name, value) in map {
                if let Some(shown) = shown.get(name) {
                    collect(value, shown, secrets);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_that_look_like_credentials_are_masked() {
        let mask = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let once = mask_args(&args);
            assert_eq!(mask_args(&once), once, "masking twice");
            once.join(" ")
        };
        for (args, shown) in [
            (&["-y", "pkg", "--api-key", "abc"][..], "-y pkg --api-key ***"),
            (&["--token=abc", "x"], "--token=*** x"),
            (&["-token", "-abc"], "-token ***"),
            (&["--token", "--verbose"], "--token --verbose"),
            (&["-e", "GITHUB_TOKEN=abc"], "-e GITHUB_TOKEN=***"),
            (&["--header", "Authorization: Bearer abc"], "--header Authorization: ***"),
            (&["--header", "Authorization:${AUTH}"], "--header Authorization:***"),
            (&["--header", "X-Api-Key: abc"], "--header X-Api-Key: ***"),
            (&["--header", "X: bearer abc"], "--header X: bearer ***"),
            (&["https://u:p@h/mcp?key=v"], "https://***@h/mcp?key=***"),
            (&["--url=https://h/mcp?k=v"], "--url=https://h/mcp?k=***"),
            (&["--db", "postgres://u:p@h/d"], "--db postgres://***@h/d"),
            (&["sk-ant-0123456789"], "***"),
            (&["--x=ghp_0123456789ab"], "--x=***"),
            (
                &["--keyboard", "us", "--key-file", "/k", "a:b", "C:\\x"],
                "--keyboard us --key-file /k a:b C:\\x",
            ),
            (&["--password="], "--password="),
        ] {
            assert_eq!(mask(args), shown, "{args:?}");
        }
    }

    #[test]
    fn texts_of_unknown_fields_are_masked_but_for_a_list() {
        let value = json!({
            "clientId": "id", "clientSecret": "s", "n": [1, "Bearer abc"], "timeout": 5, "on": true,
            "scopes": ["read", "sk-ant-0123456789"], "tomorrow": {"pin": "1234", "name": "x"}, "e": "",
        });
        let shown = mask_value("oauth", &value);
        let expected = json!({
            "clientId": "id", "clientSecret": "***", "n": [1, "***"], "timeout": 5, "on": true,
            "scopes": ["read", "***"], "tomorrow": {"pin": "***", "name": "x"}, "e": "",
        });
        assert_eq!(shown, expected);
        assert_eq!(mask_value("oauth", &shown), shown, "masking twice");
        let mut secrets = Vec::new();
        collect(&value, &shown, &mut secrets);
        secrets.sort_unstable();
        assert_eq!(secrets, ["1234", "Bearer abc", "s", "sk-ant-0123456789"]);
    }

    #[test]
    fn passwords_in_addresses_are_masked() {
        for (url, shown) in [
            ("https://h.example/@a/b", "https://h.example/@a/b"),
            ("https://u:p@h.example:1/x", "https://***@h.example:1/x"),
            ("https://u:p@q@h/x?a=b&c", "https://***@h/x?a=***&***"),
            ("http://h?k=v#f", "http://h?k=***#***"),
            ("http://[::1]:9/mcp", "http://[::1]:9/mcp"),
            ("https:/u:p@h", "***"),
            ("https:///u:p@h", "***"),
            ("https:\\\\u:p@h", "***"),
            ("u:p@h", "***"),
            ("x y://u@h", "***"),
            ("", "***"),
        ] {
            assert_eq!(mask_url(url), shown, "{url}");
            assert_eq!(mask_url(shown), shown, "masking twice");
        }
    }
}
