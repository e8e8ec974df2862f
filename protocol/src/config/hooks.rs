//! Hooks that a client runs: checks their registration, which is passed on
//! unchanged. On a wrong one the agent would go on without its hooks.

use serde_json::value::RawValue;

use super::ConfigError;
use super::value::{self, Path};

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

fn check_matcher(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    let mut has_ids = false;
    for (name, value) in value::object(raw, path)? {
        let path = Path::Name(path, &name);
        match &*name {
            "hookCallbackIds" => {
                value::arguments(value, &path)?;
                has_ids = true;
            }
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
                r#"{"Stop":[{"hooks":[null]}]}"#,
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
}
