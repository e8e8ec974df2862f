//! The start, and turns.

use super::*;

// ---------------------------------------------------------------- start-up

fn keys_of(line: &Value) -> Vec<&str> {
    line.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Returns true if `keys` occur in `all` in this order.
fn in_order(keys: &[&str], all: &[&str]) -> bool {
    let mut all = all.iter();
    keys.iter().all(|key| all.any(|it| it == key))
}

#[test]
fn without_input_it_says_nothing() {
    let (lines, stderr, status) = start(&[]).finish();
    assert_eq!((lines.len(), stderr.as_str(), status.code()), (0, "", Some(0)));
}

#[test]
fn initialize_and_init_have_the_keys_of_the_cli_in_its_order() {
    let mut agent = start(&[]);
    agent.send(&[
        &control("r1", &json!({"subtype": "initialize", "systemPrompt": [""]})),
        &user("hi"),
    ]);
    let answer = agent.line();
    let recorded = recorded("control_requests");
    assert_eq!(keys_of(&answer["response"]), keys_of(&recorded[0]["response"]));
    let body = &answer["response"]["response"];
    let mut keys = keys_of(body);
    assert_eq!(keys.pop(), Some("demo"));
    assert!(in_order(&keys, &keys_of(&recorded[0]["response"]["response"])), "{keys:?}");
    assert_eq!(answer["response"]["request_id"], "r1");
    assert_eq!(body["pid"], agent.child.id());
    assert!(body["claude_code_version"].as_str().unwrap().starts_with("demo-"));

    let init = agent.line();
    let recorded = recorded.iter().find(|line| line["subtype"] == "init").unwrap();
    let mut keys = keys_of(&init);
    assert_eq!(keys.pop(), Some("demo"));
    assert!(in_order(&keys, &keys_of(recorded)), "{keys:?}");
    assert_eq!(init["model"], "claude-opus-5-5");
}

#[test]
fn control_requests_are_answered_in_the_words_of_the_cli() {
    let mut agent = start(&["--permission-mode=default", "--allow-dangerously-skip-permissions"]);
    let recorded = recorded("control_requests");
    let requests = [
        ("req-2", json!({"subtype": "set_model", "model": "claude-haiku-4-5"})),
        ("req-3", json!({"subtype": "set_model"})),
        ("req-4", json!({"subtype": "set_model", "model": "no-such-model-x"})),
        ("req-5", json!({"subtype": "set_permission_mode", "mode": "plan"})),
        ("req-6", json!({"subtype": "set_permission_mode", "mode": "bogus"})),
        ("req-7", json!({"subtype": "set_permission_mode", "mode": "bypassPermissions"})),
        ("req-8", json!({"subtype": "set_max_thinking_tokens", "max_thinking_tokens": 1000})),
        ("req-9", json!({"subtype": "set_max_thinking_tokens", "max_thinking_tokens": null})),
        ("req-10", json!({"subtype": "mcp_status"})),
        ("req-13", json!({"subtype": "rewind_files", "user_message_id": "x"})),
        ("req-14", json!({"subtype": "mcp_reconnect", "serverName": "nope"})),
        ("req-15", json!({"subtype": "mcp_toggle", "serverName": "nope", "enabled": false})),
        ("req-16", json!({"subtype": "mcp_set_servers", "servers": {}})),
        ("req-17", json!({"subtype": "stop_task", "task_id": "nope"})),
        ("req-18", json!({"subtype": "apply_flag_settings", "settings": {}})),
        ("req-20", json!({"subtype": "cancel_async_message", "message_uuid": "x"})),
        ("req-21", json!({"subtype": "no_such_subtype"})),
    ];
    for (id, request) in requests {
        agent.send(&[&control(id, &request)]);
        let answer = agent.until(|line| line["type"] == "control_response").pop().unwrap();
        let expected = recorded.iter().find(|line| line["response"]["request_id"] == id).unwrap();
        assert_eq!(answer.to_string(), expected.to_string(), "{request}");
    }
    agent.send(&[&control("use", &json!({"subtype": "get_context_usage"}))]);
    assert_eq!(agent.line()["response"]["response"]["maxTokens"], 1_000_000);
    agent.send(&[r#"{"type":"control_request","request":{"subtype":"mcp_status"}}"#]);
    assert_eq!(agent.line()["response"].get("request_id"), None, "no id, none back");
}

#[test]
fn bypassing_must_have_been_allowed_at_the_start() {
    let mut agent = start(&["--permission-mode=default"]);
    agent.send(&[&control(
        "r",
        &json!({"subtype": "set_permission_mode", "mode": "bypassPermissions"}),
    )]);
    let answer = agent.line();
    assert_eq!(answer["response"]["subtype"], "error");
    assert_eq!(
        answer["response"]["error"],
        "Cannot set permission mode to bypassPermissions because the session was not launched with --dangerously-skip-permissions"
    );
}

// ------------------------------------------------------------------- turns

#[test]
fn a_turn_is_as_recorded() {
    let mut agent = start_recorded(&[]);
    agent.script(json!({"echo": true}));
    assert_as_recorded("plain", &until_idle(&agent));
}

#[test]
fn a_turn_with_partial_messages_is_as_recorded() {
    let mut agent = start_recorded(&["--include-partial-messages"]);
    agent.script(json!({"echo": true}));
    assert_as_recorded("partials", &until_idle(&agent));
}

#[test]
fn a_reply_is_streamed_in_pieces_that_make_up_its_text() {
    let mut agent = start(&["--include-partial-messages"]);
    agent.say("good  morning");
    let lines = agent.until_result();
    let pieces: Vec<_> =
        lines.iter().filter_map(|line| line["event"]["delta"]["text"].as_str()).collect();
    assert!(pieces.len() > 5, "{pieces:?}");
    assert_eq!(texts(&lines), [pieces.concat()]);
    assert!(pieces.concat().contains("good  morning"));
    let at = |wanted: &str| {
        lines
            .iter()
            .position(|line| line["type"] == wanted || line["event"]["type"] == wanted)
            .unwrap()
    };
    assert!(at("assistant") < at("content_block_stop"));
    assert_eq!(lines.last().unwrap()["result"], pieces.concat());
}

#[test]
fn without_the_flag_nothing_is_streamed() {
    let mut agent = start(&[]);
    agent.say("hello");
    let lines = agent.until_result();
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["system", "assistant", "result"]);
}

#[test]
fn word_tool_produces_thinking_a_call_and_its_result() {
    let mut agent = start(&["--include-partial-messages"]);
    agent.say("Show me a tool");
    let lines = agent.until_result();
    let blocks: Vec<_> =
        lines.iter().filter_map(|line| line["message"]["content"][0]["type"].as_str()).collect();
    assert_eq!(blocks, ["thinking", "tool_use", "tool_result", "text"]);
    assert_eq!(lines.last().unwrap()["num_turns"], 2);
}

#[test]
fn turns_share_the_session_and_their_cost_adds_up() {
    let mut agent = start(&[]);
    agent.script(json!({"echo": true}));
    let first = agent.until_result();
    agent.script(json!({"echo": true}));
    let second = agent.until_result();
    assert_eq!(first[0]["session_id"], second[0]["session_id"]);
    assert_ne!(first[0]["uuid"], second[0]["uuid"]);
    let cost = |lines: &[Value]| lines.last().unwrap()["total_cost_usd"].as_f64().unwrap();
    assert!(cost(&first) > 0.0);
    assert!((cost(&second) - 2.0 * cost(&first)).abs() < 1e-9);
    let index = |lines: &[Value]| lines.last().unwrap()["result_index"].as_u64();
    assert_eq!((index(&first), index(&second)), (Some(0), Some(1)));
}

#[test]
fn resuming_keeps_the_session_id() {
    let id = "0ac8fd93-f264-4863-a5ed-dd9de493f29a";
    for (flags, same) in [
        (vec![format!("--resume={id}")], true),
        (vec!["--resume".to_owned(), id.to_owned()], true),
        (vec![format!("--resume={id}"), "--fork-session".to_owned()], false),
        (vec!["--continue".to_owned()], false),
    ] {
        let mut agent = start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        agent.script(json!({"echo": true}));
        let init = agent.line();
        assert_eq!(init["session_id"] == id, same, "{flags:?}");
        assert_eq!(init["session_id"].as_str().unwrap().len(), 36);
    }
}

#[test]
fn messages_that_arrive_in_a_turn_make_the_next_one_together() {
    let mut agent = start_recorded(&[]);
    let messages: Vec<_> =
        (0..4).map(|note| user(&json!({"echo": true, "note": note}).to_string())).collect();
    agent.send(&messages.iter().map(String::as_str).collect::<Vec<_>>());
    let lines = until_idle(&agent);
    let results: Vec<_> = lines.iter().filter(|line| line["type"] == "result").collect();
    assert_eq!(results.len(), 2);
    let notes: Vec<_> = texts(&lines)
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["note"].as_u64().unwrap())
        .collect();
    assert_eq!(notes, [0, 1, 2, 3]);
    // The recorded CLI gave the model the three together and got one answer.
    let once: Vec<_> = lines
        .iter()
        .filter(|line| !(text(line).contains(r#""note":1"#) || text(line).contains(r#""note":2"#)))
        .cloned()
        .collect();
    assert_as_recorded("messages_burst", &once);
}

#[test]
fn plain_messages_that_were_queued_get_one_reply_and_their_uuids_are_named() {
    let mut agent = start_recorded(&["--permission-prompt-tool=stdio"]);
    let uuid = |digit: &str| format!("{0}-0000-4000-8000-000000000000", digit.repeat(8));
    agent.send(&[&user_with_uuid(r#"{"permission":"Bash"}"#, &uuid("1"))]);
    let asked = agent.until(|line| line["type"] == "control_request");
    agent.send(&[&user_with_uuid("two", &uuid("2")), &user_with_uuid("three", &uuid("3"))]);
    let queued = agent.until(|line| line["command_uuid"] == uuid("3"));
    agent.send(&[&answer(&asked, &json!({"behavior": "allow"}))]);
    // The recorded first turn was a plain reply: without its tool it is one.
    let mut rest = until_idle(&agent);
    let told = rest.iter().position(|line| text(line).starts_with("permission for")).unwrap();
    let begun = asked.iter().position(|line| line["type"] == "assistant").unwrap();
    let lines: Vec<_> =
        asked[..begun].iter().cloned().chain(queued).chain(rest.split_off(told)).collect();
    assert_as_recorded("message_while_running", &lines);
    let last = lines.iter().rfind(|line| line["type"] == "result").unwrap();
    assert_eq!(last["user_message_uuids"], json!([uuid("2"), uuid("3")]));
    assert!(texts(&lines)[1].contains("two\nthree"), "{lines:#?}");
}
