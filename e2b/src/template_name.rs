//! Names of templates, checked before they are sent. Pure.

use std::fmt;
use std::str::FromStr;

/// Longest name that the server accepts.
const MAX_CHARS: usize = 128;

/// Name of a template: `[team/]name[:tag]`, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateName(String);

/// Tag of a template: letters, digits, `-`, `_` and `.`, but not a UUID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// A text that is neither a template name nor a tag.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadName {
    /// Not a name.
    #[error(
        "{0:?} is not a template name: [team/]name[:tag], of letters, digits, - and _, at most {MAX_CHARS} characters"
    )]
    Name(String),
    /// Not a tag.
    #[error("{0:?} is not a tag: letters, digits, -, _ and . and not a UUID")]
    Tag(String),
}

impl FromStr for TemplateName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        // The server trims and lowers the name too; this way the printed name
        // is the one that it gets.
        let name = text.trim().to_ascii_lowercase();
        let (path, tag) = match name.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name.as_str(), None),
        };
        let word = |word: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !word.is_empty() && word.bytes().all(fits)
        };
        let (team, alias) = match path.split_once('/') {
            Some((team, alias)) => (Some(team), alias),
            None => (None, path),
        };
        if name.len() > MAX_CHARS || !word(alias) || !team.is_none_or(word) {
            return Err(BadName::Name(text.to_owned()));
        }
        tag.map(str::parse::<Tag>).transpose()?;
        Ok(Self(name))
    }
}

impl FromStr for Tag {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let tag = text.trim().to_ascii_lowercase();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let ok = (1..=MAX_CHARS).contains(&tag.len()) && tag.bytes().all(fits) && !is_uuid(&tag);
        ok.then_some(Self(tag)).ok_or_else(|| BadName::Tag(text.to_owned()))
    }
}

/// Returns whether the text has the form of a UUID: the server would read such
/// a tag as the id of a build.
fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text!(TemplateName);
text!(Tag);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_server_takes() {
        for (text, name) in [
            ("claude-agent-server", "claude-agent-server"),
            (" Relay:V1.2 ", "relay:v1.2"),
            ("team/relay_2:stable", "team/relay_2:stable"),
        ] {
            assert_eq!(text.parse::<TemplateName>().unwrap().as_str(), name);
        }
        let long = "a".repeat(129);
        for bad in ["", "a b", "a/b/c", "/a", "a/", "a:", "a:b:c", "ä", "a.b", &long] {
            assert!(bad.parse::<TemplateName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tag_is_not_the_id_of_a_build() {
        assert!("00000000-0000-4000-8000-000000000001".parse::<Tag>().is_err());
        assert!("v1.2".parse::<Tag>().is_ok());
        assert!("a/b".parse::<Tag>().is_err());
    }
}
