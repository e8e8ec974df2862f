//! Subcommands that need no agent: configuration, health, completions, the
//! manual page.

use clap::CommandFactory as _;
use claude_relay_client::{Applies, Configured, RawJson};
use claude_relay_protocol::config::fields::{FIELDS, Field};
use claude_relay_protocol::nearest::nearest;
use serde_json::{Map, Value};

use crate::args::{Args, ConfigCommand, ServerArgs};
use crate::ask::prompt::read_file;
use crate::connect::{builder, explain};
use crate::exit::Exit;
use crate::health::State;
use crate::terminal::Terminal;

pub(crate) async fn config(
    server: &ServerArgs,
    command: ConfigCommand,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let builder = builder(server)?;
    let config = match command {
        ConfigCommand::Get { field: None } => {
            let configured =
                builder.get_configured().await.map_err(|error| explain(error, server))?;
            tell_secrets(&configured, terminal);
            configured.config
        }
        ConfigCommand::Get { field: Some(name) } => {
            known(&name)?;
            let config =
                builder.get_configuration().await.map_err(|error| explain(error, server))?;
            let value = config.parse::<Map<String, Value>>().unwrap_or_default().remove(&name);
            let value = value.unwrap_or_default().to_string();
            RawJson::new(value).map_err(|error| Exit::not_understood(error.to_string()))?
        }
        ConfigCommand::Unset { fields } => {
            let mut object = Map::new();
            for name in fields {
                known(&name)?;
                object.insert(name, Value::Null);
            }
            let json = RawJson::new(Value::from(object).to_string())
                .map_err(|error| Exit::not_understood(error.to_string()))?;
            let configured =
                builder.patch_configuration(json).await.map_err(|error| explain(error, server))?;
            tell(&configured, terminal);
            configured.config
        }
        ConfigCommand::Set { replace, file, fields } => {
            let json = match file {
                Some(path) if path.as_os_str() == "-" => std::io::read_to_string(std::io::stdin())
                    .map_err(|error| Exit::not_understood(format!("stdin: {error}")))?,
                Some(path) => String::from_utf8(read_file(&path, "--file")?)
                    .map_err(|_| Exit::not_understood("--file: it is not UTF-8"))?,
                None => object(&fields)?.to_string(),
            };
            let json = RawJson::new(json)
                .map_err(|error| Exit::not_understood(format!("it is not JSON: {error}")))?;
            let configured = match replace {
                true => builder.post_configuration(json).await,
                false => builder.patch_configuration(json).await,
            };
            let configured = configured.map_err(|error| explain(error, server))?;
            tell(&configured, terminal);
            configured.config
        }
    };
    print_json(&config, terminal)
}

/// Tells what became of a configuration.
fn tell(configured: &Configured, terminal: &Terminal) {
    if configured.applies == Applies::NextStart {
        terminal.note("it takes effect when the next client connects");
    }
    tell_secrets(configured, terminal);
    if configured.ignored.is_empty() {
        return;
    }
    let ignored: Vec<_> = configured
        .ignored
        .iter()
        .map(|name| match (configured.hints.get(name), configured.reasons.get(name)) {
            (Some(near), _) => format!("{name} (did you mean {near:?}?)"),
            (None, Some(reason)) => format!("{name} ({reason})"),
            (None, None) => name.clone(),
        })
        .collect();
    terminal.complain(&format!("the server does not know and ignores: {}", ignored.join(", ")));
}

/// Names what is set and never shown.
fn tell_secrets(configured: &Configured, terminal: &Terminal) {
    if !configured.secrets.is_empty() {
        terminal.note(&format!("set, and not shown: {}", configured.secrets.join(", ")));
    }
}

pub(crate) async fn health(
    server: &ServerArgs,
    json: bool,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let health = builder(server)?.health().await.map_err(|error| explain(error, server))?;
    if json {
        return print_json(&health.details, terminal);
    }
    terminal.print(&State::of(&health).table(&health, &server.url))
}

/// `name=value` pairs as an object.
fn object(fields: &[String]) -> Result<Value, Exit> {
    let mut object = Map::new();
    for field in fields {
        let (name, value) = field
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Exit::usage(format!("{field:?}: expected NAME=VALUE")))?;
        known(name)?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        if object.insert(name.to_owned(), value).is_some() {
            return Err(Exit::usage(format!("{name}: given twice")));
        }
    }
    Ok(Value::Object(object))
}

/// Checks the name of a field. A field that only a newer server knows goes by
/// `--file`.
fn known(name: &str) -> Result<(), Exit> {
    if Field::by_name(name).is_some() {
        return Ok(());
    }
    let near = nearest(name, FIELDS.iter().map(|field| field.name));
    let near = near.map(|near| format!(": did you mean {near:?}?")).unwrap_or_default();
    Err(Exit::usage(format!("there is no field {name:?}{near}")))
}

fn print_json(json: &RawJson, terminal: &Terminal) -> Result<Exit, Exit> {
    let pretty = json.parse::<Value>().and_then(|value| serde_json::to_string_pretty(&value));
    let text = pretty.map_err(|error| Exit::not_understood(error.to_string()))?;
    terminal.print(&format!("{text}\n"))
}

pub(crate) fn completions(shell: clap_complete::Shell, terminal: &Terminal) -> Result<Exit, Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "claude-relay", &mut script);
    terminal.print(&String::from_utf8_lossy(&script))
}

/// The page of the program, or that of a subcommand.
pub(crate) fn man(subcommand: Option<&str>, terminal: &Terminal) -> Result<Exit, Exit> {
    let mut command = Args::command();
    // Options that hold for all stand on the page of each, too.
    command.build();
    for name in subcommand.unwrap_or_default().split_whitespace() {
        command = command.find_subcommand(name).cloned().ok_or_else(|| {
            Exit::usage(format!("there is no subcommand {name:?}: see claude-relay --help"))
        })?;
    }
    if let Some(name) = command.get_display_name() {
        let name = name.replace(' ', "-");
        command = command.display_name(name);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Exit::failed(format!("cannot write the manual page: {error}")))?;
    terminal.print(&String::from_utf8_lossy(&page))
}

/// What teaches Claude Code to use this program.
pub(crate) fn skill(terminal: &Terminal) -> Result<Exit, Exit> {
    terminal.print(include_str!("../skill/SKILL.md"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_json_where_they_can_be() {
        let fields = ["model=opus", "maxTurns=3", "allowedTools=[\"Read\"]", "cwd=a=b"];
        let object = object(&fields.map(String::from)).unwrap();
        assert_eq!(
            object.to_string(),
            r#"{"model":"opus","maxTurns":3,"allowedTools":["Read"],"cwd":"a=b"}"#
        );
        for (typed, meant) in
            [("modle", ": did you mean \"model\"?"), ("maxturns", "\"maxTurns\"?"), ("other", "")]
        {
            let exit = known(typed).unwrap_err();
            assert!(exit.message().unwrap_or_default().ends_with(meant), "{typed}");
        }
        for wrong in [vec!["model"], vec!["=x"], vec!["model=1", "model=2"]] {
            let wrong: Vec<_> = wrong.into_iter().map(String::from).collect();
            assert!(super::object(&wrong).is_err());
        }
    }
}
