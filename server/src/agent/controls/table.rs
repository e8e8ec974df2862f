//! The table of control subtypes: CLI 2.1.197 to 2.1.332.

use super::arguments::Argument;
use crate::agent::mode::Mode;

/// One subtype.
#[derive(Debug)]
pub(super) struct Control {
    /// Its name.
    pub(super) subtype: &'static str,
    /// The narrowest mode that takes it.
    pub(super) from: Mode,
    /// Taken only where the workspace's own settings act.
    pub(super) needs_trust: bool,
    /// The arguments it may carry below `unrestricted`.
    pub(super) arguments: &'static [(&'static str, Argument)],
    /// The reason why narrower modes refuse it.
    pub(super) reason: &'static str,
}

use Argument::{Any, Beginning, Path, PermissionMode, Settings};
use Mode::{Agentic, Ask, Safe, Unrestricted};

const NARROW: &str = "the agent has no use for it";
const ACCOUNT: &str = "it shows or changes the operator's account";
const CREDENTIALS: &str = "it changes the operator's stored credentials";
const OWN_FILES: &str = "it changes the operator's own files";
const VENDOR: &str = "it sends the conversation to the vendor";
const FILES: &str = "it reads or writes files by itself";
const PROGRAMS: &str = "it can start programs unasked";
const RELAY: &str = "the relay does that itself";
const AGENTS: &str = "only the agent asks that";
const SURFACE: &str = "it belongs to the vendor's own applications";

/// A subtype without arguments.
const fn plain(subtype: &'static str, from: Mode, reason: &'static str) -> Control {
    with(subtype, from, reason, &[])
}

const fn with(
    subtype: &'static str,
    from: Mode,
    reason: &'static str,
    arguments: &'static [(&'static str, Argument)],
) -> Control {
    Control { subtype, from, needs_trust: false, arguments, reason }
}

/// A subtype that only `unrestricted` passes.
const fn refused(subtype: &'static str, reason: &'static str) -> Control {
    plain(subtype, Unrestricted, reason)
}

