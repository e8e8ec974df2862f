//! Parser of configurations: from a request's body to a [`QueryConfig`].

use serde_json::value::RawValue;

use super::fields::{FIELDS, Field, Kind};
use super::uncarried::FUNCTION;
use super::value::{self, Path, shown};
use super::{
    ConfigError, Json, MASK, MAX_AUTH_TOKEN_BYTES, MAX_DEPTH, MAX_IGNORED, MIN_AUTH_TOKEN_BYTES,
    Parsed, PermissionMode, Provider, QueryConfig, Secret, SettingSource, SystemPrompt, Tools,
    Uncarried, env, hooks, mask, options, raw, servers,
};
use crate::json;
use crate::nearest::nearest;

impl QueryConfig {
    /// Reads the body of `POST /config`. `previous` is the configuration that
    /// the result will replace: [`MASK`] in place of a secret keeps the
    /// previous one. Leaving a secret out removes it.
    ///
    /// The caller limits the length of the body.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not a JSON object, if a known field has
    /// a wrong type or an unusable value, or if fields contradict each other.
    pub fn parse(body: &[u8], previous: &Self) -> Result<Parsed, ConfigError> {
        let text = std::str::from_utf8(body).map_err(|_| ConfigError::InvalidJson)?;
        let body: &RawValue = serde_json::from_str(text).map_err(|_| ConfigError::InvalidJson)?;
        if !json::is_object(body) {
            return Err(ConfigError::NotAnObject);
        }
        if raw::depth(body.get()) > MAX_DEPTH {
            return Err(ConfigError::TooDeep);
        }
        // The only possible failure here is a name with half a surrogate pair.
        let fields = json::entries(body.get()).map_err(|_| ConfigError::InvalidJson)?;

        let mut reader =
            Reader { previous, config: Self::default(), auth_token: None, kept_credential: false };
        let (mut ignored, mut hints, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        let mut unknown = 0;
        for (name, value) in fields {
            let Some(field) = Field::by_name(&name) else {
                let uncarried = Uncarried::by_name(&name);
                if let Some(option) = uncarried {
                    option.check(value)?;
                    if value.get() == "null" {
                        continue;
                    }
                }
                unknown += 1;
                if unknown > MAX_IGNORED {
                    continue;
                }
                ignored.push(shown(&name));
                if let Some(option) = uncarried {
                    reasons.push((shown(&name), option.reason));
                } else if let Some(known) = nearest(&name, FIELDS.iter().map(|field| field.name)) {
                    hints.push((shown(&name), known));
                }
                continue;
            };
            if field.name == "hooks" && hooks::is_remains(value) {
                ignored.push(shown(&name));
                reasons.push((shown(&name), FUNCTION));
            } else if value.get() != "null" {
                reader.read(field, value)?;
            }
        }
        if unknown > MAX_IGNORED {
            ignored.push(format!("and {} more", unknown - MAX_IGNORED));
        }
        reader.check()?;
        let Reader { config, auth_token, .. } = reader;
        for name in config.mcp_servers.iter().flat_map(servers::untried).take(MAX_IGNORED) {
            reasons.push((format!("mcpServers.{}", shown(&name)), UNTRIED));
        }
        Ok(Parsed { config, ignored, hints, reasons, auth_token })
    }
}

const UNTRIED: &str =
    "no agent that was tried runs servers of this type: it may leave the server out without a word";

struct Reader<'p> {
    previous: &'p QueryConfig,
    config: QueryConfig,
    auth_token: Option<Secret>,
    /// Set when a mask kept a credential that the agent sends to its API.
    kept_credential: bool,
}

