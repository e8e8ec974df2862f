//! The state of a server in words.

use std::fmt::Write as _;

use claude_relay_client::Health;
use claude_relay_protocol::text::counted;
use serde::Deserialize;

/// What `/health` says, as far as it is told to people. Servers of other kinds
/// and requests without the token get less.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    pub(crate) client: Option<String>,
    pub(crate) agent: Option<Agent>,
    pub(crate) agent_state: AgentState,
    pub(crate) mode: Option<String>,
    pub(crate) permission_modes: Vec<String>,
    pub(crate) workspace: Option<String>,
    workspace_trusted: Option<bool>,
    workspace_wants: Wants,
    sandbox: Sandbox,
    key_proxy: Option<bool>,
    replay: Option<Replay>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Agent {
    provider: Option<String>,
    demo: bool,
    installed: Option<bool>,
    install_hint: Option<String>,
    version: Option<String>,
    state: Option<String>,
    pid: Option<u32>,
    session_id: Option<String>,
    turns: u64,
    restarts: u64,
    last_exit: Option<LastExit>,
    waiting_messages: u64,
    open_permissions: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LastExit {
    code: Option<i32>,
    signal: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AgentState {
    pub(crate) state: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) permission_mode: Option<String>,
    background_tasks: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wants {
    hooks: Wanted,
    mcp_servers: Wanted,
    helpers: Wanted,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wanted {
    count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sandbox {
    active: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Replay {
    first: u64,
    next: u64,
    bytes: u64,
    limit: u64,
}

impl State {
    /// What a server has said; nothing where it is of another shape.
    pub(crate) fn of(health: &Health) -> Self {
        health.details.parse().unwrap_or_default()
    }

    /// One fact a line.
    pub(crate) fn table(&self, health: &Health, url: &str) -> String {
        let mut table = String::new();
        let mut row = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = writeln!(table, "{name:<14}{value}");
            }
        };
        let version = health.version.as_deref().unwrap_or("of unknown version");
        row("server", Some(format!("{version} at {url}")));
        if self.agent.is_none() {
            row("", Some("it tells no more without its token (CLAUDE_RELAY_TOKEN)".to_owned()));
        }
        row("client", self.client.clone());
        if let Some(agent) = &self.agent {
            row("agent", Some(agent.name()));
            row("", agent.missing());
            row("state", Some(self.activity(agent)));
            row("conversation", Some(agent.session_id.as_deref().unwrap_or("none").to_owned()));
            row("last exit", agent.last_exit.as_ref().map(LastExit::describe));
        }
        row("model", self.agent_state.model.clone());
        row("mode", self.mode.as_ref().map(|mode| self.mode_text(mode)));
        row("workspace", self.workspace_text());
        row("sandbox", self.sandbox.active.clone());
        row("key proxy", self.key_proxy.map(|on| if on { "on" } else { "off" }.to_owned()));
        row("replay", self.replay.as_ref().map(Replay::describe));
        table
    }

    /// The lines that a chat begins with.
    pub(crate) fn greeting(&self, health: &Health, url: &str, model: Option<&str>) -> String {
        let version = health.version.as_deref().unwrap_or("of unknown version");
        let mut text = format!("claude-relay {version} at {url}\n");
        let mut facts: Vec<String> = self.agent.iter().map(Agent::name).collect();
        let model = model.or(self.agent_state.model.as_deref());
        facts.extend(model.map(|model| format!("model {model}")));
        facts.extend(self.mode.as_ref().map(|mode| format!("mode {}", self.mode_text(mode))));
        facts.extend(self.workspace.clone());
        if !facts.is_empty() {
            let _ = writeln!(text, "{}", facts.join(" · "));
        }
        if let Some(missing) = self.agent.as_ref().and_then(Agent::missing) {
            let _ = writeln!(text, "{missing}");
        }
        text.push_str("/help shows the commands, Ctrl-D leaves");
        text
    }

    fn activity(&self, agent: &Agent) -> String {
        let state = self.agent_state.state.as_ref().or(agent.state.as_ref());
        let mut facts = vec![state.map_or("unknown", String::as_str).to_owned()];
        facts.extend(agent.pid.map(|pid| format!("pid {pid}")));
        for (what, count) in [
            ("turns", agent.turns),
            ("restarts", agent.restarts),
            ("background tasks", self.agent_state.background_tasks),
            ("messages that wait", agent.waiting_messages),
            ("open questions", agent.open_permissions),
        ] {
            if count > 0 {
                facts.push(format!("{what}: {count}"));
            }
        }
        facts.join(", ")
    }

    fn mode_text(&self, mode: &str) -> String {
        match &self.agent_state.permission_mode {
            Some(asked) => format!("{mode} (permission mode {asked})"),
            None => mode.to_owned(),
        }
    }

    fn workspace_text(&self) -> Option<String> {
        let trusted = self.workspace_trusted?;
        let path = self.workspace.as_ref().map_or(String::new(), |path| format!("{path}, "));
        let Wants { hooks, mcp_servers, helpers } = &self.workspace_wants;
        let wants: Vec<String> =
            [(hooks, "hook"), (mcp_servers, "MCP server"), (helpers, "helper")]
                .into_iter()
                .filter(|(wanted, _)| wanted.count > 0)
                .map(|(wanted, what)| counted(wanted.count, what))
                .collect();
        Some(match (trusted, wants.is_empty()) {
            (true, _) => format!("{path}trusted"),
            (false, true) => format!("{path}not trusted"),
            (false, false) => {
                format!("{path}not trusted; without effect: {}", wants.join(", "))
            }
        })
    }
}

impl Agent {
    /// Its name and version.
    fn name(&self) -> String {
        let name = match self.provider.as_deref() {
            _ if self.demo => "the built-in agent",
            Some("claude") => "Claude Code",
            Some("codex") => "Codex",
            Some(other) => other,
            None => "an agent",
        };
        match &self.version {
            Some(version) if !self.demo => format!("{name} {version}"),
            _ => name.to_owned(),
        }
    }

    /// What to do where it is not there.
    fn missing(&self) -> Option<String> {
        (self.installed == Some(false)).then(|| {
            let hint = self.install_hint.as_deref().unwrap_or("install it at the server");
            format!("it is not installed: {hint}")
        })
    }
}

impl LastExit {
    fn describe(&self) -> String {
        match (self.code, &self.signal) {
            (_, Some(signal)) => format!("by {signal}"),
            (Some(code), None) => format!("code {code}"),
            (None, None) => "reason unknown".to_owned(),
        }
    }
}

impl Replay {
    fn describe(&self) -> String {
        let kept = self.next.saturating_sub(self.first);
        format!("{}, {} of {}", counted(kept, "message"), size(self.bytes), size(self.limit))
    }
}

/// A number of bytes in its largest unit.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use claude_relay_client::RawJson;
    use serde_json::json;

    use super::*;

    fn health(details: &serde_json::Value) -> Health {
        let details = RawJson::new(details.to_string()).unwrap();
        Health { version: Some("9.9.9".to_owned()), details }
    }

    #[test]
    fn what_is_known_is_told_and_the_rest_left_out() {
        let full = health(&json!({
            "client": "none", "mode": "ask", "workspace": "/w", "workspace_trusted": false,
            "workspace_wants": { "hooks": { "count": 2 }, "helpers": { "count": 1 }, "later": 1 },
            "agent": { "provider": "claude", "version": "2.1.332", "state": "running", "pid": 7,
                "session_id": "s", "turns": 3, "restarts": 1, "last_exit": { "signal": "SIGKILL" } },
            "agent_state": { "state": "idle", "model": "opus", "permission_mode": "plan" },
            "sandbox": { "active": "bwrap" }, "key_proxy": false,
            "replay": { "first": 1, "next": 28, "bytes": 9816, "limit": 16_777_216 },
        }));
        let table = State::of(&full).table(&full, "http://x");
        for line in [
            "server        9.9.9 at http://x",
            "agent         Claude Code 2.1.332",
            "state         idle, pid 7, turns: 3, restarts: 1",
            "conversation  s",
            "last exit     by SIGKILL",
            "model         opus",
            "mode          ask (permission mode plan)",
            "workspace     /w, not trusted; without effect: 2 hooks, 1 helper",
            "sandbox       bwrap",
            "key proxy     off",
            "replay        27 messages, 9.6 KiB of 16.0 MiB",
        ] {
            assert!(table.lines().any(|found| found == line), "{line}\n{table}");
        }
        assert_eq!(
            State::of(&full).greeting(&full, "http://x", None),
            "claude-relay 9.9.9 at http://x\n\
             Claude Code 2.1.332 · model opus · mode ask (permission mode plan) · /w\n\
             /help shows the commands, Ctrl-D leaves"
        );
        for little in [json!({ "status": "ok" }), json!({ "agent": 5 }), json!([])] {
            let little = health(&little);
            let table = State::of(&little).table(&little, "http://x");
            assert!(table.contains("without its token"), "{table}");
        }
    }
}
