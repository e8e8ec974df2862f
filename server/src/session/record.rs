//! What the session gives to the recording.

use bytes::Bytes;
use claude_relay_protocol::config::Parsed;
use claude_relay_protocol::json::fields;
use claude_relay_protocol::{QueryConfig, Secret};
use serde_json::json;

use super::Session;
use super::channels::Request;
use crate::agent;
use crate::process::signals;
use crate::process::{ExitReason, Input};
use crate::recording::Kind;

impl Session {
    /// Records JSON on one line.
    pub(super) fn record(&self, kind: Kind, json: &[u8]) {
        if let Some(recorder) = &self.runtime.recorder {
            recorder.json(kind, json);
        }
    }

    pub(super) fn record_text(&self, kind: Kind, text: &[u8]) {
        if let Some(recorder) = &self.runtime.recorder {
            recorder.text(kind, text);
        }
    }

    /// Records the start of an agent, and the first line for it.
    pub(super) fn record_start(&self, config: &QueryConfig, first: &Bytes) {
        let provider = agent::provider(&self.runtime.settings, config);
        let start = json!({ "provider": provider });
        self.record(Kind::AgentStart, start.to_string().as_bytes());
        self.record_input(&Input::Control(first.clone()));
    }

    /// Records a line for the agent.
    pub(super) fn record_input(&self, input: &Input) {
        let (Input::Message(line) | Input::Control(line)) = input;
        for line in line.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.record(Kind::ToAgent, line);
        }
    }

    /// Records a message of the client, before it has an effect. `raw` is the
    /// message as it came.
    pub(super) fn record_request(&self, request: &Result<Request, String>, raw: Option<&Bytes>) {
        let (Some(recorder), Some(raw)) = (&self.runtime.recorder, raw) else { return };
        let left_out = |kind: &str| json!({ "type": kind, "left_out": true }).to_string();
        match request {
            // What it holds is recorded as the configuration, without secrets.
            Ok(Request::Configure { .. }) => {
                recorder.json(Kind::Client, left_out("configure").as_bytes());
            }
            Ok(Request::Control { subtype, request, .. }) => match secrets_of(subtype, request) {
                Some(secrets) => {
                    recorder.mask(secrets);
                    recorder.json(Kind::Client, &on_one_line(raw));
                }
                None => recorder.json(Kind::Client, left_out("control_request").as_bytes()),
            },
            Ok(_) => recorder.json(Kind::Client, &on_one_line(raw)),
            // It may be a configuration that cannot be read.
            Err(error) => recorder.text(Kind::ClientText, error.as_bytes()),
        }
    }

    /// Records the configuration, and masks its secrets from now on.
    pub(super) fn record_configuration(&self, auth_token: Option<&Secret>) {
        let Some(recorder) = &self.runtime.recorder else { return };
        recorder.mask(auth_token.cloned());
        recorder.mask(self.config.secret_values());
        if let Some(settings) = self.config.other.get("settings") {
            recorder.mask(secrets_of_settings(settings.get()).unwrap_or_default());
        }
        recorder.json(Kind::Configuration, self.config_shown().config.to_string().as_bytes());
    }

    pub(super) fn record_exit(&self, reason: &ExitReason, was_stopped: bool) {
        let exit = match reason {
            ExitReason::Exited(code) => json!({ "code": code, "stopped": was_stopped }),
            ExitReason::Signalled(number) => {
                json!({ "signal": number, "name": signals::name(*number), "stopped": was_stopped })
            }
            ExitReason::NotStarted(_) | ExitReason::Unreachable(_) | ExitReason::Lost => {
                json!({ "stopped": was_stopped })
            }
        };
        self.record(Kind::AgentExit, exit.to_string().as_bytes());
    }
}

/// Returns a message without the line breaks between its tokens.
fn on_one_line(raw: &Bytes) -> Vec<u8> {
    raw.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()
}

/// Returns the credentials in a control request, or `None` if they cannot be
/// found.
fn secrets_of(subtype: &str, request: &str) -> Option<Vec<Secret>> {
    match subtype {
        "mcp_set_servers" => {
            let [servers] = fields(request, ["servers"]).ok()?;
            secrets_in(&format!(r#"{{"mcpServers":{}}}"#, servers?.get()))
        }
        "apply_flag_settings" => {
            let [settings] = fields(request, ["settings"]).ok()?;
            secrets_of_settings(settings?.get())
        }
        _ => Some(Vec::new()),
    }
}

fn secrets_of_settings(settings: &str) -> Option<Vec<Secret>> {
    let [env] = fields(settings, ["env"]).ok()?;
    env.map_or(Some(Vec::new()), |env| secrets_in(&format!(r#"{{"env":{}}}"#, env.get())))
}

fn secrets_in(config: &str) -> Option<Vec<Secret>> {
    let Parsed { config, .. } =
        QueryConfig::parse(config.as_bytes(), &QueryConfig::default()).ok()?;
    Some(config.secret_values())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_control_requests_are_found() {
        let texts = |subtype: &str, request: &str| {
            secrets_of(subtype, request).map(|secrets| {
                secrets.iter().map(|one| one.expose().to_owned()).collect::<Vec<_>>()
            })
        };
        let servers = r#"{"subtype":"mcp_set_servers","servers":{"s":{"type":"http","url":"http://h/","headers":{"X-Key":"a-secret-value"}}}}"#;
        assert!(texts("mcp_set_servers", servers).unwrap().contains(&"a-secret-value".to_owned()));
        let settings = r#"{"settings":{"env":{"A":"another-value"}}}"#;
        assert_eq!(texts("apply_flag_settings", settings).unwrap(), ["another-value"]);
        assert_eq!(texts("apply_flag_settings", r#"{"settings":{"env":5}}"#), None);
        assert_eq!(texts("mcp_set_servers", r#"{"servers":[]}"#), None);
        assert_eq!(texts("set_model", r#"{"model":"x"}"#).unwrap(), Vec::<String>::new());
    }
}
