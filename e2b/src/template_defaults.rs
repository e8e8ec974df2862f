//! Facts that a client needs about the relay's template.

/// Default name of the template: existing clients look for it under this name.
pub const DEFAULT_NAME: &str = "claude-agent-server";
/// Port of the server in the template.
pub const PORT: u16 = 3000;
/// Directory of the agent; existing clients write their files there.
pub const WORKSPACE: &str = "/home/user/agent-workspace";
