//! Subcommands that need no agent: configuration, health, completions, the
//! manual page.

use clap::CommandFactory as _;
use claude_relay_client::{Applies, RawJson};
use claude_relay_protocol::config::fields::FIELDS;
use serde_json::{Map, Value};

use crate::args::{Args, ConfigCommand, ServerArgs};
use crate::ask::prompt::read_file;
use crate::connect::{builder, explain};
use crate::exit::Exit;
use crate::terminal::Terminal;

pub(crate) async fn config(
    server: &ServerArgs,
    command: ConfigCommand,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let builder = builder(server)?;
    let config = match command {
        ConfigCommand::Get => {
            builder.get_configuration().await.map_err(|error| explain(error, server))?
        }
        ConfigCommand::Set { file, fields } => {
            let json = match file {
                Some(path) if path.as_os_str() == "-" => std::io::read_to_string(std::io::stdin())
                    .map_err(|error| Exit::not_understood(format!("stdin: {error}")))?,
                Some(path) => String::from_utf8(read_file(&path, "--file")?)
                    .map_err(|_| Exit::not_understood("--file: it is not UTF-8"))?,
                None => object(&fields)?.to_string(),
            };
            let json = RawJson::new(json)
                .map_err(|error| Exit::not_understood(format!("it is not JSON: {error}")))?;
            let configured =
                builder.post_configuration(json).await.map_err(|error| explain(error, server))?;
            if configured.applies == Applies::NextStart {
                terminal.note("it takes effect when the next client connects");
            }
            if !configured.ignored.is_empty() {
                terminal.complain(&format!(
                    "the server does not know and ignores: {}",
                    configured.ignored.join(", ")
                ));
            }
            configured.config
        }
    };
    print_json(&config, terminal)
}

pub(crate) async fn health(server: &ServerArgs, terminal: &Terminal) -> Result<Exit, Exit> {
    let health = builder(server)?.health().await.map_err(|error| explain(error, server))?;
    print_json(&health.details, terminal)
}

/// `name=value` pairs as an object.
fn object(fields: &[String]) -> Result<Value, Exit> {
    let mut object = Map::new();
    for field in fields {
        let (name, value) = field
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Exit::usage(format!("{field:?}: expected NAME=VALUE")))?;
        if let Some(near) = nearest_field(name) {
            return Err(Exit::usage(format!("there is no field {name:?}: did you mean {near:?}?")));
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        if object.insert(name.to_owned(), value).is_some() {
            return Err(Exit::usage(format!("{name}: given twice")));
        }
    }
    Ok(Value::Object(object))
}

/// The known field that a mistyped name resembles. Other unknown names are for
/// the server to judge, which may know more fields.
fn nearest_field(name: &str) -> Option<&'static str> {
    let mut best: Option<(f64, &'static str)> = None;
    for field in FIELDS {
        if field.name == name {
            return None;
        }
        let likeness = strsim::jaro_winkler(&field.name.to_lowercase(), &name.to_lowercase());
        if likeness > 0.9 && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, field.name));
        }
    }
    best.map(|(_, name)| name)
}

fn print_json(json: &RawJson, terminal: &Terminal) -> Result<Exit, Exit> {
    let pretty = json.parse::<Value>().and_then(|value| serde_json::to_string_pretty(&value));
    let text = pretty.map_err(|error| Exit::not_understood(error.to_string()))?;
    print(&format!("{text}\n"), terminal)
}

fn print(text: &str, terminal: &Terminal) -> Result<Exit, Exit> {
    match terminal.answer(text) {
        Ok(()) => Ok(Exit::OK),
        Err(error) => Err(Exit::failed(format!("cannot write to stdout: {error}"))),
    }
}

pub(crate) fn completions(shell: clap_complete::Shell, terminal: &Terminal) -> Result<Exit, Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "claude-relay", &mut script);
    print(&String::from_utf8_lossy(&script), terminal)
}

pub(crate) fn man(terminal: &Terminal) -> Result<Exit, Exit> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command())
        .render(&mut page)
        .map_err(|error| Exit::failed(format!("cannot write the manual page: {error}")))?;
    print(&String::from_utf8_lossy(&page), terminal)
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
        for (typed, meant) in [
            ("modle", Some("model")),
            ("maxturns", Some("maxTurns")),
            ("debug", None),
            ("model", None),
        ] {
            assert_eq!(nearest_field(typed), meant, "{typed}");
        }
        for wrong in [vec!["model"], vec!["=x"], vec!["a=1", "a=2"]] {
            let wrong: Vec<_> = wrong.into_iter().map(String::from).collect();
            assert!(super::object(&wrong).is_err());
        }
    }
}
