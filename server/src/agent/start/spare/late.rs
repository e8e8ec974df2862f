//! What Claude Code can be told between its start and its first message: a list
//! of what has been seen to make no difference (2.1.329 and 2.1.332). Everything
//! else needs a cold start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use bytes::Bytes;
use claude_relay_protocol::{Secret, credentials};
use serde_json::{Map, Value, json};

use super::Cold;
use crate::agent::claude::{self, version::Capability, version::Version};

/// Variables that the CLI takes from a setting while it runs.
const VARIABLES: [&str; 4] =
    [credentials::BASE_URL, "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"];

/// How a flag is said late.
#[derive(Debug, Clone, Copy)]
enum Said {
    /// By a setting of this name. `set_model` would ask the API whether it knows
    /// the model.
    Setting(&'static str),
    /// By the tokens for thinking.
    Thinking,
}

/// The flags, with the values that are said late.
const FLAGS: [(&str, Said); 4] = [
    ("--model", Said::Setting("model")),
    ("--effort", Said::Setting("effortLevel")),
    ("--max-thinking-tokens", Said::Thinking),
    ("--thinking", Said::Thinking),
];

/// Files of an administrator, whose settings count more than those of a flag.
const MANAGED: [&str; 2] =
    ["/etc/claude-code/managed-settings.json", "/etc/claude-code/managed-settings.d"];

/// The beginning of the ids of the requests.
const ID: &str = "relay-late-";

/// What a spare is told late.
#[derive(Debug, Default, PartialEq)]
pub(in crate::agent) struct Late {
    variables: Map<String, Value>,
    settings: Map<String, Value>,
    thinking: Option<Value>,
}

impl Late {
    /// Takes the flags of a command that a spare with the arguments `own` can be
    /// told late; `id` is an argument that only the spare needs.
    pub(super) fn take_flags(
        &mut self,
        own: &[OsString],
        wanted: &[OsString],
        id: &str,
    ) -> Result<(), Cold> {
        let mut own: Vec<&OsString> = own.iter().filter(|argument| **argument != *id).collect();
        for argument in wanted.iter().filter(|argument| **argument != *id) {
            if own.first() == Some(&argument) {
                own.remove(0);
            } else if !self.take_flag(argument) {
                // An argument of the spare may be the one that is too many.
                let lacks = own.first().filter(|own| !wanted.contains(own));
                return Err(Cold::Flag(name_of(lacks.copied().unwrap_or(argument))));
            }
        }
        match own.first() {
            Some(argument) => Err(Cold::Flag(name_of(argument))),
            None => Ok(()),
        }
    }

    /// Returns false for an argument that cannot be said late.
    fn take_flag(&mut self, argument: &OsString) -> bool {
        let Some((name, value)) = argument.to_str().and_then(|text| text.split_once('=')) else {
            return false;
        };
        let Some((_, said)) = FLAGS.iter().find(|(flag, _)| *flag == name) else { return false };
        match said {
            Said::Setting(setting) => {
                self.settings.insert((*setting).to_owned(), value.into()).is_none()
            }
            Said::Thinking => {
                let tokens = match (name, value, value.parse::<u64>()) {
                    ("--thinking", "disabled", _) => Some(json!(0)),
                    ("--max-thinking-tokens", _, Ok(tokens)) => Some(json!(tokens)),
                    _ => None,
                };
                let is_new = tokens.is_some() && self.thinking.is_none();
                self.thinking = tokens.or(self.thinking.take());
                is_new
            }
        }
    }

    /// Takes what makes the environment `own` that of a cold start.
    pub(super) fn take_variables(
        &mut self,
        own: &BTreeMap<OsString, OsString>,
        wanted: &BTreeMap<OsString, OsString>,
    ) -> Result<(), Cold> {
        let cold = |name: &OsString| Cold::Variable(name.to_string_lossy().into_owned());
        if let Some(name) = own.keys().find(|name| !wanted.contains_key(*name)) {
            return Err(cold(name));
        }
        for (name, value) in wanted.iter().filter(|(name, value)| own.get(*name) != Some(value)) {
            match (name.to_str(), value.to_str()) {
                (Some(known), Some(value)) if VARIABLES.contains(&known) => {
                    self.variables.insert(known.to_owned(), value.into());
                }
                _ => return Err(cold(name)),
            }
        }
        Ok(())
    }

    /// Whether nothing is to be said.
    fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.settings.is_empty() && self.thinking.is_none()
    }

    /// Checks that a CLI of this version takes it, on this machine.
    pub(super) fn check(&self, version: Option<Version>) -> Result<(), Cold> {
        if !self.is_empty() && !Capability::LateSettings.is_in(version) {
            return Err(Cold::Version);
        }
        if !self.settings.is_empty() && MANAGED.iter().any(|path| Path::new(path).exists()) {
            return Err(Cold::Managed);
        }
        Ok(())
    }

    /// The requests that say it.
    pub(in crate::agent) fn into_requests(self) -> LateRequests {
        let Self { variables, mut settings, thinking } = self;
        let is_secret = |name: &String| *name != credentials::BASE_URL;
        let secrets = variables.iter().filter(|(name, _)| is_secret(name));
        let secrets = secrets.filter_map(|(_, value)| value.as_str()).map(Secret::from).collect();
        if !variables.is_empty() {
            settings.insert("env".into(), variables.into());
        }
        let settings = (!settings.is_empty())
            .then(|| json!({ "subtype": "apply_flag_settings", "settings": settings }));
        let thinking = thinking.map(
            |tokens| json!({ "subtype": "set_max_thinking_tokens", "max_thinking_tokens": tokens }),
        );
        let requests = settings.into_iter().chain(thinking).enumerate();
        let requests = requests.map(|(n, request)| {
            let id = format!("{ID}{n}");
            let line = claude::control_request(&id, &request.to_string());
            (id, line)
        });
        let (ids, lines): (_, Vec<_>) = requests.unzip();
        LateRequests { ids, lines: lines.concat().into(), secrets }
    }
}

