//! Messages as text. The CLI expands what a message says: `@path` brings a
//! file of the disk along, `/config` changes the operator's settings. In
//! `safe` and `agentic` nobody is asked, so a message is nothing but text.
//!
//! A CLI from 2.1.248 on takes `client_composed` for that; the older ones are
//! held by flags and variables alone (see [`super::restrictions`]). To one that
//! is older than any that was tried nothing is given that could be expanded.

use bytes::Bytes;
use claude_relay_protocol::json::{elements, fields, string};
use serde_json::value::RawValue;

use super::version::{Capability, Version};
use crate::agent::mode::Mode;

/// The field that makes a message text. It stands last: of two equal names the
/// last counts.
const COMPOSED: &[u8] = b",\"client_composed\":true}";

/// How messages are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Messages {
    /// As they came: they are the user's own.
    AsTheyCame,
    /// As text.
    Text,
    /// As text, if there is nothing in them that this CLI could expand.
    PlainText(Option<Version>),
}

impl Messages {
    /// How a CLI of `version` gets them in `mode`. `verbatim` makes text of
    /// them in the other modes too.
    #[must_use]
    pub fn new(mode: Mode, version: Option<Version>, verbatim: bool) -> Self {
        if !mode.asks_nobody() && !verbatim {
            Self::AsTheyCame
        } else if Capability::Tried.is_in(version) {
            Self::Text
        } else {
            Self::PlainText(version)
        }
    }

    /// The line to write for the line of a message.
    ///
    /// # Errors
    ///
    /// The reason why this CLI cannot be given it.
    pub fn prepare(self, line: Bytes) -> Result<Bytes, String> {
        match self {
            Self::AsTheyCame => Ok(line),
            Self::Text => Ok(composed(line)),
            Self::PlainText(version) if is_expandable(&line) => {
                let version = version.map_or("of unknown version".to_owned(), |v| v.to_string());
                Err(format!(
                    "the agent's CLI ({version}) is older than {} and could take an `@` for a file or a `/` for a command; update it, or leave them out",
                    Version::OLDEST
                ))
            }
            Self::PlainText(_) => Ok(composed(line)),
        }
    }
}

/// The line of an object with the field; every other byte as it was.
fn composed(line: Bytes) -> Bytes {
    let end = line.trim_ascii_end();
    // Handed over before, to an agent that ended without reading it.
    if end.ends_with(COMPOSED) {
        return line;
    }
    let Some(open) = end.strip_suffix(b"}") else { return line };
    let rest = &line[end.len()..];
    [open, COMPOSED, rest].concat().into()
}

/// Whether a message holds something that a CLI could expand.
fn is_expandable(line: &[u8]) -> bool {
    let texts = || {
        let text = std::str::from_utf8(line).ok()?;
        let [message] = fields(text, ["message"]).ok()?;
        let [content] = fields(message?.get(), ["content"]).ok()?;
        let content = content?;
        if let Some(text) = string(content) {
            return Some(vec![text.into_owned()]);
        }
        elements(content).ok()?.into_iter().map(block_text).collect()
    };
    // What cannot be read here may be read by the CLI.
    let Some(texts): Option<Vec<String>> = texts() else { return true };
    texts.iter().any(|text| text.contains('@') || text.trim_start().starts_with(['/', '#', '!']))
}

/// The text of a block; empty when it is of another kind.
fn block_text(block: &RawValue) -> Option<String> {
    let [text] = fields(block.get(), ["text"]).ok()?;
    text.map_or(Some(String::new()), |text| Some(string(text)?.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(messages: Messages, line: &str) -> Result<String, String> {
        let line = messages.prepare(Bytes::copy_from_slice(line.as_bytes()))?;
        Ok(String::from_utf8(line.to_vec()).unwrap())
    }

    #[test]
    fn the_field_is_added_last_and_no_other_byte_changes() {
        let line = "{ \"client_composed\":false, \"a\" : 1.0 }\n";
        let text = "{ \"client_composed\":false, \"a\" : 1.0 ,\"client_composed\":true}\n";
        assert_eq!(prepare(Messages::Text, line).unwrap(), text);
        assert_eq!(prepare(Messages::Text, text).unwrap(), text);
        assert_eq!(prepare(Messages::AsTheyCame, line).unwrap(), line);
    }

    #[test]
    fn only_the_modes_that_ask_nobody_make_text_of_it() {
        let known = Some(Version::OLDEST);
        for (mode, version, messages) in [
            (Mode::Safe, known, Messages::Text),
            (Mode::Agentic, known, Messages::Text),
            (Mode::Safe, None, Messages::PlainText(None)),
            (Mode::Ask, None, Messages::AsTheyCame),
            (Mode::Unrestricted, known, Messages::AsTheyCame),
        ] {
            assert_eq!(Messages::new(mode, version, false), messages, "{mode}");
        }
        assert_eq!(Messages::new(Mode::Ask, known, true), Messages::Text);
    }

    #[test]
    fn an_old_cli_gets_nothing_that_it_could_expand() {
        let old = Messages::PlainText(Some(Version::new(1, 0, 0)));
        let message = |content: &str| {
            format!(r#"{{"type":"user","message":{{"role":"user","content":{content}}}}}"#)
        };
        for (content, taken) in [
            (r#""plain words""#, true),
            (r#""1/2 of it""#, true),
            (r#""see @/etc/passwd""#, false),
            (r#"" /config x""#, false),
            ("\"\\u0040x\"", false),
            (r#"[{"type":"text","text":"plain"},{"type":"image"}]"#, true),
            (r#"[{"type":"text","text":"plain"},{"type":"text","text":"/x"}]"#, false),
            (r#"[{"type":"text","text":"\ud800"}]"#, false),
        ] {
            let line = message(content);
            assert_eq!(prepare(old, &line).is_ok(), taken, "{content}");
        }
        let reason = prepare(old, &message(r#""@x""#)).unwrap_err();
        assert!(reason.contains("1.0.0") && reason.contains("2.1.197"), "{reason}");
    }
}
