//! MCP servers: checks them, masks their secrets for the echo, and restores the
//! secrets that a posted mask stands for. Everything else in them is passed on
//! unchanged.

use serde_json::value::RawValue;

use super::env::no_previous;
use super::mask::{self, mask_args, mask_url, mask_value};
use super::raw;
use super::value::{self, Path};
use super::{ConfigError, MASK, Secret};
use crate::credentials;
use crate::json::{self, Entries};

const KEPT: &str =
    "\"***\" keeps a value only while the server's url, command and args stay as they were";

/// Fields of a server without a secret, or with a masking of their own.
const PLAIN: [&str; 5] = ["type", "command", "headersHelper", "timeout", "alwaysLoad"];

/// Reads the map `mcpServers`, with the masked values taken from `previous`.
pub(super) fn read(
    raw: &RawValue,
    previous: Option<&Secret>,
    path: &Path<'_>,
) -> Result<Secret, ConfigError> {
    let previous = previous.and_then(parsed);
    Ok(Secret::new(restore_servers(raw, &known(previous), path)?))
}

/// Reads the map `agents`: objects, in which only MCP servers are checked.
pub(super) fn read_agents(
    raw: &RawValue,
    previous: Option<&Secret>,
    path: &Path<'_>,
) -> Result<Secret, ConfigError> {
    let agents_before = known(previous.and_then(parsed));
    let mut out = Object::default();
    for (name, agent) in value::object(raw, path)? {
        let path = Path::Name(path, &name);
        let before = known(find(&agents_before, &name));
        let mut object = Object::default();
        for (field, value) in value::object(agent, &path)? {
            if field == "mcpServers" {
                let path = Path::Name(&path, &field);
                let before = find(&before, "mcpServers");
                object.entry(&field, &restore_list(value, before, &path)?);
            } else {
                check_agent_field(&field, value, &Path::Name(&path, &field))?;
                object.entry(&field, &raw::compact(value.get()));
            }
        }
        out.entry(&name, &object.end());
    }
    Ok(Secret::new(out.end()))
}

/// Checks a field for which the agent would drop all sub-agents without a word.
fn check_agent_field(name: &str, value: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    match name {
        "description" | "prompt" | "model" => drop(value::string(value, path)?),
        "tools" | "disallowedTools" => drop(value::arguments(value, path)?),
        _ => {}
    }
    Ok(())
}

/// Restores the MCP servers of one agent: names of known ones, or maps of new
/// ones.
fn restore_list(
    raw: &RawValue,
    previous: Option<&RawValue>,
    path: &Path<'_>,
) -> Result<String, ConfigError> {
    let before: Vec<_> = previous
        .and_then(|list| crate::json::elements(list).ok())
        .unwrap_or_default()
        .into_iter()
        .flat_map(|element| known(Some(element)))
        .collect();
    let mut elements = Vec::new();
    for (index, element) in value::array(raw, "an array", path)?.into_iter().enumerate() {
        let path = Path::Index(path, index);
        elements.push(if crate::json::is_string(element) {
            element.get().to_owned()
        } else {
            restore_servers(element, &before, &path)?
        });
    }
    Ok(format!("[{}]", elements.join(",")))
}

fn restore_servers(
    raw: &RawValue,
    before: &Entries<'_>,
    path: &Path<'_>,
) -> Result<String, ConfigError> {
    let mut out = Object::default();
    for (name, server) in value::object(raw, path)? {
        let path = Path::Name(path, &name);
        let fields = value::object(server, &path)?;
        check(&fields, &path)?;
        out.entry(&name, &restore(&fields, &known(find(before, &name)), &path)?);
    }
    Ok(out.end())
}

