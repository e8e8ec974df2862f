//! What an agent keeps in a directory of its own, and what of it the sandbox
//! shows. All other files that the agent writes there are private to one run.

/// The state of one kind of agent.
#[derive(Debug, PartialEq, Eq)]
pub struct AgentState {
    /// Variable that names the directory.
    pub variable: &'static str,
    /// The directory in the home, without the variable.
    pub directory: &'static str,
    /// Configuration file beside that directory.
    pub user_file: Option<&'static str>,
    /// Directories that must persist.
    pub writable: &'static [&'static str],
    /// File with the login, which the agent refreshes.
    pub login: &'static str,
    /// Files and directories that the agent reads. They are read-only, so that
    /// no program can be planted for a later run outside the sandbox.
    pub readable: &'static [&'static str],
}

/// Claude Code: conversations, task lists, plans and file checkpoints persist.
pub const CLAUDE: AgentState = AgentState {
    variable: "CLAUDE_CONFIG_DIR",
    directory: ".claude",
    user_file: Some(".claude.json"),
    writable: &["projects", "todos", "tasks", "plans", "file-history"],
    login: ".credentials.json",
    readable: &[
        ".claude.json",
        "settings.json",
        "settings.local.json",
        "CLAUDE.md",
        "agents",
        "commands",
        "skills",
        "plugins",
        "output-styles",
        "rules",
    ],
};

/// Codex: conversations persist.
pub const CODEX: AgentState = AgentState {
    variable: "CODEX_HOME",
    directory: ".codex",
    user_file: None,
    writable: &["sessions", "archived_sessions"],
    login: "auth.json",
    readable: &[
        "config.toml",
        "hooks.json",
        "AGENTS.md",
        "AGENTS.override.md",
        "agents",
        "plugins",
        "prompts",
        "rules",
        "skills",
        "installation_id",
        "models_cache.json",
        "version.json",
    ],
};
