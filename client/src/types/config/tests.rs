use std::collections::BTreeSet;

use claude_relay_protocol::config::fields::FIELDS;

use super::*;

/// A value for every member. A member that is missing here does not compile.
fn full() -> Configuration {
    Configuration {
        agents: Some(BTreeMap::new()),
        allowed_tools: Some(Vec::new()),
        disallowed_tools: Some(Vec::new()),
        tools: Some(Value::Null),
        system_prompt: Some("x".into()),
        model: Some(String::new()),
        fallback_model: Some(String::new()),
        mcp_servers: Some(Map::new()),
        permission_mode: Some(String::new()),
        max_turns: Some(1),
        max_thinking_tokens: Some(1),
        max_budget_usd: Some(1.0),
        effort: Some(String::new()),
        include_partial_messages: Some(true),
        setting_sources: Some(Vec::new()),
        additional_directories: Some(Vec::new()),
        output_format: Some(Value::Null),
        resume: Some(String::new()),
        continue_last: Some(true),
        fork_session: Some(true),
        cwd: Some(String::new()),
        env: Some(BTreeMap::new()),
        anthropic_api_key: Some("x".into()),
        claude_code_oauth_token: Some("x".into()),
        anthropic_auth_token: Some("x".into()),
        anthropic_base_url: Some(String::new()),
        provider: Some(String::new()),
        betas: Some(Vec::new()),
        include_hook_events: Some(true),
        prompt_suggestions: Some(true),
        hooks: Some(Value::Null),
        sdk_mcp_servers: Some(Vec::new()),
        agent: Some(String::new()),
        skills: Some(Value::Null),
        plugins: Some(Value::Null),
        plugin_delivery: Some(String::new()),
        thinking: Some(Value::Null),
        task_budget: Some(Value::Null),
        plan_mode_instructions: Some(String::new()),
        title: Some(String::new()),
        session_id: Some(Value::Null),
        persist_session: Some(true),
        resume_session_at: Some(Value::Null),
        resume_drops_turn: Some(Value::Null),
        settings: Some(Value::Null),
        sandbox: Some(Value::Null),
        managed_settings: Some(Value::Null),
        strict_mcp_config: Some(true),
        project_config_root: Some(String::new()),
        enable_file_checkpointing: Some(true),
        tool_config: Some(Value::Null),
        tool_aliases: Some(Value::Null),
        permission_prompts: Some(String::new()),
        permission_prompt_tool_name: Some(String::new()),
        supported_dialog_kinds: Some(Vec::new()),
        per_task_stop_affordance: Some(true),
        agent_progress_summaries: Some(true),
        forward_subagent_text: Some(true),
        verbatim_prompts: Some(true),
        debug_file: Some(String::new()),
        extra_args: Some(Value::Null),
        auth_token: Some("x".into()),
        other: Map::new(),
    }
}

#[test]
fn each_field_of_the_wire_is_a_member_and_each_member_a_field() {
    let Ok(Value::Object(members)) = serde_json::to_value(full()) else { panic!("an object") };
    let members: BTreeSet<_> = members.keys().map(String::as_str).collect();
    let fields: BTreeSet<_> = FIELDS.iter().map(|field| field.name).collect();
    let missing: Vec<_> = fields.symmetric_difference(&members).collect();
    assert!(missing.is_empty(), "not in both: {missing:?}");
}

#[test]
fn only_what_is_set_is_sent_under_the_sdks_names() {
    assert_eq!(serde_json::to_string(&Configuration::default()).unwrap(), "{}");
    let configuration = Configuration {
        allowed_tools: Some(vec!["Read".into()]),
        system_prompt: Some(SystemPrompt::claude_code(Some("Be brief.".into()))),
        max_budget_usd: Some(0.5),
        continue_last: Some(true),
        anthropic_api_key: Some("sk-secret".into()),
        claude_code_oauth_token: Some("oauth".into()),
        other: [("later".to_owned(), Value::from(1))].into_iter().collect(),
        ..Configuration::default()
    };
    assert_eq!(
        serde_json::to_string(&configuration).unwrap(),
        r#"{"allowedTools":["Read"],"systemPrompt":{"type":"preset","preset":"claude_code","append":"Be brief."},"maxBudgetUsd":0.5,"continue":true,"anthropicApiKey":"sk-secret","claudeCodeOauthToken":"oauth","later":1}"#
    );
    assert!(!format!("{configuration:?}").contains("sk-secret"));
}
