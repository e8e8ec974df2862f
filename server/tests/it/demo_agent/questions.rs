//! Permissions and interrupts: what goes back and forth in a turn.

use super::*;

// ------------------------------------------------------------- permissions

#[test]
fn an_allowed_tool_is_as_recorded_and_tells_its_input() {
    let (mut agent, mut lines) = asking();
    let input = json!({"command": "touch other.txt"});
    agent.send(&[&answer(&lines, &json!({"behavior": "allow", "updatedInput": input}))]);
    lines.extend(until_idle(&agent));
    assert_as_recorded("permission_allow", &lines);
    assert_eq!(texts(&lines)[1], format!("permission for Bash: allow {input}"));
    assert_eq!(agent.finish().2.code(), Some(0));
}

#[test]
fn a_denied_tool_is_as_recorded_and_the_turn_goes_on() {
    let (mut agent, mut lines) = asking();
    agent.send(&[&answer(&lines, &json!({"behavior": "deny", "message": "not here"}))]);
    lines.extend(until_idle(&agent));
    assert_as_recorded("permission_deny", &lines);
    assert_eq!(texts(&lines)[1], "permission for Bash: deny not here");
    let result = lines.iter().find(|line| line["type"] == "result").unwrap();
    assert_eq!(result["permission_denials"][0]["tool_name"], "Bash");
    assert_eq!(result["is_error"], false);
}

#[test]
fn an_interrupt_withdraws_the_question_first() {
    let (mut agent, mut lines) = asking();
    agent.send(&[INTERRUPT]);
    lines.extend(until_idle(&agent));
    assert_as_recorded("permission_cancelled_by_interrupt", &lines);
    let result = lines.iter().find(|line| line["type"] == "result").unwrap();
    assert_eq!(result["terminal_reason"], "aborted_tools");
    assert_eq!(result["num_turns"], 3);
    assert_eq!(agent.finish().2.code(), Some(1), "its last result was an error");
}

#[test]
fn a_denial_can_interrupt() {
    let (mut agent, lines) = asking();
    let denial = json!({"behavior": "deny", "message": "no", "interrupt": true});
    agent.send(&[&answer(&lines, &denial)]);
    let lines = agent.until_result();
    assert_eq!(lines.last().unwrap()["terminal_reason"], "aborted_tools");
}

#[test]
fn an_answer_that_is_none_denies() {
    let (mut agent, lines) = asking();
    let id = &lines.last().unwrap()["request_id"];
    let error = json!({"subtype": "error", "request_id": id, "error": "callback failed"});
    agent.send(&[&json!({"type": "control_response", "response": error}).to_string()]);
    let lines = agent.until_result();
    let told = "permission for Bash: deny Tool permission request failed: Error: callback failed";
    assert_eq!(texts(&lines), [told]);

    let (mut agent, lines) = asking();
    // An answer to something else is no answer.
    agent.send(&[
        r#"{"type":"control_response","response":{"subtype":"success","request_id":"x","response":{"behavior":"allow"}}}"#,
        &answer(&lines, &json!({"behaviour": "yes"})),
    ]);
    let lines = agent.until_result();
    assert!(texts(&lines)[0].contains("deny Tool permission request failed: ZodError"));
}

