//! What a client must know of the template that we build.

/// The template's name unless told otherwise: the one under which the
/// existing clients look for it.
pub const DEFAULT_NAME: &str = "claude-agent-server";
/// The port that the server in it listens on.
pub const PORT: u16 = 3000;
/// The agent's directory; the existing clients write their files there.
pub const WORKSPACE: &str = "/home/user/agent-workspace";