/// Restores one server: replaces masks by the values of `before`.
fn restore(
    fields: &Entries<'_>,
    before: &Entries<'_>,
    path: &Path<'_>,
) -> Result<String, ConfigError> {
    let mut kept = false;
    let mut same_place = true;
    let mut out = Object::default();
    for (name, value) in fields {
        let path = Path::Name(path, name);
        let previous = find(before, name);
        let text = match &**name {
            "headers" | "env" => {
                let previous = known(previous);
                let mut map = Object::default();
                for (key, value) in value::object(value, &path)? {
                    let masked = value::string(value, &Path::Name(&path, &key))? == MASK;
                    let text = if masked {
                        kept = true;
                        find(&previous, &key)
                            .ok_or_else(|| no_previous(&Path::Name(&path, &key)))?
                    } else {
                        value
                    };
                    map.entry(&key, text.get());
                }
                map.end()
            }
            "url" => {
                let url = value::string(value, &path)?;
                let before = previous.and_then(|url| value::string(url, &path).ok());
                if url.contains(MASK) && mask_url(&url) == url {
                    match &before {
                        Some(before) if mask_url(before) == url => quoted(before),
                        Some(_) => return Err(path.refused(KEPT)),
                        None => return Err(no_previous(&path)),
                    }
                } else {
                    same_place &= before.as_ref() == Some(&url);
                    quoted(&url)
                }
            }
            "command" => {
                let command = value::string(value, &path)?;
                let before = previous.and_then(|command| value::string(command, &path).ok());
                same_place &= before.as_ref() == Some(&command);
                quoted(&command)
            }
            "args" => {
                let args = match previous {
                    _ if !value.get().contains(MASK) => raw::compact(value.get()),
                    None => return Err(no_previous(&path)),
                    Some(before) if masked(name, before) == masked(name, value) => {
                        kept = true;
                        before.get().to_owned()
                    }
                    Some(_) => return Err(path.refused(KEPT)),
                };
                same_place &= previous.is_some_and(|before| before.get() == args);
                args
            }
            plain if PLAIN.contains(&plain) => raw::compact(value.get()),
            _ => match previous {
                Some(before)
                    if value.get().contains(MASK)
                        && masked(name, before) == masked(name, value) =>
                {
                    kept = true;
                    before.get().to_owned()
                }
                _ => raw::compact(value.get()),
            },
        };
        out.entry(name, &text);
    }
    // A kept header must not go to a server that the client has changed.
    if kept && !same_place {
        return Err(path.refused(KEPT));
    }
    Ok(out.end())
}

