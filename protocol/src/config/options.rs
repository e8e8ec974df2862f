//! Checks of values that the relay passes on and whose form only one field has.

use serde_json::value::RawValue;

use super::fields::{FIELDS, Target};
use super::value::{self, Path};
use super::{ConfigError, hooks};
use crate::json;

/// Flags that `extraArgs` may not name: the relay sets them, or could not speak
/// with the agent any more.
const FLAGS_OF_THE_RELAY: [&str; 22] = [
    "allow-dangerously-skip-permissions",
    "allowed-tools",
    "append-system-prompt",
    "await-initialize",
    "background",
    "dangerously-skip-permissions",
    "disallowed-tools",
    "help",
    "init-only",
    "initialize-fields",
    "input-format",
    "maintenance",
    "managed-settings-in-initialize",
    "mcp-config",
    "output-format",
    "print",
    "sdk-url",
    "session-mirror",
    "system-prompt",
    "teleport",
    "verbose",
    "version",
];

/// Longest number of entries that a list or a map of options may have.
const MAX_ENTRIES: usize = 256;

/// Checks the value of the field `name`.
pub(super) fn check(name: &str, raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    match name {
        "sessionId" | "resumeSessionAt" | "resumeDropsTurn" => uuid(raw, path),
        "hooks" => hooks::check(raw, path),
        "skills" => skills(raw, path),
        "plugins" => plugins(raw, path),
        "thinking" => thinking(raw, path),
        "taskBudget" => task_budget(raw, path),
        "settings" => settings(raw, path),
        "toolConfig" => tool_config(raw, path),
        "toolAliases" => {
            for (name, value) in bounded(value::object(raw, path)?, path)? {
                value::string(value, &Path::Name(path, &name))?;
            }
            Ok(())
        }
        "extraArgs" => extra_args(raw, path),
        _ => value::object(raw, path).map(drop),
    }
}

fn bounded<T>(entries: Vec<T>, path: &Path<'_>) -> Result<Vec<T>, ConfigError> {
    if entries.len() > MAX_ENTRIES {
        return Err(path.refused(format!("holds more than {MAX_ENTRIES} entries")));
    }
    Ok(entries)
}

fn uuid(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    let text = value::string(raw, path)?;
    let form = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    if text.len() == 36 && text.bytes().enumerate().all(form) {
        Ok(())
    } else {
        Err(path.expected("a UUID"))
    }
}

/// The names that the SDK takes: those that can stand in `Skill(…)`.
fn skills(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    if json::is_string(raw) {
        return match &*value::string(raw, path)? {
            "all" => Ok(()),
            _ => Err(path.expected("\"all\" or an array of names")),
        };
    }
    let names = bounded(value::array(raw, "\"all\" or an array of names", path)?, path)?;
    for (index, raw) in names.into_iter().enumerate() {
        let path = Path::Index(path, index);
        let name = value::string(raw, &path)?;
        let odd = |c: char| "(),".contains(c) || c.is_control();
        if name.trim() != name || name.is_empty() || name.contains(odd) {
            return Err(path.refused(
                "a skill's name has no brackets, commas or controls, and no white space around it",
            ));
        }
        let wildcard = [":*", " *", "__*"].iter().any(|end| name.ends_with(end));
        if name == "*" || wildcard || name.starts_with('/') {
            return Err(path.refused("expected the exact name of a skill, or \"all\" for all"));
        }
    }
    value::joined(raw, path).map(drop)
}

fn plugins(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    for (index, raw) in bounded(value::array(raw, "an array", path)?, path)?.into_iter().enumerate()
    {
        let path = &Path::Index(path, index);
        let mut has = (false, false);
        for (name, raw) in value::object(raw, path)? {
            let path = &Path::Name(path, &name);
            match &*name {
                "type" => match &*value::string(raw, path)? {
                    "local" => has.0 = true,
                    _ => return Err(path.expected("\"local\"")),
                },
                "path" => has.1 = !value::argument(raw, path)?.is_empty(),
                "skipMcpDiscovery" => drop(value::boolean(raw, path)?),
                _ => return Err(path.refused("a plugin has no such field")),
            }
        }
        match has {
            (true, true) => {}
            (false, _) => return Err(Path::Name(path, "type").expected("\"local\"")),
            (true, false) => return Err(Path::Name(path, "path").expected("a path")),
        }
    }
    Ok(())
}

fn thinking(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    let fields = value::object(raw, path)?;
    let kind = fields.iter().find(|(name, _)| name == "type");
    let kind = kind.and_then(|(_, kind)| json::string(kind));
    let kinds = "\"adaptive\", \"enabled\" or \"disabled\"";
    let allowed: &[&str] = match kind.as_deref() {
        Some("adaptive") => &["display"],
        Some("enabled") => &["budgetTokens", "display"],
        Some("disabled") => &[],
        _ => return Err(Path::Name(path, "type").expected(kinds)),
    };
    for (name, raw) in fields {
        let path = &Path::Name(path, &name);
        match &*name {
            "type" => {}
            other if !allowed.contains(&other) => {
                return Err(path.refused("thinking of this type has no such field"));
            }
            "budgetTokens" => drop(value::whole(raw, 1, path)?),
            _ => match &*value::string(raw, path)? {
                "summarized" | "omitted" => {}
                _ => return Err(path.expected("\"summarized\" or \"omitted\"")),
            },
        }
    }
    Ok(())
}

