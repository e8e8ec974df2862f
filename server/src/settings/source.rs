//! Lookup of one setting: its flag, or its variable.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use claude_relay_protocol::config::MIN_AUTH_TOKEN_BYTES;
use claude_relay_protocol::{Secret, duration};

use crate::store::access::{self, BucketAccess};

use super::SettingsError;
use super::flags::{self, AUTH_TOKEN, Flag};
use crate::notify::target::Target;

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
#[derive(Default)]
struct Found<T> {
    name: &'static str,
    value: T,
}

fn bad(name: &str, reason: impl Into<String>) -> SettingsError {
    SettingsError::Value { name: name.to_owned(), reason: reason.into() }
}

impl Source {
    fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.get(OsStr::new(name)).filter(|value| !value.is_empty())
    }

    fn home(&self) -> Result<PathBuf, SettingsError> {
        self.variable("HOME").map(PathBuf::from).ok_or_else(|| {
            bad("--workspace (RELAY_WORKSPACE)", "HOME is not set; name a workspace")
        })
    }

    /// The workspace: named, or the default, which is in the home.
    pub(super) fn workspace(&self, given: Option<OsString>) -> Result<PathBuf, SettingsError> {
        let flag = &flags::WORKSPACE;
        if let Some(path) = self.given_path(given, flag) {
            return Ok(path);
        }
        let default = flag.default.unwrap_or_default();
        Ok(self.home()?.join(default.trim_start_matches("~/")))
    }

    /// The path that was given, or the default.
    pub(super) fn path(&self, given: Option<OsString>, flag: &Flag) -> PathBuf {
        self.given_path(given, flag).unwrap_or_else(|| flag.default.unwrap_or_default().into())
    }

    /// Whom to tell that the agent waits. A webhook is signed.
    pub(super) fn on_waiting(
        &self,
        given: Option<String>,
        has_secret: bool,
    ) -> Result<Option<Target>, SettingsError> {
        let flag = &flags::ON_WAITING;
        let expected = match cfg!(feature = "tls") {
            true => "an http or https address without a password, or a command",
            false => {
                "an http address without a password, or a command (https needs a build with --features tls)"
            }
        };
        let target = self.optional(given, flag, expected)?;
        match &target {
            Some(Target::Url(_)) if !has_secret => Err(bad(
                flag.name,
                "set RELAY_ON_WAITING_SECRET, by which the receiver of a webhook knows its sender",
            )),
            _ => Ok(target),
        }
    }

    /// The path of a flag that may be unset.
    pub(super) fn optional_path(&self, given: Option<OsString>, flag: &Flag) -> Option<PathBuf> {
        self.given_path(given, flag)
    }

    fn given_path(&self, given: Option<OsString>, flag: &Flag) -> Option<PathBuf> {
        given.or_else(|| self.variable(flag.variable).cloned()).map(PathBuf::from)
    }

    /// The text that was given, or the default; `None` for a flag without one.
    fn text(
        &self,
        given: Option<String>,
        flag: &Flag,
    ) -> Result<Option<Found<String>>, SettingsError> {
        if let Some(value) = given {
            return Ok(Some(Found { name: flag.name, value }));
        }
        match self.variable(flag.variable) {
            None => {
                Ok(flag.default.map(|value| Found { name: flag.name, value: value.to_owned() }))
            }
            Some(value) => match value.to_str() {
                Some(value) => Ok(Some(Found { name: flag.variable, value: value.to_owned() })),
                None => Err(bad(flag.variable, "is not UTF-8")),
            },
        }
    }

    /// The value of a flag that has a default.
    pub(super) fn parsed<T: std::str::FromStr>(
        &self,
        given: Option<String>,
        flag: &Flag,
        expected: &str,
    ) -> Result<T, SettingsError> {
        self.optional(given, flag, expected)?
            .ok_or_else(|| bad(flag.name, format!("expected {expected}")))
    }

    /// The value of a flag that may be unset.
    pub(super) fn optional<T: std::str::FromStr>(
        &self,
        given: Option<String>,
        flag: &Flag,
        expected: &str,
    ) -> Result<Option<T>, SettingsError> {
        let Some(found) = self.text(given, flag)? else { return Ok(None) };
        match found.value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(bad(found.name, format!("expected {expected}, got {:?}", found.value))),
        }
    }

    /// The duration of a flag that has a default.
    pub(super) fn duration(
        &self,
        given: Option<String>,
        flag: &Flag,
    ) -> Result<Duration, SettingsError> {
        self.optional_duration(given, flag)?
            .ok_or_else(|| bad(flag.name, "expected a duration above 0"))
    }

    /// The duration of a flag that may be unset.
    pub(super) fn optional_duration(
        &self,
        given: Option<String>,
        flag: &Flag,
    ) -> Result<Option<Duration>, SettingsError> {
        let Some(found) = self.text(given, flag)? else { return Ok(None) };
        match duration::parse(&found.value) {
            Ok(duration) if duration.is_zero() => {
                Err(bad(found.name, "expected a duration above 0"))
            }
            Ok(duration) => Ok(Some(duration)),
            Err(error) => Err(bad(found.name, error.to_string())),
        }
    }

    pub(super) fn switch(&self, given: bool, flag: &Flag) -> Result<bool, SettingsError> {
        if given {
            return Ok(true);
        }
        let value =
            self.variable(flag.variable).map(|value| value.to_string_lossy().to_lowercase());
        match value.as_deref() {
            None | Some("0" | "false" | "no" | "off") => Ok(false),
            Some("1" | "true" | "yes" | "on") => Ok(true),
            Some(other) => {
                Err(bad(flag.variable, format!("expected true or false, got {other:?}")))
            }
        }
    }

    pub(super) fn list<T>(&self, given: Vec<String>, flag: &Flag) -> Result<Vec<T>, SettingsError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let (name, values) = if given.is_empty() {
            let found = self.text(None, flag)?;
            (flag.variable, found.map(|found| found.value).into_iter().collect())
        } else {
            (flag.name, given)
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
    pub(super) fn host(&self, given: Option<String>) -> Result<String, SettingsError> {
        let Found { name, value } = self.text(given, &flags::HOST)?.unwrap_or_default();
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

    /// Takes what reaches a bucket out of the environment: nothing else gets it.
    pub(super) fn take_bucket_access(&mut self) -> Result<BucketAccess, SettingsError> {
        let text = |name: &str| self.variable(name).and_then(|value| value.to_str());
        let (access, secrets) = access::read(text).map_err(|reason| bad("--store", reason))?;
        for name in secrets {
            self.environment.remove(OsStr::new(name));
        }
        Ok(access)
    }

    /// Token for another server: any visible ASCII.
    pub(super) fn bearer(&self, variable: &'static str) -> Result<Option<Secret>, SettingsError> {
        let Some(value) = self.variable(variable) else { return Ok(None) };
        let value = value.to_str().ok_or_else(|| bad(variable, "is not UTF-8"))?.trim();
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
            Some(value) => Found { name: AUTH_TOKEN.name, value },
            None => match self.environment.get(OsStr::new(AUTH_TOKEN.variable)) {
                None => return Ok(Token::None),
                Some(value) => Found {
                    name: AUTH_TOKEN.variable,
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
