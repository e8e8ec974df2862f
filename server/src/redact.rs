//! Redaction: secrets that the agent was given are masked in its stderr, and in
//! a recording.
//!
//! A program that fails over its credentials often prints them, and its stderr
//! goes to the client and into the log. Its stdout is the conversation, and
//! reaches clients as it is.

mod escapes;

use std::ffi::OsString;

use claude_relay_protocol::config::MASK;
use claude_relay_protocol::credentials::secrets_of_variable;
use claude_relay_protocol::{QueryConfig, Secret};
use memchr::memmem;
use percent_encoding::percent_decode_str;

use escapes::decode;

/// Shorter values are not masked: they would be found inside ordinary words.
const MIN_SECRET_BYTES: usize = 8;

/// Maximum number of texts to mask. A configuration has a few.
const MAX_SECRETS: usize = 4096;

/// Maximum number of escapes within each other that are decoded.
const MAX_ESCAPES: usize = 4;

/// The texts to mask, the longest first.
#[derive(Debug, Default, Clone)]
pub struct Redactor {
    secrets: Vec<Secret>,
}

impl Redactor {
    /// Collects the secrets of an agent's configuration and environment.
    #[must_use]
    pub fn new(config: &QueryConfig, environment: &[(OsString, OsString)]) -> Self {
        let inherited = environment
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
            .flat_map(|(name, value)| secrets_of_variable(name, value))
            .map(Secret::from);
        let mut redactor = Self::default();
        redactor.extend(config.secret_values().into_iter().chain(inherited));
        redactor
    }

    /// Adds secrets, and forgets others where there are too many.
    pub fn extend(&mut self, secrets: impl IntoIterator<Item = Secret>) {
        let known = std::mem::take(&mut self.secrets);
        let new = secrets.into_iter().flat_map(spellings);
        let mut secrets: Vec<Secret> =
            new.filter(|secret| secret.expose().len() >= MIN_SECRET_BYTES).collect();
        secrets.extend(known);
        secrets.truncate(MAX_SECRETS);
        // A secret can be part of a longer one, which is masked whole.
        secrets.sort_by(|a, b| {
            let (a, b) = (a.expose(), b.expose());
            b.len().cmp(&a.len()).then_with(|| a.cmp(b))
        });
        secrets.dedup();
        self.secrets = secrets;
    }

    /// Returns true if a secret is in `text`.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| text.contains(secret.expose()))
    }

    /// Returns `text` with a mask in place of every secret, and of every line in
    /// which one stands escaped: in a JSON text, an address or HTML, also within
    /// each other.
    #[must_use]
    pub fn redact(&self, text: String) -> String {
        let text = self.redact_plain(text);
        if !self.finds_escaped(&text) {
            return text;
        }
        let mut redacted = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            if self.finds_escaped(line) {
                redacted.push_str(MASK);
                redacted.push_str(&line[line.trim_end_matches(['\r', '\n']).len()..]);
            } else {
                redacted.push_str(line);
            }
        }
        redacted
    }

    /// The same for a piece of a text, at whose ends a secret may have been cut: the
    /// larger part of it is masked, too.
    #[must_use]
    pub fn redact_piece(&self, text: String) -> String {
        let mut text = self.redact(text);
        for secret in &self.secrets {
            let secret = secret.expose().as_bytes();
            if let Some(length) = cut_at_end(text.as_bytes(), secret) {
                text.truncate(text.len() - length);
                text.push_str(MASK);
            }
            if let Some(length) = cut_at_begin(text.as_bytes(), secret) {
                text.replace_range(..length, MASK);
            }
        }
        text
    }

    /// Returns true if a secret is in `text` once its escapes are decoded.
    #[must_use]
    pub fn finds_escaped(&self, text: &str) -> bool {
        let mut decoded = decode(text);
        for _ in 1..MAX_ESCAPES {
            let Some(text) = decoded else { return false };
            if self.finds(&text) {
                return true;
            }
            decoded = decode(&text);
        }
        decoded.is_some_and(|text| self.finds(&text))
    }

    /// Returns `text` with a mask in place of every secret that stands in it as it
    /// is.
    #[must_use]
    pub fn redact_plain(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| {
            if text.contains(secret.expose()) { text.replace(secret.expose(), MASK) } else { text }
        })
    }
}

/// Length from which a part of a secret at an end of a text is masked: half of it,
/// or what a whole one has at least.
fn least_part(secret: &[u8]) -> usize {
    secret.len().div_ceil(2).min(MIN_SECRET_BYTES)
}

/// Returns the length of the beginning of `secret` with which `text` ends.
fn cut_at_end(text: &[u8], secret: &[u8]) -> Option<usize> {
    let least = least_part(secret);
    let end = &text[text.len().saturating_sub(secret.len())..];
    memmem::find_iter(end, &secret[..least])
        .map(|at| &end[at..])
        .find(|part| secret.starts_with(part))
        .map(<[u8]>::len)
}

/// Returns the length of the end of `secret` with which `text` begins.
fn cut_at_begin(text: &[u8], secret: &[u8]) -> Option<usize> {
    let least = least_part(secret);
    let begin = &text[..text.len().min(secret.len())];
    memmem::rfind_iter(begin, &secret[secret.len() - least..])
        .map(|at| &begin[..at + least])
        .find(|part| secret.ends_with(part))
        .map(<[u8]>::len)
}

