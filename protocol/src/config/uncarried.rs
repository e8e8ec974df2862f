//! Options of the SDK that no configuration can carry.

use serde_json::value::RawValue;

use super::ConfigError;
use super::value::Path;
use crate::json;

/// An option of the SDK that is no field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uncarried {
    /// Its name.
    pub name: &'static str,
    /// True for functions and objects that live in the caller's process.
    pub is_function: bool,
    /// The reason, to be told to the sender.
    pub reason: &'static str,
}

pub(super) const FUNCTION: &str = "it lives in the caller's process: docs/sdk.md says how the SDK itself, functions included, drives an agent of this server";
const STORE: &str =
    "it belongs to sessionStore, which lives in the caller's process: see docs/sdk.md";
const PROGRAM: &str = "the operator names the program, with --claude-path";

const fn function(name: &'static str) -> Uncarried {
    Uncarried { name, is_function: true, reason: FUNCTION }
}

const fn other(name: &'static str, reason: &'static str) -> Uncarried {
    Uncarried { name, is_function: false, reason }
}

/// All of them.
pub const UNCARRIED: [Uncarried; 15] = [
    function("abortController"),
    function("canUseTool"),
    function("onElicitation"),
    function("onUserDialog"),
    function("sessionStore"),
    function("spawnClaudeCodeProcess"),
    function("stderr"),
    other("sessionStoreFlush", STORE),
    other("loadTimeoutMs", STORE),
    other("executable", PROGRAM),
    other("executableArgs", PROGRAM),
    other("pathToClaudeCodeExecutable", PROGRAM),
    other("allowDangerouslySkipPermissions", "the operator's --mode decides"),
    other("mcpServersDelivery", "the servers always reach the agent in a private file"),
    other("debug", "the server's --log decides; debugFile names a file for the agent's own log"),
];

impl Uncarried {
    /// Returns the option of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        UNCARRIED.iter().find(|option| option.name == name)
    }

    /// Checks what a client sent for it. A client that sends its own options as
    /// JSON sends the remains of functions along, which mean nothing.
    ///
    /// # Errors
    ///
    /// Returns an error if the value of a function says something: it would be
    /// without effect.
    pub(super) fn check(&self, raw: &RawValue) -> Result<(), ConfigError> {
        if self.is_function && !is_remains(raw) {
            return Err(Path::Field(self.name).refused(self.reason));
        }
        Ok(())
    }
}

/// Returns whether `raw` is what JSON keeps of functions: `null` and empty
/// shells.
pub(super) fn is_remains(raw: &RawValue) -> bool {
    if json::is_array(raw) {
        return json::elements(raw).is_ok_and(|list| list.into_iter().all(is_remains));
    }
    if json::is_object(raw) {
        return json::entries(raw.get())
            .is_ok_and(|entries| entries.into_iter().all(|(_, value)| is_remains(value)));
    }
    raw.get() == "null"
}

#[cfg(test)]
mod tests {
    use crate::QueryConfig;

    #[test]
    fn functions_are_refused_by_name_and_their_remains_are_listed() {
        let parse = |body: &str| QueryConfig::parse(body.as_bytes(), &QueryConfig::default());
        for body in [r#"{"canUseTool":"yes"}"#, r#"{"sessionStore":{"bucket":"b"}}"#] {
            let error = parse(body).unwrap_err().to_string();
            let name = body.split('"').nth(1).unwrap();
            assert!(error.starts_with(&format!("{name}: ")), "{error}");
            assert!(error.contains("docs/sdk.md"), "{error}");
        }
        let body = r#"{"model":"m","abortController":{"signal":{}},"canUseTool":null,"stderr":null,
            "debug":true,"executable":"node","sessionStoreFlush":"eager"}"#;
        let parsed = parse(body).unwrap();
        let named = ["abortController", "debug", "executable", "sessionStoreFlush"];
        assert_eq!(parsed.ignored, named);
        let reasons: Vec<_> = parsed.reasons.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(reasons, named);
    }
}