fn task_budget(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    let fields = value::object(raw, path)?;
    let total = fields.iter().find(|(name, _)| name == "total");
    let path = &Path::Name(path, "total");
    match total {
        Some((_, total)) => value::whole(total, 1, path).map(drop),
        None => Err(path.expected("a whole number of at least 1")),
    }
}

fn settings(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    if json::is_string(raw) {
        let file = value::argument(raw, path)?;
        // Text that begins so is an object to the CLI.
        if file.trim().is_empty() || file.trim_start().starts_with('{') {
            return Err(path.expected("an object, or the path of a file"));
        }
        return Ok(());
    }
    for (name, _) in value::object(raw, path)? {
        if name == "env" {
            return Err(Path::Name(path, "env")
                .refused("the command line would show its values: put them into the field env"));
        }
    }
    Ok(())
}

fn tool_config(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    for (name, raw) in value::object(raw, path)? {
        let path = &Path::Name(path, &name);
        if name != "askUserQuestion" {
            return Err(path.refused("only askUserQuestion can be configured"));
        }
        for (name, raw) in value::object(raw, path)? {
            let path = &Path::Name(path, &name);
            if name != "previewFormat" {
                return Err(path.refused("only previewFormat can be configured"));
            }
            if !["markdown", "html"].contains(&&*value::string(raw, path)?) {
                return Err(path.expected("\"markdown\" or \"html\""));
            }
        }
    }
    Ok(())
}

fn extra_args(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    for (name, raw) in bounded(value::object(raw, path)?, path)? {
        let path = &Path::Name(path, &name);
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
            return Err(path.refused("expected the name of a flag without its dashes"));
        }
        let is_flag = |flag: &str| flag.strip_prefix("--") == Some(&name);
        let owner = FIELDS.iter().find(|field| match field.target {
            Target::Flag(flag) | Target::File(flag) => is_flag(flag),
            _ => false,
        });
        if let Some(owner) = owner {
            return Err(path.refused(format!("use the field {}", owner.name)));
        }
        if FLAGS_OF_THE_RELAY.contains(&&*name) {
            return Err(path.refused("the relay sets this flag, or could not do without it"));
        }
        if raw.get() != "null" {
            value::argument(raw, path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::QueryConfig;

    fn error(body: &str) -> String {
        match QueryConfig::parse(body.as_bytes(), &QueryConfig::default()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn values_outside_their_bounds_are_named_by_their_path() {
        for (body, text) in [
            (r#"{"sessionId":"x"}"#, "sessionId: expected a UUID"),
            (r#"{"skills":"some"}"#, "skills: expected \"all\" or an array of names"),
            (r#"{"skills":["a","b(c)"]}"#, "skills[1]: a skill's name has no"),
            (r#"{"skills":["x:*"]}"#, "skills[0]: expected the exact name"),
            (r#"{"plugins":[{"type":"npm","path":"p"}]}"#, "plugins[0].type: expected \"local\""),
            (r#"{"plugins":[{"type":"local"}]}"#, "plugins[0].path: expected a path"),
            (r#"{"plugins":[{"type":"local","path":"p","x":1}]}"#, "plugins[0].x: a plugin has no"),
            (r#"{"thinking":{"type":"hard"}}"#, "thinking.type: expected \"adaptive\""),
            (r#"{"thinking":{"type":"disabled","display":"omitted"}}"#, "thinking.display: "),
            (r#"{"thinking":{"type":"enabled","budgetTokens":0}}"#, "thinking.budgetTokens: "),
            (r#"{"taskBudget":{}}"#, "taskBudget.total: expected a whole number"),
            (r#"{"settings":"{\"a\":1}"}"#, "settings: expected an object, or the path"),
            (r#"{"settings":{"env":{"A":"b"}}}"#, "settings.env: the command line would show"),
            (r#"{"toolConfig":{"bash":{}}}"#, "toolConfig.bash: only askUserQuestion"),
            (r#"{"toolAliases":{"Bash":1}}"#, "toolAliases.Bash: expected a string"),
            (r#"{"extraArgs":{"--x":null}}"#, "extraArgs.--x: expected the name of a flag"),
            (r#"{"extraArgs":{"model":"m"}}"#, "extraArgs.model: use the field model"),
            (r#"{"extraArgs":{"output-format":"text"}}"#, "extraArgs.output-format: the relay"),
            (r#"{"extraArgs":{"x":1}}"#, "extraArgs.x: expected a string"),
            (r#"{"sessionId":"6f9619ff-8b86-4011-b42d-00cf4fc964ff","resume":"a"}"#, "sessionId: "),
        ] {
            assert!(error(body).starts_with(text), "{body}: {}", error(body));
        }
        let many: Vec<_> = (0..257).map(|n| format!("\"x{n}\":null")).collect();
        assert!(error(&format!(r#"{{"extraArgs":{{{}}}}}"#, many.join(","))).contains("256"));
        for fine in [
            r#"{"skills":"all","plugins":[{"type":"local","path":"p","skipMcpDiscovery":true}]}"#,
            r#"{"thinking":{"type":"enabled","budgetTokens":1024,"display":"omitted"}}"#,
            r#"{"settings":"/etc/claude.json","extraArgs":{"replay-user-messages":null,"x":"1"}}"#,
        ] {
            assert_eq!(error(fine), "", "{fine}");
        }
    }
}