/// Checks the known fields; the agent exits on a wrong one. A type that is not
/// known here is passed on, because the agent gains types with its versions.
fn check(fields: &Entries<'_>, path: &Path<'_>) -> Result<(), ConfigError> {
    let kind = match find(fields, "type") {
        Some(kind) => value::string(kind, &Path::Name(path, "type"))?,
        None => "stdio".to_owned(),
    };
    let place = match &*kind {
        "stdio" => Some("command"),
        "http" | "sse" | "streamable-http" | "ws" => Some("url"),
        "sdk" => {
            return Err(Path::Name(path, "type").refused(
                "an \"sdk\" server lives in the caller's process: name it in sdkMcpServers, and connect with supports=host_tools",
            ));
        }
        _ => None,
    };
    if place == Some("command")
        && find(fields, "command").is_none()
        && find(fields, "url").is_some()
    {
        return Err(Path::Name(path, "type").refused(
            "a server with a url needs one: \"http\", \"sse\", \"streamable-http\" or \"ws\"",
        ));
    }
    if let Some(place) = place.filter(|place| find(fields, place).is_none()) {
        return Err(Path::Name(path, place).expected("a string"));
    }
    for (name, raw) in fields {
        let path = Path::Name(path, name);
        match &**name {
            "url" | "command" => {
                value::string(raw, &path)?;
            }
            "args" => {
                value::arguments(raw, &path)?;
            }
            // A server with another one is left out by the agent.
            "timeout" => {
                value::positive(raw, &path)?;
            }
            "headers" | "env" => {
                for (key, raw) in value::object(raw, &path)? {
                    value::string(raw, &Path::Name(&path, &key))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Types that a tried CLI runs. It leaves out servers of any other without a
/// word, but a newer one may know more.
const TYPES: [&str; 5] = ["stdio", "http", "sse", "streamable-http", "ws"];

/// Returns the names of the servers that no tried CLI runs.
pub(super) fn untried(servers: &Secret) -> Vec<String> {
    let is_untried = |server: &RawValue| {
        let kind = find(&known(Some(server)), "type").and_then(json::string);
        kind.is_some_and(|kind| !TYPES.contains(&&*kind))
    };
    let servers = known(parsed(servers)).into_iter();
    servers.filter(|(_, server)| is_untried(server)).map(|(name, _)| name.into_owned()).collect()
}

/// Adds the secrets in `mcpServers` to `secrets`.
pub(crate) fn collect_secrets(servers: &Secret, secrets: &mut Vec<Secret>) {
    collect_from_servers(&known(parsed(servers)), secrets);
}

/// Adds the secrets in `agents` to `secrets`.
pub(crate) fn collect_agents_secrets(agents: &Secret, secrets: &mut Vec<Secret>) {
    for (_, agent) in known(parsed(agents)) {
        let servers = find(&known(Some(agent)), "mcpServers");
        let elements = servers.and_then(|servers| json::elements(servers).ok());
        for element in elements.into_iter().flatten() {
            collect_from_servers(&known(Some(element)), secrets);
        }
    }
}

fn collect_from_servers(servers: &Entries<'_>, secrets: &mut Vec<Secret>) {
    let mut add = |text: &str| secrets.push(text.into());
    for (_, server) in servers {
        for (field, value) in known(Some(server)) {
            match &*field {
                "headers" => {
                    for (_, value) in known(Some(value)) {
                        let value = json::string(value).unwrap_or_default();
                        credentials::header_secrets(&value).for_each(&mut add);
                    }
                }
                "env" => {
                    for (_, value) in known(Some(value)) {
                        add(&json::string(value).unwrap_or_default());
                    }
                }
                "url" => {
                    let url = json::string(value).unwrap_or_default();
                    credentials::user_info(&url).into_iter().for_each(&mut add);
                    credentials::query_values(&url).for_each(&mut add);
                }
                name if PLAIN.contains(&name) => {}
                name => {
                    let mut found = Vec::new();
                    if let Ok(shown) = serde_json::from_str(&masked(name, value))
                        && let Ok(value) = serde_json::from_str(value.get())
                    {
                        mask::collect(&value, &shown, &mut found);
                    }
                    found.iter().for_each(|text| add(text));
                }
            }
        }
    }
}

/// Returns `mcpServers` as it may be shown.
pub(super) fn redact(servers: &Secret) -> String {
    redact_servers(&known(parsed(servers)))
}

/// Returns `agents` as it may be shown.
pub(super) fn redact_agents(agents: &Secret) -> String {
    let mut out = Object::default();
    for (name, agent) in known(parsed(agents)) {
        let mut object = Object::default();
        for (field, value) in known(Some(agent)) {
            if field == "mcpServers" {
                let elements: Vec<_> = crate::json::elements(value)
                    .unwrap_or_default()
                    .into_iter()
                    .map(|element| match crate::json::is_string(element) {
                        true => element.get().to_owned(),
                        false => redact_servers(&known(Some(element))),
                    })
                    .collect();
                object.entry(&field, &format!("[{}]", elements.join(",")));
            } else {
                object.entry(&field, value.get());
            }
        }
        out.entry(&name, &object.end());
    }
    out.end()
}

fn redact_servers(servers: &Entries<'_>) -> String {
    let mut out = Object::default();
    for (name, server) in servers {
        let mut object = Object::default();
        for (field, value) in known(Some(server)) {
            match &*field {
                "headers" | "env" => {
                    let mut map = Object::default();
                    for (key, _) in known(Some(value)) {
                        map.entry(&key, &quoted(MASK));
                    }
                    object.entry(&field, &map.end());
                }
                "url" => {
                    let url = crate::json::string(value).unwrap_or_default();
                    object.entry(&field, &quoted(&mask_url(&url)));
                }
                plain if PLAIN.contains(&plain) => object.entry(&field, value.get()),
                _ => object.entry(&field, &masked(&field, value)),
            }
        }
        out.entry(name, &object.end());
    }
    out.end()
}

/// Returns a field as it may be shown; in its own spelling where nothing is
/// masked.
fn masked(name: &str, raw: &RawValue) -> String {
    let shown = if name == "args" {
        serde_json::from_str::<Vec<String>>(raw.get()).ok().and_then(|args| {
            let shown = mask_args(&args);
            (shown != args).then(|| serde_json::Value::from(shown))
        })
    } else {
        serde_json::from_str::<serde_json::Value>(raw.get()).ok().and_then(|value| {
            let shown = mask_value(name, &value);
            (shown != value).then_some(shown)
        })
    };
    shown.map_or_else(|| raw::compact(raw.get()), |shown| shown.to_string())
}

fn parsed(text: &Secret) -> Option<&RawValue> {
    serde_json::from_str(text.expose()).ok()
}

/// Returns the entries of a stored and therefore checked value, none for
/// anything else.
fn known(value: Option<&RawValue>) -> Entries<'_> {
    value.and_then(|value| json::entries(value.get()).ok()).unwrap_or_default()
}

fn find<'a>(entries: &Entries<'a>, name: &str) -> Option<&'a RawValue> {
    entries.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
}

/// Returns `text` as a JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Writer of an object's text, entry by entry.
#[derive(Default)]
struct Object(String);

impl Object {
    fn entry(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&quoted(name));
        self.0.push(':');
        self.0.push_str(value);
    }

    fn end(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}
