//! Approval and sandbox policy of Codex, by the server's mode and the
//! configured permission mode.

use claude_relay_protocol::config::PermissionMode;

use crate::agent::mode::Mode;

/// Approval and sandbox policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Value of `approvalPolicy`.
    pub approval: &'static str,
    /// Value of `sandbox`.
    pub sandbox: &'static str,
}

impl Policy {
    const fn new(approval: &'static str, sandbox: &'static str) -> Self {
        Self { approval, sandbox }
    }

    /// Returns true if commands may write in the workspace.
    pub(super) fn is_workspace_write(self) -> bool {
        self.sandbox == "workspace-write"
    }

    /// Returns the type of the `sandboxPolicy` of a turn.
    pub(super) fn sandbox_type(self) -> &'static str {
        match self.sandbox {
            "danger-full-access" => "dangerFullAccess",
            "workspace-write" => "workspaceWrite",
            _ => "readOnly",
        }
    }
}

/// Returns the policy for a mode of the server and a configured permission
/// mode.
///
/// | | approvals | sandbox | |---|---|---|
/// | mode `safe` | none possible; requests are denied | read-only |
/// | mode `agentic` | none | writes in the workspace, no network |
/// | `bypassPermissions`; mode `unrestricted` | none | none |
/// | `default`; mode `ask` | every command and change | as `agentic` |
/// | `acceptEdits`, `auto` | whatever the sandbox forbids | as `agentic` |
/// | `plan`, `dontAsk` | none | read-only |
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
        // The mode refuses `bypassPermissions` earlier; this is a fallback.
        (_, None | Some(PermissionMode::Default | BypassPermissions)) => {
            Policy::new("untrusted", "workspace-write")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_permission_mode_exceeds_the_servers_mode() {
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