impl Reader<'_> {
    /// Takes the value of a field.
    fn read(&mut self, field: &Field, raw: &RawValue) -> Result<(), ConfigError> {
        let path = &Path::Field(field.name);
        let previous = self.previous;
        let config = &mut self.config;
        let kept = &mut self.kept_credential;
        match field.name {
            "agents" => {
                readable(raw, path)?;
                config.agents = Some(servers::read_agents(raw, previous.agents.as_ref(), path)?);
            }
            "allowedTools" => config.allowed_tools = Some(value::joined(raw, path)?),
            "systemPrompt" => config.system_prompt = Some(system_prompt(raw, path)?),
            "model" => config.model = Some(value::argument(raw, path)?),
            "mcpServers" => {
                readable(raw, path)?;
                let before = previous.mcp_servers.as_ref();
                config.mcp_servers = Some(servers::read(raw, before, path)?);
            }
            "disallowedTools" => config.disallowed_tools = Some(value::joined(raw, path)?),
            "tools" => config.tools = Some(tools(raw, path)?),
            "permissionMode" => {
                let mode = PermissionMode::from_name(&value::string(raw, path)?);
                config.permission_mode =
                    Some(mode.ok_or_else(|| path.expected(PermissionMode::EXPECTED))?);
            }
            "maxTurns" => config.max_turns = Some(value::whole(raw, 1, path)?),
            "maxThinkingTokens" => config.max_thinking_tokens = Some(value::whole(raw, 0, path)?),
            "maxBudgetUsd" => config.max_budget_usd = Some(value::positive(raw, path)?),
            "fallbackModel" => config.fallback_model = Some(value::argument(raw, path)?),
            "effort" => config.effort = Some(value::argument(raw, path)?),
            "includePartialMessages" => {
                config.include_partial_messages = Some(value::boolean(raw, path)?);
            }
            "settingSources" => config.setting_sources = Some(setting_sources(raw, path)?),
            "additionalDirectories" => {
                config.additional_directories = Some(directories(raw, path)?);
            }
            "outputFormat" => config.output_schema = Some(output_schema(raw, path)?),
            "resume" => config.resume = Some(value::argument(raw, path)?),
            "continue" => config.continue_latest = Some(value::boolean(raw, path)?),
            "forkSession" => config.fork_session = Some(value::boolean(raw, path)?),
            "cwd" => config.cwd = Some(directory(raw, path)?),
            "env" => {
                config.env = Some(env::read(raw, previous.env.as_ref(), kept, path)?);
            }
            "anthropicApiKey" => {
                config.anthropic_api_key =
                    credential(raw, previous.anthropic_api_key.as_ref(), kept, path)?;
            }
            "claudeCodeOauthToken" => {
                config.claude_code_oauth_token =
                    credential(raw, previous.claude_code_oauth_token.as_ref(), kept, path)?;
            }
            "anthropicAuthToken" => {
                config.anthropic_auth_token =
                    credential(raw, previous.anthropic_auth_token.as_ref(), kept, path)?;
            }
            "anthropicBaseUrl" => {
                config.anthropic_base_url =
                    base_url(raw, previous.anthropic_base_url.as_ref(), path)?;
            }
            "provider" => {
                let provider = Provider::from_name(&value::string(raw, path)?);
                config.provider = provider.ok_or_else(|| path.expected(Provider::EXPECTED))?;
            }
            "authToken" => self.auth_token = auth_token(raw, path)?,
            other => {
                config.other.insert(other, passed_on(field, raw, path)?);
            }
        }
        Ok(())
    }

    /// Checks the rules that concern more than one field.
    fn check(&self) -> Result<(), ConfigError> {
        let config = &self.config;
        if let Some(fallback) = config.fallback_model.as_deref().filter(|name| !name.is_empty())
            && config.model.as_deref() == Some(fallback)
        {
            return Err(Path::Field("fallbackModel").refused("must be another model than model"));
        }

        let goes_on = config.resume.is_some() || config.continue_latest == Some(true);
        if config.other.contains_key("sessionId") && goes_on && config.fork_session != Some(true) {
            return Err(Path::Field("sessionId")
                .refused("a conversation that goes on keeps its id, unless forkSession is set"));
        }
        if config.other.contains_key("sandbox")
            && config.other.get("settings").is_some_and(|settings| settings.get().starts_with('"'))
        {
            return Err(Path::Field("sandbox")
                .refused("settings names a file: put the sandbox into that file"));
        }

        let env = config.env.as_deref().unwrap_or_default();
        for (row, _) in config.credential_variables() {
            if let Some(field) = row.field
                && env.iter().any(|(name, _)| name == row.variable)
            {
                return Err(Path::Name(&Path::Field("env"), row.variable)
                    .refused(format!("{field} sets the same variable; give one of the two")));
            }
        }

        // A client that does not know a credential must not be able to send it
        // to an address of its own.
        if self.kept_credential
            && let Some(name) = config.changed_address(self.previous)
        {
            return Err(Path::Field(&name)
                .refused("changed while \"***\" keeps a credential; give the credential again"));
        }
        Ok(())
    }
}

