use std::collections::BTreeSet;

use claude_relay_protocol::QueryConfig;
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
        skills: Some(Skills::All),
        plugins: Some(Vec::new()),
        plugin_delivery: Some(String::new()),
        thinking: Some(Thinking::Disabled),
        task_budget: Some(TaskBudget { total: 1 }),
        plan_mode_instructions: Some(String::new()),
        title: Some(String::new()),
        session_id: Some(String::new()),
        persist_session: Some(true),
        resume_session_at: Some(String::new()),
        resume_drops_turn: Some(String::new()),
        settings: Some(Value::Null),
        sandbox: Some(Map::new()),
        managed_settings: Some(Map::new()),
        strict_mcp_config: Some(true),
        project_config_root: Some(String::new()),
        enable_file_checkpointing: Some(true),
        tool_config: Some(Map::new()),
        tool_aliases: Some(BTreeMap::new()),
        permission_prompts: Some(String::new()),
        permission_prompt_tool_name: Some(String::new()),
        supported_dialog_kinds: Some(Vec::new()),
        per_task_stop_affordance: Some(true),
        agent_progress_summaries: Some(true),
        forward_subagent_text: Some(true),
        verbatim_prompts: Some(true),
        debug_file: Some(String::new()),
        extra_args: Some(BTreeMap::new()),
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

/// The server's own parser is the judge of what the members become.
#[test]
fn values_with_a_form_of_their_own_are_those_that_the_server_takes() {
    let configuration = |thinking, skills| Configuration {
        thinking: Some(thinking),
        skills: Some(skills),
        task_budget: Some(TaskBudget { total: 50_000 }),
        plugins: Some(vec![
            Plugin::local("./a"),
            Plugin::Local { path: "b".into(), skip_mcp_discovery: true },
        ]),
        session_id: Some("6f9619ff-8b86-4011-b42d-00cf4fc964ff".into()),
        tool_aliases: Some([("Bash".to_owned(), "mcp__box__bash".to_owned())].into()),
        extra_args: Some(
            [("replay-user-messages".to_owned(), None), ("x".to_owned(), Some("1".into()))].into(),
        ),
        ..Configuration::default()
    };
    let all = [
        configuration(
            Thinking::Enabled { budget_tokens: Some(2048), display: Some("omitted".into()) },
            Skills::All,
        ),
        configuration(Thinking::Adaptive { display: None }, Skills::Named(vec!["pdf".into()])),
        configuration(Thinking::Disabled, Skills::Named(Vec::new())),
    ];
    for configuration in &all {
        let text = serde_json::to_string(configuration).unwrap();
        let parsed = QueryConfig::parse(text.as_bytes(), &QueryConfig::default());
        let parsed = parsed.unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(parsed.ignored, Vec::<String>::new(), "{text}");
    }
    assert_eq!(
        serde_json::to_string(&all[0]).unwrap(),
        r#"{"skills":"all","plugins":[{"type":"local","path":"./a"},{"type":"local","path":"b","skipMcpDiscovery":true}],"thinking":{"type":"enabled","budgetTokens":2048,"display":"omitted"},"taskBudget":{"total":50000},"sessionId":"6f9619ff-8b86-4011-b42d-00cf4fc964ff","toolAliases":{"Bash":"mcp__box__bash"},"extraArgs":{"replay-user-messages":null,"x":"1"}}"#
    );
}