/// Returns a secret as programs may print it: whole, line by line, and without
/// its percent encoding.
fn spellings(secret: Secret) -> Vec<Secret> {
    let text = secret.expose();
    let mut spellings: Vec<Secret> = Vec::new();
    if text.contains('\n') {
        spellings.extend(text.lines().map(|line| Secret::from(line.trim())));
    }
    if text.contains('%') {
        let decoded = percent_decode_str(text).decode_utf8_lossy();
        spellings.push(Secret::from(decoded));
    }
    spellings.push(secret);
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(config: &str, environment: &[(&str, &str)]) -> Redactor {
        let config = QueryConfig::parse(config.as_bytes(), &QueryConfig::default()).unwrap().config;
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Redactor::new(&config, &environment)
    }

    #[test]
    fn credentials_are_masked_wherever_they_came_from() {
        let redactor = redactor(
            r#"{"anthropicApiKey":"sk-configured","env":{"A":"laid-over-value","B":"x"}}"#,
            &[("CLAUDE_CODE_OAUTH_TOKEN", "inherited-token"), ("HOME", "/home/user")],
        );
        assert_eq!(
            redactor.redact("sk-configured laid-over-value x inherited-token /home/user".into()),
            "*** *** x *** /home/user"
        );
    }

    #[test]
    fn headers_and_passwords_in_addresses_are_masked() {
        let redactor = redactor(
            r#"{"mcpServers":{"s":{"type":"http","url":"http://u:mcp-password@h/?k=query-value","headers":{"Authorization":"Bearer mcp-token"}}},
                "agents":{"a":{"mcpServers":[{"t":{"command":"c","env":{"K":"deep-value"}}}]}}}"#,
            &[
                ("ANTHROPIC_CUSTOM_HEADERS", "X-A: first-value\nAuthorization: Basic second-value"),
                ("ANTHROPIC_BASE_URL", "https://user:p%40ssword@host/path"),
                ("https_proxy", "http://user:proxy-password@host"),
            ],
        );
        for (text, masked) in [
            ("mcp-password query-value mcp-token", "*** *** ***"),
            ("deep-value", "***"),
            ("first-value, second-value", "***, ***"),
            ("Basic second-value", "***"),
            ("https://user:p%40ssword@host/path p@ssword", "https://***@host/path ***"),
            ("proxy-password http://host", "*** http://host"),
        ] {
            assert_eq!(redactor.redact(text.into()), masked);
        }
    }

    #[test]
    fn a_line_with_an_escaped_secret_is_masked() {
        let redactor = redactor(r#"{"env":{"A":"a+b/c=\"d&\\ö","B":"plain-value"}}"#, &[]);
        for escaped in [
            r#"{"A":"a+b/c=\"d&\\ö"}"#,
            r#"{"A":"a\u002Bb\/c\u003d\u0022d\u0026\u005C\u00F6"}"#,
            r#"{"text":"{\"A\":\"a+b/c=\\\"d&\\\\ö\"}"}"#,
            "https://host/?key=a%2Bb%2Fc%3D%22d%26%5C%C3%B6&x=1",
            "a+b/c=&quot;d&amp;\\&ouml; a+b/c=&#34;d&#x26;&#92;&#xF6;",
            r"b'a+b/c=\x22d&\\\xc3\xb6'",
            r"plain\u002dvalue",
        ] {
            let text = format!("before\n{escaped}\r\nbehind 100% \\o/ &c");
            assert_eq!(redactor.redact(text), "before\n***\r\nbehind 100% \\o/ &c", "{escaped}");
        }
        let none = r#"a+b/c= %zz %4 \u12 \x &#; &amp; plain-valu\u0065d"#;
        assert_ne!(redactor.redact(none.into()), none);
        let none = r"a+b/c= %zz %4 \u12 \x &#; &amp; plain\u0065value \";
        assert_eq!(redactor.redact(none.into()), none);
    }

    #[test]
    fn a_secret_that_was_cut_is_masked_where_its_larger_part_is() {
        let redactor = redactor(r#"{"env":{"A":"0123456789abcdef","B":"zwölfmal"}}"#, &[]);
        for (piece, masked) in [
            ("at 0123456789abcde", "at ***"),
            ("at 01234567", "at ***"),
            ("at 0123456", "at 0123456"),
            ("123456789abcdef of it", "*** of it"),
            ("89abcdef", "***"),
            ("9abcdef", "9abcdef"),
            ("89abcdef and 01234567", "*** and ***"),
            ("zwölf", "***"),
            ("ölfmal", "***"),
            ("mal zw", "mal zw"),
            ("at 0123456789abcdef, zwölfmal", "at ***, ***"),
            ("abababababababab", "abababababababab"),
            ("", ""),
        ] {
            assert_eq!(redactor.redact_piece(piece.into()), masked, "{piece}");
        }
    }

    #[test]
    fn a_secret_of_several_lines_is_masked_line_by_line() {
        let redactor = redactor(r#"{"env":{"PEM":"first-line\nsecond-line"}}"#, &[]);
        assert_eq!(redactor.redact("at second-line".into()), "at ***");
    }
}