/// Requests to a spare.
#[derive(Debug, Default)]
pub struct LateRequests {
    /// Their ids. Each must have succeeded before the first message.
    pub ids: Vec<String>,
    /// Their lines.
    pub(in crate::agent) lines: Bytes,
    /// Secrets in them. The agent tells them as its settings.
    pub secrets: Vec<Secret>,
}

/// The name of a flag, without its value, which may be a secret.
fn name_of(argument: &OsString) -> String {
    let text = argument.to_string_lossy();
    let name = text.split('=').next().unwrap_or_default();
    if name.starts_with("--") { name.to_owned() } else { "an argument".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    /// The requests for a command, or the reason for a cold start.
    fn taken(own: &[&str], wanted: &[&str]) -> Result<Vec<String>, Cold> {
        let mut late = Late::default();
        late.take_flags(&list(own), &list(wanted), "--session-id=1")?;
        let lines = late.into_requests().lines;
        let lines = str::from_utf8(&lines).expect("text").lines();
        Ok(lines.map(str::to_owned).collect())
    }

    #[test]
    fn only_flags_of_the_list_are_said_late() {
        let own = ["--verbose", "--settings={}", "--session-id=1"];
        let wanted = |more: &[&'static str]| {
            let mut wanted = vec!["--verbose"];
            wanted.extend(more);
            wanted.push("--settings={}");
            wanted
        };
        assert_eq!(taken(&own, &wanted(&[])), Ok(vec![]));
        let all = wanted(&["--max-thinking-tokens=5", "--effort=low", "--model=m"]);
        let said = taken(&own, &all).expect("warm");
        assert!(said[0].contains(r#""settings":{"effortLevel":"low","model":"m"}"#), "{said:?}");
        assert!(said[1].contains(r#""max_thinking_tokens":5"#), "{said:?}");
        let said = taken(&own, &wanted(&["--thinking=disabled"])).expect("warm");
        assert!(said[0].contains(r#""max_thinking_tokens":0"#), "{said:?}");
        for (more, name) in [
            (vec!["--thinking=adaptive"], "--thinking"),
            (vec!["--max-thinking-tokens=x"], "--max-thinking-tokens"),
            (vec!["--max-thinking-tokens=5", "--thinking=disabled"], "--thinking"),
            (vec!["--max-turns=3"], "--max-turns"),
            (vec!["--a-flag-of-tomorrow=sk-secret"], "--a-flag-of-tomorrow"),
            (vec!["--model"], "--model"),
            (vec!["a value"], "an argument"),
        ] {
            assert_eq!(taken(&own, &wanted(&more)), Err(Cold::Flag(name.into())), "{more:?}");
        }
        let flag = |name: &str| Err(Cold::Flag(name.into()));
        assert_eq!(taken(&own, &["--settings={}"]), flag("--verbose"));
        assert_eq!(taken(&own, &["--verbose"]), flag("--settings"));
        assert_eq!(taken(&own, &["--verbose", "--settings={1}"]), flag("--settings"));
        assert_eq!(taken(&own, &["--settings={}", "--verbose"]), flag("--settings"));
    }

    #[test]
    fn only_variables_of_the_list_are_said_late_and_secrets_are_known_as_such() {
        let env = |entries: &[(&str, &str)]| -> BTreeMap<OsString, OsString> {
            entries.iter().map(|(name, value)| (name.into(), value.into())).collect()
        };
        let own = env(&[("PATH", "/bin")]);
        let mut late = Late::default();
        let wanted = env(&[
            ("PATH", "/bin"),
            ("ANTHROPIC_API_KEY", "sk-secret"),
            ("ANTHROPIC_BASE_URL", "http://a"),
        ]);
        late.take_variables(&own, &wanted).expect("warm");
        let requests = late.into_requests();
        assert_eq!(requests.ids, ["relay-late-0"]);
        assert_eq!(requests.secrets.len(), 1);
        assert_eq!(requests.secrets[0].expose(), "sk-secret");
        for (own, wanted, name) in [
            (&own, env(&[("PATH", "/bin"), ("A", "1")]), "A"),
            (&own, env(&[("PATH", "/usr/bin")]), "PATH"),
            (&own, env(&[]), "PATH"),
            (&env(&[("ANTHROPIC_API_KEY", "k")]), env(&[]), "ANTHROPIC_API_KEY"),
        ] {
            let found = Late::default().take_variables(own, &wanted);
            assert_eq!(found, Err(Cold::Variable(name.into())), "{wanted:?}");
        }
    }

    #[test]
    fn a_cli_that_is_too_old_or_unknown_is_told_nothing_late() {
        let mut late = Late::default();
        let late_enough = Some(Capability::LateSettings.since());
        for version in [None, Some(Version::OLDEST), late_enough] {
            assert_eq!(late.check(version), Ok(()));
        }
        late.thinking = Some(json!(1));
        for version in [None, Some(Version::OLDEST)] {
            assert_eq!(late.check(version), Err(Cold::Version));
        }
        assert_eq!(late.check(late_enough), Ok(()));
    }
}
