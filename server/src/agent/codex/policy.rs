//! What Codex asks about and what its sandbox lets through, by the server's
//! mode and the configured permission mode.

use claude_relay_protocol::config::PermissionMode;

use crate::agent::mode::Mode;

/// What is asked about, and what the sandbox lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// An `approvalPolicy`.
    pub approval: &'static str,
    /// A `sandbox`.
    pub sandbox: &'static str,
}

impl Policy {
    const fn new(approval: &'static str, sandbox: &'static str) -> Self {
        Self { approval, sandbox }
    }

    /// The sandbox as a turn names it.
    pub(super) fn sandbox_type(self) -> &'static str {
        match self.sandbox {
            "danger-full-access" => "dangerFullAccess",
            "workspace-write" => "workspaceWrite",
            _ => "readOnly",
        }
    }
}

/// The policy for a mode of the server and a configured permission mode.
///
/// | | approvals | sandbox |
/// |---|---|---|
/// | mode `safe` | there is nothing to ask about; what is asked is denied | read-only |
/// | mode `agentic` | nothing is asked | writes in the workspace, no network |
/// | `bypassPermissions`; mode `unrestricted` | nothing is asked | none |
/// | `default`; mode `ask` | every command and change is asked about | as `agentic` |
/// | `acceptEdits`, `auto` | what the sandbox forbids is asked about | as `agentic` |
/// | `plan`, `dontAsk` | nothing is asked | read-only |
#[must_use]
pub fn policy(mode: Mode, permission: Option<PermissionMode>) -> Policy {
    use PermissionMode::{AcceptEdits, Auto, BypassPermissions, DontAsk, Plan};
    match (mode, permission) {
        (Mode::Safe, _) => Policy::new("untrusted", "read-only"),
        (Mode::Agentic, _) => Policy::new("never", "workspace-write"),
        (Mode::Unrestricted, None | Some(BypassPermissions)) => {
            Policy::new("never", "danger-full-access")
        }
        (_, Some(AcceptEdits | Auto)) => Policy::new("on-request", "workspace-write"),
        (_, Some(Plan | DontAsk)) => Policy::new("never", "read-only"),
        // The mode does not let the bypass pass; if it did, this asks.
        (_, None | Some(PermissionMode::Default | BypassPermissions)) => {
            Policy::new("untrusted", "workspace-write")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_permission_mode_leads_past_the_servers_mode() {
        use PermissionMode::{AcceptEdits, Auto, BypassPermissions, Default, DontAsk, Plan};
        for permission in [AcceptEdits, Auto, BypassPermissions, Default, DontAsk, Plan] {
            let given = |mode| policy(mode, Some(permission));
            assert_eq!(given(Mode::Safe), Policy::new("untrusted", "read-only"));
            assert_eq!(given(Mode::Agentic), Policy::new("never", "workspace-write"));
            assert_ne!(given(Mode::Ask).sandbox, "danger-full-access");
            let bypass = given(Mode::Unrestricted).sandbox == "danger-full-access";
            assert_eq!(bypass, permission == BypassPermissions);
        }
    }
}
