//! Descriptions of the agents for `/health` and the `capabilities` frame.

use std::path::{Path, PathBuf};

use claude_relay_listen::program::{Unusable, look_for_program};
use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::config::Provider;
use serde_json::{Value, json};

use super::{INSTALL, INSTALL_CODEX, codex, login, provider};
use crate::settings::Settings;

/// Version of each agent, or the reason why it is not known.
pub type Versions = Vec<(Provider, Result<String, String>)>;

/// Returns the executable of each agent, or the reason why there is none.
pub fn executables(settings: &Settings) -> [(Provider, Result<PathBuf, String>); 2] {
    let found = |program: &Path| {
        look_for_program(program, settings.variable("PATH")).map_err(|error| match error {
            Unusable::Missing => format!("{} was not found", program.display()),
            error => error.to_string(),
        })
    };
    let codex = match &settings.codex_url {
        Some(url) => Err(format!("it runs elsewhere, at {url}")),
        None => found(&settings.codex_path),
    };
    [(Provider::Claude, found(&settings.claude_path)), (Provider::Codex, codex)]
}

/// Describes the configured agent; `versions` if they are known.
#[must_use]
pub fn describe(settings: &Settings, config: &QueryConfig, versions: Option<&Versions>) -> Value {
    if settings.demo {
        let version = env!("CARGO_PKG_VERSION");
        let provider = provider(settings, config);
        return json!({ "provider": provider, "demo": true, "installed": true, "version": version });
    }
    let mut agent = json!({ "provider": config.provider, "demo": false });
    let (installed, hint) = match config.provider {
        Provider::Claude => (settings.claude().is_some(), INSTALL),
        Provider::Codex => {
            (settings.codex_url.is_some() || settings.codex().is_some(), INSTALL_CODEX)
        }
    };
    agent["installed"] = json!(installed);
    if !installed {
        agent["install_hint"] = json!(hint);
    }
    if installed && !login::is_possible(settings, config) {
        agent["credential"] = json!(false);
    }
    add_version(&mut agent, config.provider, versions);
    agent
}

/// Describes all agents: availability, and version if it is known.
#[must_use]
pub fn providers(settings: &Settings, versions: Option<&Versions>) -> Value {
    let mut claude = json!({ "installed": settings.claude().is_some() });
    add_version(&mut claude, Provider::Claude, versions);
    let mut codex = json!({
        "installed": settings.codex().is_some(),
        "remote": settings.codex_url.is_some(),
    });
    add_version(&mut codex, Provider::Codex, versions);
    json!({ "claude": claude, "codex": codex })
}

fn add_version(to: &mut Value, provider: Provider, versions: Option<&Versions>) {
    let found = versions.into_iter().flatten().find(|(of, _)| *of == provider);
    match found.map(|(_, version)| version) {
        Some(Ok(version)) => to["version"] = json!(version),
        Some(Err(reason)) => {
            to["version"] = Value::Null;
            to["version_unknown"] = json!(reason);
        }
        None => to["version"] = Value::Null,
    }
}

/// Returns the fields of a configuration that do not reach its agent as they
/// are, with reasons.
#[must_use]
pub fn ignored(settings: &Settings, config: &QueryConfig) -> Vec<String> {
    match provider(settings, config) {
        Provider::Claude => config.completed_agents(),
        Provider::Codex => codex::launch::ignored(config),
    }
}