/// Checks a value that is passed on unchanged.
fn passed_on(field: &Field, raw: &RawValue, path: &Path<'_>) -> Result<Json, ConfigError> {
    readable(raw, path)?;
    match field.kind {
        Kind::Text => drop(value::argument(raw, path)?),
        Kind::Boolean => drop(value::boolean(raw, path)?),
        Kind::Whole(least) => drop(value::whole(raw, least, path)?),
        Kind::Positive => drop(value::positive(raw, path)?),
        Kind::OneOf(names) => {
            if !names.contains(&value::string(raw, path)?.as_str()) {
                return Err(path.refused(format!("expected one of \"{}\"", names.join("\", \""))));
            }
        }
        Kind::List => drop(value::joined(raw, path)?),
        Kind::Items => drop(value::arguments(raw, path)?),
        Kind::Object => drop(value::object(raw, path)?),
        Kind::Own(_) => options::check(field.name, raw, path)?,
    }
    let text = raw::compact(raw.get());
    value::fits(text.len(), path)?;
    Ok(Json(text.into()))
}

/// Reads a credential. An empty one counts as none, as in the original. Sets
/// `kept` if it is the previous one.
fn credential(
    raw: &RawValue,
    previous: Option<&Secret>,
    kept: &mut bool,
    path: &Path<'_>,
) -> Result<Option<Secret>, ConfigError> {
    let text = value::argument(raw, path)?;
    if text == MASK {
        *kept = true;
        return previous.cloned().map(Some).ok_or_else(|| env::no_previous(path));
    }
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}

fn system_prompt(raw: &RawValue, path: &Path<'_>) -> Result<SystemPrompt, ConfigError> {
    if !json::is_object(raw) {
        return prompt(raw, path);
    }
    let entries = value::object(raw, path)?;
    let find = |wanted: &str| entries.iter().find(|(name, _)| name == wanted);
    let kind = find("type").and_then(|(_, kind)| json::string(kind));
    let is_custom = kind.as_deref() == Some("custom");
    let own = if is_custom {
        let path = Path::Name(path, "prompt");
        let (_, raw) = find("prompt").ok_or_else(|| path.expected(PROMPT))?;
        Some(Box::new(prompt(raw, &path)?))
    } else {
        preset(raw, path)?;
        None
    };
    let (mut append, mut exclude_dynamic_sections, mut snapshot) = (None, None, None);
    for (name, raw) in &entries {
        let path = Path::Name(path, name);
        match &**name {
            _ if raw.get() == "null" => {}
            "snapshot" => snapshot = Some(value::boolean(raw, &path)?),
            _ if is_custom => {}
            "append" => append = Some(value::string(raw, &path)?),
            "excludeDynamicSections" => {
                exclude_dynamic_sections = Some(value::boolean(raw, &path)?);
            }
            _ => {}
        }
    }
    Ok(match own {
        Some(prompt) => SystemPrompt::Custom { prompt, snapshot },
        None => SystemPrompt::Preset { append, exclude_dynamic_sections, snapshot },
    })
}

const PROMPT: &str = "a string or an array of strings";

/// Reads a prompt in its short form.
fn prompt(raw: &RawValue, path: &Path<'_>) -> Result<SystemPrompt, ConfigError> {
    if json::is_string(raw) {
        return Ok(SystemPrompt::Text(value::string(raw, path)?));
    }
    if !json::is_array(raw) {
        return Err(path.expected("a string, an array of strings or a preset"));
    }
    let blocks = value::array(raw, PROMPT, path)?.into_iter().enumerate();
    let blocks = blocks.map(|(index, block)| value::string(block, &Path::Index(path, index)));
    Ok(SystemPrompt::Blocks(blocks.collect::<Result<_, _>>()?))
}

