//! What the settings of a workspace would run: hooks, MCP servers, helpers. In
//! an untrusted workspace they do not act; a person should know of them before
//! trusting it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

/// The files that are looked into.
const SETTINGS: [&str; 2] = [".claude/settings.json", ".claude/settings.local.json"];

/// The file that names MCP servers.
const SERVERS: &str = ".mcp.json";

/// Settings that name a program to run.
const HELPERS: [&str; 10] = [
    "apiKeyHelper",
    "awsAuthRefresh",
    "awsCredentialExport",
    "enabledPlugins",
    "fileSuggestion",
    "gcpAuthRefresh",
    "otelHeadersHelper",
    "proxyAuthHelper",
    "statusLine",
    "subagentStatusLine",
];

/// How much of a file is read; a longer one is not looked into.
const FILE_BYTES: u64 = 1 << 20;

/// How many names are told, and how long one may be.
const NAMES: usize = 32;
const NAME_CHARS: usize = 64;

/// An object of `hooks`, `mcp_servers` and `helpers`, each with a count and
/// names.
#[must_use]
pub fn read(workspace: &Path) -> Value {
    let (mut hooks, mut servers, mut helpers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for file in SETTINGS {
        let Some(settings) = object(&workspace.join(file)) else { continue };
        hooks.extend(names(&settings["hooks"]));
        servers.extend(names(&settings["mcpServers"]));
        let is_set = |name: &str| !matches!(settings[name], Value::Null | Value::Bool(false));
        helpers.extend(HELPERS.into_iter().filter(|name| is_set(name)).map(str::to_owned));
    }
    if let Some(file) = object(&workspace.join(SERVERS)) {
        servers.extend(names(&file["mcpServers"]));
    }
    json!({ "hooks": told(&hooks), "mcp_servers": told(&servers), "helpers": told(&helpers) })
}

/// The object in a file, if it is a file of a fair size that holds one.
fn object(path: &Path) -> Option<Value> {
    // A pipe in the place of a file would wait for its other end.
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(FILE_BYTES + 1).read_to_string(&mut text).ok()?;
    if text.len() as u64 > FILE_BYTES {
        return None;
    }
    serde_json::from_str(&text).ok().filter(Value::is_object)
}

fn names(value: &Value) -> Vec<String> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

fn told(names: &BTreeSet<String>) -> Value {
    let plain = |name: &String| -> String {
        let shown = name.chars().take(NAME_CHARS);
        shown.map(|c| if c.is_alphanumeric() || "-_.:@/ ".contains(c) { c } else { '?' }).collect()
    };
    json!({
        "count": names.len(),
        "names": names.iter().take(NAMES).map(plain).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_servers_and_helpers_are_counted_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let none = json!({ "count": 0, "names": [] });
        assert_eq!(read(dir.path())["hooks"], none);
        std::fs::create_dir(dir.path().join(".claude")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            ".claude/settings.json",
            r#"{"hooks":{"SessionStart":[],"PreToolUse":[]},"apiKeyHelper":"sh","statusLine":null}"#,
        );
        write(".claude/settings.local.json", r#"{"hooks":{"SessionStart":[],"\u202eevil":[]}}"#);
        write(".mcp.json", r#"{"mcpServers":{"one":{"command":"sh"}}}"#);
        assert_eq!(
            read(dir.path()),
            json!({
                "hooks": { "count": 3, "names": ["PreToolUse", "SessionStart", "?evil"] },
                "mcp_servers": { "count": 1, "names": ["one"] },
                "helpers": { "count": 1, "names": ["apiKeyHelper"] },
            })
        );
        for broken in ["[]", "{", "7"] {
            write(".mcp.json", broken);
            assert_eq!(read(dir.path())["mcp_servers"], none);
        }
    }
}
