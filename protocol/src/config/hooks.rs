//! Hooks that a client runs: checks their registration, which is passed on
//! unchanged. On a wrong one the agent would go on without its hooks.

use serde_json::value::RawValue;

use super::ConfigError;
use super::uncarried;
use super::value::{self, Path};
use crate::json;

/// Returns whether `raw` is what JSON keeps of the SDK's own form, in which the
/// hooks are functions: events and matchers, without anything to call.
pub(super) fn is_remains(raw: &RawValue) -> bool {
    let of_matcher = |raw: &RawValue| {
        uncarried::is_remains(raw)
            || json::entries(raw.get()).is_ok_and(|entries| {
                let hooks = entries.iter().find(|(name, _)| name == "hooks");
                hooks.is_some_and(|(_, hooks)| uncarried::is_remains(hooks))
                    && entries.iter().all(|(name, _)| name != "hookCallbackIds")
            })
    };
    let events = json::entries(raw.get()).unwrap_or_default();
    let matchers: Result<Vec<_>, _> = events.iter().map(|(_, raw)| json::elements(raw)).collect();
    matchers.is_ok_and(|events| {
        let mut matchers = events.iter().flatten().peekable();
        matchers.peek().is_some() && matchers.all(|raw| of_matcher(raw))
    })
}

/// Checks the map `hooks`: arrays of matchers by event.
pub(super) fn check(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    for (event, matchers) in value::object(raw, path)? {
        let path = Path::Name(path, &event);
        for (index, matcher) in value::array(matchers, "an array", &path)?.into_iter().enumerate() {
            check_matcher(matcher, &Path::Index(&path, index))?;
        }
    }
    Ok(())
}

const COMMANDS: &str = "commands belong into the field settings, as settings.hooks; a hook that the \
    client runs is named in hookCallbackIds; docs/sdk.md says how the SDK itself, functions \
    included, drives an agent of this server";

fn check_matcher(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    let mut has_ids = false;
    for (name, value) in value::object(raw, path)? {
        let path = Path::Name(path, &name);
        match &*name {
            "hookCallbackIds" => {
                value::arguments(value, &path)?;
                has_ids = true;
            }
            "hooks" => return Err(path.refused(COMMANDS)),
            "matcher" if value.get() != "null" => drop(value::string(value, &path)?),
            "timeout" if value.get() != "null" => drop(value::positive(value, &path)?),
            _ => {}
        }
    }
    if has_ids {
        Ok(())
    } else {
        Err(Path::Name(path, "hookCallbackIds").expected("an array of strings"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::QueryConfig;

    #[test]
    fn a_hook_is_named_by_the_ids_of_its_callbacks() {
        let parse = |hooks: &str| {
            let body = format!(r#"{{"hooks":{hooks}}}"#);
            let parsed = QueryConfig::parse(body.as_bytes(), &QueryConfig::default());
            parsed.map(|parsed| parsed.config.other["hooks"].get().to_owned())
        };
        let hooks = r#"{"PreToolUse":[{"matcher":"Bash","hookCallbackIds":["hook_0"],"timeout":5,"onFailure":"block"}],"Stop":[]}"#;
        assert_eq!(parse(hooks).as_deref(), Ok(hooks));
        for (hooks, error) in [
            ("[]", "hooks: expected an object"),
            (r#"{"Stop":{}}"#, "hooks.Stop: expected an array"),
            (
                r#"{"Stop":[{"matcher":"Bash"}]}"#,
                "hooks.Stop[0].hookCallbackIds: expected an array of strings",
            ),
            (
                r#"{"Stop":[{"hookCallbackIds":["a"],"timeout":-1}]}"#,
                "hooks.Stop[0].timeout: expected a number above 0",
            ),
            (
                r#"{"Stop":[{"hookCallbackIds":["a"],"matcher":1}]}"#,
                "hooks.Stop[0].matcher: expected a string",
            ),
        ] {
            assert_eq!(parse(hooks).unwrap_err().to_string(), error);
        }
    }
    #[test]
    fn what_json_keeps_of_hooks_that_are_functions_is_listed_and_commands_are_refused() {
        let parse = |hooks: &str| {
            let body = format!(r#"{{"model":"m","hooks":{hooks}}}"#);
            QueryConfig::parse(body.as_bytes(), &QueryConfig::default())
        };
        for hooks in [
            r#"{"PreToolUse":[{"matcher":"Bash","hooks":[null]}],"Stop":[{"hooks":[null,null]}]}"#,
            r#"{"PreToolUse":[{"hooks":[]}]}"#,
            r#"{"PreToolUse":[{"matcher":"Bash","hooks":[{}],"timeout":5}]}"#,
            r#"{"PreToolUse":[null]}"#,
            r#"{"PreToolUse":[{}]}"#,
        ] {
            let parsed = parse(hooks).unwrap();
            assert!(!parsed.config.other.contains_key("hooks"), "{hooks}");
            assert_eq!(parsed.ignored, ["hooks"], "{hooks}");
            assert!(parsed.reasons[0].1.contains("docs/sdk.md"), "{hooks}");
        }
        for (hooks, path) in [
            (r#"{"Stop":[{"hooks":[{"type":"command","command":"x"}]}]}"#, "hooks.Stop[0].hooks: "),
            (r#"{"Stop":[{"hooks":["a"]}]}"#, "hooks.Stop[0].hooks: "),
            (
                r#"{"Stop":[{"hookCallbackIds":["a"]}],"PreToolUse":[{"hooks":[null]}]}"#,
                "hooks.PreToolUse[0].hooks: ",
            ),
        ] {
            let error = parse(hooks).unwrap_err().to_string();
            assert!(error.starts_with(path) && error.contains("docs/sdk.md"), "{error}");
        }
        assert!(parse("{}").unwrap().ignored.is_empty());
    }
}