#[test]
fn at_the_end_of_input_an_open_question_is_denied_and_the_turn_ends() {
    let (agent, _) = asking();
    let (lines, _, status) = agent.finish();
    let lines: Vec<Value> =
        lines.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert!(texts(&lines)[0].contains("Tool permission stream closed before response received"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn with_nobody_to_ask_the_mode_decides() {
    for (mode, told) in [("default", "deny"), ("bypassPermissions", "allow")] {
        let mut agent = start(&[&format!("--permission-mode={mode}")]);
        agent.script(json!({"permission": "Write"}));
        let lines = agent.until_result();
        assert!(lines.iter().all(|line| line["type"] != "control_request"));
        assert!(texts(&lines)[1].starts_with(&format!("permission for Write: {told}")));
    }
}

// -------------------------------------------------------------- interrupts

#[test]
fn an_interrupt_of_an_idle_agent_is_only_answered() {
    let mut agent = start(&[]);
    agent.send(&[INTERRUPT]);
    assert_eq!(agent.line()["response"]["response"], json!({"still_queued": []}));
    agent.script(json!({"echo": true}));
    let lines = agent.until_result();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["subtype"], "success");
}

#[test]
fn an_interrupt_right_behind_a_message_is_as_recorded() {
    let mut agent = start_recorded(&[]);
    agent.send(&[&user("hello"), INTERRUPT]);
    let lines = until_idle(&agent);
    assert_as_recorded("interrupt_at_once", &lines);
    assert_eq!(agent.finish().2.code(), Some(1));
}

#[test]
fn an_interrupt_of_a_reply_is_as_recorded_and_the_agent_goes_on() {
    let mut agent = start_recorded(&[]);
    agent.say("something long, please");
    // Before `init` is seen, the first piece has been streamed.
    let mut lines = agent.until(|line| line["subtype"] == "init");
    agent.send(&[INTERRUPT]);
    lines.extend(until_idle(&agent));
    agent.script(json!({"echo": true}));
    lines.extend(until_idle(&agent));
    assert_as_recorded("interrupt_streaming", &lines);
    assert!(texts(&lines)[0].starts_with("Line 1"));
}

#[test]
fn an_interrupted_stream_stops_at_the_piece_it_had_reached() {
    let mut agent = start(&["--include-partial-messages"]);
    agent.say("something long, please");
    let mut lines = agent.until(|line| line["event"]["type"] == "content_block_delta");
    agent.send(&[INTERRUPT]);
    lines.extend(agent.until_result());
    let pieces: String =
        lines.iter().filter_map(|line| line["event"]["delta"]["text"].as_str()).collect();
    assert_eq!(texts(&lines)[0], pieces);
    let at = |wanted: &str| lines.iter().position(|line| line["type"] == wanted).unwrap();
    assert!(at("control_response") < at("assistant") && at("assistant") < at("user"));
    assert_eq!(lines[at("assistant")]["aborted"], true);
}

#[test]
fn an_interrupt_ends_a_sleep_and_an_emission() {
    for script in [json!({"n": 1_000_000_000_u64, "size": 300}), json!({"n": 10, "rate": 0.001})] {
        let mut agent = start(&[]);
        agent.script(script.clone());
        agent.until(|line| line["type"] == "assistant");
        agent.send(&[INTERRUPT]);
        let mut lines = agent.until_result();
        lines.retain(|line| line["type"] != "assistant");
        let rest: Vec<_> = lines.iter().map(|line| &line["type"]).collect();
        assert_eq!(rest, ["control_response", "user", "result"], "{script}");
        assert_eq!(text(&lines[1]), "[Request interrupted by user]");
        assert_eq!(lines[2]["terminal_reason"], "aborted_streaming");
    }
    let mut agent = start(&[]);
    agent.script(json!({"sleep_ms": 3_600_000}));
    assert_eq!(agent.line()["subtype"], "init");
    agent.send(&[INTERRUPT]);
    assert_eq!(agent.until_result().len(), 3);
}

#[test]
fn messages_queued_behind_an_interrupted_turn_run_next() {
    let uuid = |digit: &str| {
        format!("{0}-{1}-4{2}-8{2}-{0}{1}", digit.repeat(8), digit.repeat(4), digit.repeat(3))
    };
    for (name, cancel, dropped) in [
        ("queued_then_interrupt", false, false),
        ("queued_then_interrupt_cancel_queued", true, true),
    ] {
        let mut agent = start_recorded(&[]);
        agent.send(&[&user_with_uuid("something long", &uuid("1"))]);
        let mut lines = agent.until(|line| line["subtype"] == "init");
        agent.send(&[&user_with_uuid(r#"{"echo":true}"#, &uuid("2"))]);
        lines.extend(agent.until(|line| line["state"] == "queued"));
        let mut request = json!({"subtype": "interrupt"});
        if cancel {
            request["cancel_queued"] = json!(true);
        }
        agent.send(&[&control("stop", &request)]);
        lines.extend(until_idle(&agent));
        assert_as_recorded(name, &lines);
        let answer = lines.iter().find(|line| line["type"] == "control_response").unwrap();
        let (queued, gone) =
            if dropped { ("cancelled", "still_queued") } else { ("still_queued", "cancelled") };
        assert_eq!(answer["response"]["response"][queued], json!([uuid("2")]));
        assert_ne!(answer["response"]["response"][gone], json!([uuid("2")]));
    }
}