/// Checks for the only preset.
fn preset(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    let entries = value::object(raw, path)?;
    for (name, wanted, expected) in
        [("type", "preset", "\"preset\""), ("preset", "claude_code", "\"claude_code\"")]
    {
        let found = entries.iter().find(|(known, _)| known == name);
        if found.and_then(|(_, value)| json::string(value)).as_deref() != Some(wanted) {
            return Err(Path::Name(path, name).expected(expected));
        }
    }
    Ok(())
}

fn tools(raw: &RawValue, path: &Path<'_>) -> Result<Tools, ConfigError> {
    if json::is_object(raw) {
        preset(raw, path)?;
        return Ok(Tools::Preset);
    }
    if !json::is_array(raw) {
        return Err(path.expected("an array of strings or a preset"));
    }
    Ok(Tools::List(value::joined(raw, path)?))
}

fn setting_sources(raw: &RawValue, path: &Path<'_>) -> Result<Vec<SettingSource>, ConfigError> {
    value::array(raw, "an array of strings", path)?
        .into_iter()
        .enumerate()
        .map(|(index, raw)| {
            let path = Path::Index(path, index);
            SettingSource::from_name(&value::string(raw, &path)?)
                .ok_or_else(|| path.expected(SettingSource::EXPECTED))
        })
        .collect()
}

fn output_schema(raw: &RawValue, path: &Path<'_>) -> Result<Json, ConfigError> {
    readable(raw, path)?;
    let (mut kind, mut schema) = (None, None);
    for (name, value) in value::object(raw, path)? {
        match &*name {
            "type" => kind = json::string(value),
            "schema" => schema = Some(value),
            _ => {}
        }
    }
    if kind.as_deref() != Some("json_schema") {
        return Err(Path::Name(path, "type").expected("\"json_schema\""));
    }
    let path = Path::Name(path, "schema");
    let schema = schema.filter(|schema| json::is_object(schema));
    let schema = raw::compact(schema.ok_or_else(|| path.expected("an object"))?.get());
    value::fits(schema.len(), &path)?;
    Ok(Json(schema.into()))
}

fn directories(raw: &RawValue, path: &Path<'_>) -> Result<Vec<String>, ConfigError> {
    value::array(raw, "an array of strings", path)?
        .into_iter()
        .enumerate()
        .map(|(index, raw)| directory(raw, &Path::Index(path, index)))
        .collect()
}

fn directory(raw: &RawValue, path: &Path<'_>) -> Result<String, ConfigError> {
    let text = value::argument(raw, path)?;
    if text.is_empty() { Err(path.refused("a path cannot be empty")) } else { Ok(text) }
}

fn base_url(
    raw: &RawValue,
    previous: Option<&Secret>,
    path: &Path<'_>,
) -> Result<Option<Secret>, ConfigError> {
    let url = value::argument(raw, path)?;
    if url.is_empty() {
        return Ok(None);
    }
    if url.contains(MASK) && mask::mask_url(&url) == url {
        let shown = previous.is_some_and(|before| mask::mask_url(before.expose()) == url);
        return if shown { Ok(previous.cloned()) } else { Err(env::no_previous(path)) };
    }
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(path.expected("an http or https address"));
    }
    Ok(Some(Secret::new(url)))
}

fn auth_token(raw: &RawValue, path: &Path<'_>) -> Result<Option<Secret>, ConfigError> {
    let token = value::string(raw, path)?;
    if token == MASK {
        return Ok(None);
    }
    if !(MIN_AUTH_TOKEN_BYTES..=MAX_AUTH_TOKEN_BYTES).contains(&token.len())
        || !token.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(path.refused(format!(
            "must be {MIN_AUTH_TOKEN_BYTES} to {MAX_AUTH_TOKEN_BYTES} characters of visible ASCII"
        )));
    }
    Ok(Some(Secret::new(token)))
}

/// Checks that every parser can read JSON that is passed on unchanged.
fn readable(raw: &RawValue, path: &Path<'_>) -> Result<(), ConfigError> {
    raw::unreadable(raw.get()).map_or(Ok(()), |what| Err(path.refused(what)))
}

#[cfg(test)]
mod tests;
