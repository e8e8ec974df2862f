//! Environment variables that a configuration may set for the agent.

use serde_json::value::RawValue;

use super::value::{self, Path};
use super::{ConfigError, Env, MASK, Secret};
use crate::credentials::{Credential, by_variable};

const LOADER: &str = "it makes the loader put other code into every program the agent starts";
const PROGRAMS: &str = "it decides which programs run; set it where the server is started";
const INJECTION: &str = "it puts other code or a debugger into the agent";
const RELAY: &str = "it is a setting of the server, which the agent never sees";
const SANDBOX: &str = "only the server knows whether it runs in a sandbox";
const NESTED: &str = "it makes the agent believe that it runs inside another one";

/// Names that are refused, with the reason. A `*` at the end stands for any
/// rest.
const REFUSED: [(&str, &str); 16] = [
    ("LD_*", LOADER),
    ("DYLD_*", LOADER),
    ("PATH", PROGRAMS),
    ("NODE_OPTIONS", INJECTION),
    ("BUN_OPTIONS", INJECTION),
    ("BUN_INSPECT*", INJECTION),
    ("VSCODE_INSPECTOR_OPTIONS", INJECTION),
    ("RELAY_*", RELAY),
    ("HOST", RELAY),
    ("PORT", RELAY),
    ("CLAUDE_PATH", RELAY),
    ("CODEX_PATH", RELAY),
    ("IS_SANDBOX", SANDBOX),
    ("CLAUDE_CODE_BUBBLEWRAP", SANDBOX),
    ("CLAUDECODE", NESTED),
    ("CLAUDE_CODE_SSE_PORT", NESTED),
];

/// Reads the map `env`: checks the names, keeps the values secret, takes masked
/// ones from `previous`. Sets `kept` if one of those is a credential.
pub(super) fn read(
    raw: &RawValue,
    previous: Option<&Env>,
    kept: &mut bool,
    path: &Path<'_>,
) -> Result<Env, ConfigError> {
    let mut env = Env::new();
    for (name, raw) in value::object(raw, path)? {
        let path = Path::Name(path, &name);
        check_name(&name, &path)?;
        let text = value::string(raw, &path)?;
        value::fits(name.len() + 1 + text.len(), &path)?;
        let value = if text == MASK {
            *kept |= by_variable(&name).is_some_and(Credential::goes_to_base_url);
            let before = previous.and_then(|env| env.iter().find(|(known, _)| *known == name));
            before.map(|(_, value)| value.clone()).ok_or_else(|| no_previous(&path))?
        } else {
            Secret::new(text)
        };
        env.push((name.into_owned(), value));
    }
    Ok(env)
}

/// Returns the error for a mask that replaces no secret.
pub(super) fn no_previous(path: &Path<'_>) -> ConfigError {
    path.refused("\"***\" keeps the value that is set already, and none is")
}

fn check_name(name: &str, path: &Path<'_>) -> Result<(), ConfigError> {
    if name.is_empty() {
        return Err(path.refused("a variable's name cannot be empty"));
    }
    if name.contains(|c: char| c == '=' || c.is_whitespace() || c.is_control()) {
        return Err(path.refused("a variable's name cannot hold \"=\", white space or controls"));
    }
    let refused = REFUSED.iter().find(|(pattern, _)| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *pattern,
    });
    match refused {
        Some((_, reason)) => Err(path.refused(format!("cannot be set here: {reason}"))),
        None => Ok(()),
    }
}