/// Every subtype that is known.
pub(super) const CONTROLS: &[Control] = &[
    // The turn and the queue.
    with("interrupt", Safe, NARROW, &[("cancel_queued", Any), ("reason", Any)]),
    with("cancel_async_message", Safe, NARROW, &[("message_uuid", Any)]),
    with("stop_task", Safe, NARROW, &[("task_id", Any)]),
    with("background_tasks", Safe, NARROW, &[("tool_use_id", Any)]),
    plain("new_conversation", Safe, NARROW),
    refused("update_queued_message", "a message is not changed behind the relay"),
    refused("end_session", RELAY),
    refused("initialize", RELAY),
    refused("claim_session", RELAY),
    // The model and its rights.
    with("set_model", Safe, NARROW, &[("model", Any)]),
    with(
        "set_max_thinking_tokens",
        Safe,
        NARROW,
        &[("max_thinking_tokens", Any), ("thinking_display", Any)],
    ),
    with("set_permission_mode", Safe, NARROW, &[("mode", PermissionMode)]),
    with(
        "apply_flag_settings",
        Ask,
        "settings can name programs to run",
        &[("settings", Settings)],
    ),
    with(
        "set_mcp_permission_mode_override",
        Ask,
        NARROW,
        &[("serverName", Any), ("mode", PermissionMode)],
    ),
    refused("update_settings", OWN_FILES),
    refused("set_proactivity_level", "it changes who is asked"),
    // What is known of the conversation.
    with("get_context_usage", Safe, NARROW, &[("detail", Any)]),
    plain("get_session_cost", Safe, NARROW),
    plain("get_binary_version", Safe, NARROW),
    plain("list_models", Safe, NARROW),
    plain("list_permission_rules", Safe, NARROW),
    with("mcp_status", Safe, NARROW, &[]),
    plain("export_conversation", Safe, NARROW),
    with("generate_session_title", Safe, NARROW, &[("description", Any), ("persist", Any)]),
    with("rename_session", Safe, NARROW, &[("title", Any), ("source", Any), ("session_id", Any)]),
    with("set_color", Safe, NARROW, &[("color", Any)]),
    plain("get_plan", Ask, FILES),
    plain("get_settings", Ask, ACCOUNT),
    plain("get_status", Ask, ACCOUNT),
    plain("get_hooks_listing", Ask, ACCOUNT),
    plain("get_memory_dialog", Ask, ACCOUNT),
    plain("get_skills_dialog", Ask, ACCOUNT),
    with("get_sandbox_dialog", Ask, ACCOUNT, &[]),
    with("get_usage", Ask, ACCOUNT, &[("skip_behaviors", Any)]),
    with("side_question", Ask, NARROW, &[("question", Any), ("history", Any)]),
    with("rewind_conversation", Ask, FILES, &[("target_message_uuid", Any)]),
    with(
        "message_rated",
        Ask,
        VENDOR,
        &[("messageUuid", Any), ("sentiment", Any), ("surface", Any), ("cleared", Any)],
    ),
    refused("submit_feedback", VENDOR),
    refused("submit_survey_feedback", VENDOR),
    refused("log_host_events", VENDOR),
    // Who is watching.
    with("set_has_subscribers", Safe, NARROW, &[("has_subscribers", Any)]),
    with("set_message_waiting", Safe, NARROW, &[("waiting", Any)]),
    with("set_prompt_suggestions_paused", Safe, NARROW, &[("paused", Any)]),
    plain("prompt_draft_activity", Safe, NARROW),
    // Files.
    with("read_file", Agentic, FILES, &[("path", Path), ("max_bytes", Any), ("encoding", Any)]),
    with("seed_read_state", Agentic, FILES, &[("path", Path), ("mtime", Any)]),
    with("rewind_files", Agentic, FILES, &[("user_message_id", Any), ("dry_run", Any)]),
    with("list_directory", Ask, FILES, &[("path", Path)]),
    with("file_suggestions", Ask, FILES, &[("query", Beginning)]),
    with("get_task_output", Ask, FILES, &[("task_id", Any)]),
    with("set_cwd", Ask, "the agent stays where it is", &[("path", Path)]),
    with("add_directory", Ask, "the agent stays in the workspace", &[("path", Path)]),
    Control { needs_trust: true, ..plain("get_workspace_diff", Ask, PROGRAMS) },
    refused("register_repo_root", PROGRAMS),
    refused("stage_file", FILES),
    refused("prefetch_attachments", FILES),
    refused("start_shell_task", PROGRAMS),
    // Tools from elsewhere.
    with("mcp_set_servers", Ask, "it brings in programs and tools of its own", &[("servers", Any)]),
    with("mcp_reconnect", Ask, NARROW, &[("serverName", Any)]),
    with("mcp_toggle", Ask, NARROW, &[("serverName", Any), ("enabled", Any)]),
    with("mcp_read_resource", Ask, NARROW, &[("serverName", Any), ("uri", Any)]),
    with("mcp_message", Ask, NARROW, &[("server_name", Any), ("message", Any)]),
    with("mcp_call", Ask, PROGRAMS, &[("tool", Any), ("arguments", Any), ("timeout_ms", Any)]),
    refused("mcp_authenticate", CREDENTIALS),
    refused("mcp_oauth_callback_url", CREDENTIALS),
    refused("mcp_clear_auth", CREDENTIALS),
    refused("mcp_tasks_changed", SURFACE),
    refused("reload_connectors", ACCOUNT),
    refused("channel_enable", "it lets others write into the conversation"),
    with("reload_plugins", Ask, PROGRAMS, &[("hold_on_cache_impact", Any)]),
    plain("reload_skills", Ask, PROGRAMS),
    plain("reload_output_styles", Ask, FILES),
    refused("claude_authenticate", CREDENTIALS),
    refused("claude_oauth_callback", CREDENTIALS),
    refused("claude_oauth_wait_for_completion", CREDENTIALS),
    // Other conversations and other machines.
    refused("fork_conversation", SURFACE),
    refused("launch_fork", SURFACE),
    refused("comparison_fork", SURFACE),
    refused("turn_handoff", SURFACE),
    refused("ultrareview_launch", VENDOR),
    refused("remote_control", "it lets others into the conversation"),
    refused("poll_event", SURFACE),
    refused("send_task_message", SURFACE),
    refused("decide_held_peer_message", SURFACE),
    refused("set_peer_delivery", "it lets others write into the conversation"),
    refused("set_attached_project", SURFACE),
    refused("list_cloud_sessions", ACCOUNT),
    refused("get_cloud_session", ACCOUNT),
    refused("get_cloud_session_transcript", ACCOUNT),
    refused("update_cloud_session", ACCOUNT),
    refused("register_device_hooks", PROGRAMS),
    refused("upload_device_hook_template", PROGRAMS),
    refused("remote_tools_announce", "it brings in programs and tools of its own"),
    refused("get_chrome_dialog", SURFACE),
    refused("get_chrome_browsers", SURFACE),
    refused("select_chrome_browser", SURFACE),
    refused("set_chrome_browser_hints", SURFACE),
    refused("dictate", SURFACE),
    refused("ui_attach", SURFACE),
    refused("ui_detach", SURFACE),
    refused("ui_render", SURFACE),
    refused("ui_press", SURFACE),
    refused("ui_input", SURFACE),
    refused("ui_select", SURFACE),
    refused("ui_panes", SURFACE),
    refused("ui_pane_show", SURFACE),
    refused("ui_pane_focus", SURFACE),
    refused("ui_close", SURFACE),
    refused("ui_scroll", SURFACE),
    refused("ui_focus", SURFACE),
    refused("ui_prompt_edit", SURFACE),
    refused("ui_prompt_autocomplete", SURFACE),
    refused("ui_client_module", SURFACE),
    refused("ui_client_press", SURFACE),
    refused("ui_message", SURFACE),
    refused("ui_client_fault", SURFACE),
    // Requests of the agent, not of a client.
    refused("can_use_tool", AGENTS),
    refused("hook_callback", AGENTS),
    refused("elicitation", AGENTS),
    refused("request_user_dialog", AGENTS),
    refused("oauth_token_refresh", AGENTS),
    refused("host_auth_token_refresh", AGENTS),
    refused("remote_control_work_secret", AGENTS),
    refused("ui_copy", AGENTS),
    refused("ui_prompt_read", AGENTS),
    refused("ui_prompt_fill", AGENTS),
    refused("ui_prompt_paint", AGENTS),
    refused("ui_prompt_suggest", AGENTS),
    refused("ui_read_selection", AGENTS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subtype_stands_there_once() {
        let mut names: Vec<_> = CONTROLS.iter().map(|control| control.subtype).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
