//! Sub-agents of a configuration under the ceiling: an allow-list of fields.

use claude_relay_protocol::json::entries;

use super::Mode;

/// What a definition may hold below `unrestricted`, beside `permissionMode`.
const FIELDS: [&str; 11] = [
    "background",
    "color",
    "description",
    "disallowedTools",
    "effort",
    "maxTurns",
    "mcpServers",
    "model",
    "prompt",
    "skills",
    "tools",
];

/// Judges sub-agents: an object of objects.
pub(super) fn check(mode: Mode, agents: &str) -> Result<(), &'static str> {
    const UNREADABLE: &str = "an agent's definition cannot be read";
    if mode == Mode::Unrestricted {
        return Ok(());
    }
    for (_, agent) in entries(agents).map_err(|_| UNREADABLE)? {
        for (name, value) in entries(agent.get()).map_err(|_| UNREADABLE)? {
            if name == "permissionMode" {
                mode.check_permission_mode(value)
                    .map_err(|_| "an agent's permissionMode takes the user's decisions away")?;
            } else if !FIELDS.contains(&name.as_ref()) {
                return Err(
                    "an agent has a field that could run programs or that is not known here",
                );
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_agents_bring_no_hooks_and_nobody_goes_unasked() {
        let plain =
            r#"{"a":{"description":"d","prompt":"p","tools":["Read"],"permissionMode":"plan"}}"#;
        assert_eq!(check(Mode::Ask, plain), Ok(()));
        for hostile in [
            r#"{"a":{"hooks":{}}}"#,
            r#"{"a":{"memory":"user"}}"#,
            r#"{"a":{"new":1}}"#,
            r#"{"a":{"permissionMode":"auto"}}"#,
            r#"{"a":{"permissionMode":"newMode"}}"#,
            r#"{"a":{"\ud800":1,"permissionMode":"auto"}}"#,
        ] {
            assert!(check(Mode::Ask, hostile).is_err(), "{hostile}");
            assert_eq!(check(Mode::Unrestricted, hostile), Ok(()), "{hostile}");
        }
    }
}
