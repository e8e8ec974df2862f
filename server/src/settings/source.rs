//! Lookup of one setting: its flag, or its variable.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use claude_relay_protocol::config::MIN_AUTH_TOKEN_BYTES;
use claude_relay_protocol::{Secret, duration};

use super::SettingsError;

/// Source of values. Flags take precedence over variables.
pub(super) struct Source {
    pub(super) environment: BTreeMap<OsString, OsString>,
}

/// What was said about the server's token.
#[derive(PartialEq, Eq)]
pub(super) enum Token {
    None,
    Given(Secret),
    /// One is to be drawn.
    Auto,
}

/// The value that asks for a drawn token.
const AUTO: &str = "auto";

/// A value and the name of its flag or variable, for error messages.
pub(super) struct Found<T> {
    pub(super) name: &'static str,
    pub(super) value: T,
}

pub(super) fn bad(name: &str, reason: impl Into<String>) -> SettingsError {
    SettingsError::Value { name: name.to_owned(), reason: reason.into() }
}

impl Source {
    fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.get(OsStr::new(name)).filter(|value| !value.is_empty())
    }

    pub(super) fn home(&self) -> Result<PathBuf, SettingsError> {
        self.variable("HOME").map(PathBuf::from).ok_or_else(|| {
            bad("--workspace (RELAY_WORKSPACE)", "HOME is not set; name a workspace")
        })
    }

    /// The workspace: named, or in the home.
    pub(super) fn workspace(&self, flag: Option<OsString>) -> Result<PathBuf, SettingsError> {
        match self.path(flag, "RELAY_WORKSPACE") {
            Some(path) => Ok(path),
            None => Ok(self.home()?.join("agent-workspace")),
        }
    }

    pub(super) fn path(&self, flag: Option<OsString>, variable: &'static str) -> Option<PathBuf> {
        flag.or_else(|| self.variable(variable).cloned()).map(PathBuf::from)
    }

    pub(super) fn text(
        &self,
        flag: Option<String>,
        flag_name: &'static str,
        variable: &'static str,
    ) -> Result<Option<Found<String>>, SettingsError> {
        if let Some(value) = flag {
            return Ok(Some(Found { name: flag_name, value }));
        }
        match self.variable(variable) {
            None => Ok(None),
            Some(value) => match value.to_str() {
                Some(value) => Ok(Some(Found { name: variable, value: value.to_owned() })),
                None => Err(bad(variable, "is not UTF-8")),
            },
        }
    }

    pub(super) fn parsed<T: std::str::FromStr>(
        &self,
        flag: Option<String>,
        flag_name: &'static str,
        variable: &'static str,
        expected: &str,
    ) -> Result<Option<T>, SettingsError> {
        let Some(found) = self.text(flag, flag_name, variable)? else { return Ok(None) };
        match found.value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(bad(found.name, format!("expected {expected}, got {:?}", found.value))),
        }
    }

    pub(super) fn duration(
        &self,
        flag: Option<String>,
        flag_name: &'static str,
        variable: &'static str,
        default: &str,
    ) -> Result<Duration, SettingsError> {
        let found = self
            .text(flag, flag_name, variable)?
            .unwrap_or(Found { name: flag_name, value: default.to_owned() });
        match duration::parse(&found.value) {
            Ok(duration) if duration.is_zero() => {
                Err(bad(found.name, "expected a duration above 0"))
            }
            Ok(duration) => Ok(duration),
            Err(error) => Err(bad(found.name, error.to_string())),
        }
    }

    pub(super) fn optional_duration(
        &self,
        flag: Option<String>,
        flag_name: &'static str,
        variable: &'static str,
    ) -> Result<Option<Duration>, SettingsError> {
        match self.text(flag.clone(), flag_name, variable)? {
            None => Ok(None),
            Some(_) => self.duration(flag, flag_name, variable, "").map(Some),
        }
    }

    pub(super) fn flag(&self, flag: bool, variable: &'static str) -> Result<bool, SettingsError> {
        if flag {
            return Ok(true);
        }
        match self.variable(variable).map(|value| value.to_string_lossy().to_lowercase()).as_deref()
        {
            None | Some("0" | "false" | "no" | "off") => Ok(false),
            Some("1" | "true" | "yes" | "on") => Ok(true),
            Some(other) => Err(bad(variable, format!("expected true or false, got {other:?}"))),
        }
    }

    pub(super) fn list<T>(
        &self,
        flags: Vec<String>,
        flag_name: &'static str,
        variable: &'static str,
    ) -> Result<Vec<T>, SettingsError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let (name, values) = if flags.is_empty() {
            let found = self.text(None, flag_name, variable)?;
            (variable, found.map(|found| found.value).into_iter().collect())
        } else {
            (flag_name, flags)
        };
        values
            .iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|value| !value.is_empty())
            .map(|value| value.parse().map_err(|error| bad(name, format!("{value:?}: {error}"))))
            .collect()
    }

    /// The address to listen on. An IPv6 address may stand in brackets, as in a
    /// URL.
    pub(super) fn host(&self, flag: Option<String>) -> Result<String, SettingsError> {
        let Some(Found { name, value }) = self.text(flag, "--host", "HOST")? else {
            return Ok("127.0.0.1".to_owned());
        };
        let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = inner.unwrap_or(&value);
        let is_name = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        if address.parse::<Ipv6Addr>().is_ok() || (inner.is_none() && is_name(address)) {
            return Ok(address.to_owned());
        }
        Err(bad(
            name,
            format!(
                "expected an address or a name alone, such as 127.0.0.1 or [::1], got {value:?}; the port is set by --port (PORT)"
            ),
        ))
    }

    /// Token for another server: any visible ASCII.
    pub(super) fn bearer(&self, variable: &'static str) -> Result<Option<Secret>, SettingsError> {
        let Some(found) = self.text(None, variable, variable)? else { return Ok(None) };
        let value = found.value.trim();
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad(variable, "a token is visible ASCII"));
        }
        Ok(Some(Secret::new(value.to_owned())))
    }

    /// Token for this server. Its value never appears in an error.
    pub(super) fn token(&self, flag: Option<String>) -> Result<Token, SettingsError> {
        let found = match flag {
            // An empty token is an error, because ignoring it would leave the
            // server open.
            Some(value) => Found { name: "--auth-token", value },
            None => match self.environment.get(OsStr::new("RELAY_AUTH_TOKEN")) {
                None => return Ok(Token::None),
                Some(value) => Found {
                    name: "RELAY_AUTH_TOKEN",
                    value: value.to_str().map(str::to_owned).unwrap_or_default(),
                },
            },
        };
        if found.value == AUTO {
            // E2B says so in a template as well as in its sandboxes, which are
            // copies of it.
            return match self.variable("E2B_SANDBOX") {
                None => Ok(Token::Auto),
                Some(_) => Err(bad(
                    found.name,
                    "auto would draw one token for all sandboxes of a template; leave it unset and let the first configuration claim the server",
                )),
            };
        }
        if found.value.len() < MIN_AUTH_TOKEN_BYTES
            || !found.value.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(bad(
                found.name,
                format!(
                    "a token has at least {MIN_AUTH_TOKEN_BYTES} characters, all visible ASCII; leave it unset to have none"
                ),
            ));
        }
        Ok(Token::Given(Secret::new(found.value)))
    }
}
