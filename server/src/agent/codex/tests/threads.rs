//! Opening and resuming threads.

use super::*;

#[test]
fn a_thread_is_opened_and_takes_one_message_at_a_time() {
    let (mut run, first) = Run::with(setup());
    assert!(first.starts_with(r#"{"id":1,"method":"initialize","params":{"clientInfo":"#));
    assert_eq!(run.codex.accepts(), Accepts::Requests);
    assert_eq!(
        run.receive(r#"{"id":1,"result":{}}"#),
        r#"hidden; {"method":"initialized"}; {"id":2,"method":"thread/start","params":{"approvalPolicy":"untrusted","sandbox":"workspace-write"}}"#
    );
    assert_eq!(run.receive(r#"{"id":2,"result":{"thread":{"id":"t"}}}"#), "ready");
    assert_eq!(run.codex.accepts(), Accepts::Anything);
    assert_eq!(
        run.send("hi"),
        r#"{"id":3,"method":"turn/start","params":{"threadId":"t","input":[{"type":"text","text":"hi"}]}}"#
    );
    assert_eq!(run.codex.accepts(), Accepts::NoMessage);
    assert_eq!(run.receive(r#"{"id":3,"result":{"turn":{}}}"#), "hidden");
    assert_eq!(run.receive(STARTED), "turn of t");
    assert_eq!(run.codex.accepts(), Accepts::NoMessage);
    assert_eq!(run.receive(ENDED), "turn ended");
    assert_eq!(run.codex.accepts(), Accepts::Anything);
    assert_eq!(run.codex.deadline(), None);
}

#[test]
fn a_narrow_mode_disables_the_users_servers_by_name() {
    let mode = crate::agent::mode::Mode::Agentic;
    let narrow = || Setup { mode, denies_all: true, resume: Some("old".into()), ..setup() };
    let (mut run, _) = Run::with(narrow());
    let asked = run.receive(r#"{"id":1,"result":{}}"#);
    let question = r#"{"id":2,"method":"config/read","params":{"cwd":null,"includeLayers":false}}"#;
    assert!(asked.ends_with(question), "{asked}");
    assert_eq!(
        run.receive(r#"{"id":2,"result":{"config":{"mcp_servers":{"mine":{"command":"x"}}}}}"#),
        r#"hidden; {"id":3,"method":"thread/resume","params":{"config":{"mcp_servers":{"mine":{"enabled":false}}},"approvalPolicy":"untrusted","sandbox":"workspace-write","threadId":"old","excludeTurns":true}}"#
    );
    // Without the rights that were asked for, nothing goes on.
    let theirs = r#"{"id":3,"result":{"thread":{"id":"t"},"approvalPolicy":"never","sandbox":{"type":"dangerFullAccess"}}}"#;
    let (mut run, _) = Run::with(Setup { resume: None, ..narrow() });
    run.receive(r#"{"id":1,"result":{}}"#);
    run.receive(r#"{"id":2,"result":{"config":{}}}"#);
    let outcome = run.receive(theirs);
    assert!(outcome.ends_with("with other rights than those asked for"), "{outcome}");
    // Without an answer, no thread is opened.
    for (reply, reason) in [
        (r#"{"id":2,"error":{"message":"no"}}"#, "it did not return its configuration: no"),
        (r#"{"id":2,"result":{}}"#, "it returned an invalid configuration"),
    ] {
        let (mut run, _) = Run::with(narrow());
        run.receive(r#"{"id":1,"result":{}}"#);
        assert_eq!(run.receive(reply), format!("hidden; broken: {reason}"));
    }
}

#[test]
fn skills_are_disabled_before_each_conversation() {
    let cautious = || {
        let thread = Map::from_iter([("cwd".to_owned(), json!("/w"))]);
        Setup { thread, skills: confine::Skills::Own, ..setup() }
    };
    let (mut run, _) = Run::with(cautious());
    let asked = run.receive(r#"{"id":1,"result":{}}"#);
    let question = |id| {
        format!(
            r#"{{"id":{id},"method":"skills/list","params":{{"cwds":["/w"],"forceReload":true}}}}"#
        )
    };
    assert!(asked.ends_with(&question(2)), "{asked}");
    let listed = |id| {
        format!(
            r#"{{"id":{id},"result":{{"data":[{{"skills":[{{"path":"/w/s","scope":"repo"}}]}}]}}}}"#
        )
    };
    let off = r#""config":{"skills.config":[{"enabled":false,"path":"/w/s"}]}"#;
    let start = run
        .receive(&listed(2))
        .replace(r#"{"path":"/w/s","enabled":false}"#, r#"{"enabled":false,"path":"/w/s"}"#);
    assert!(start.contains("thread/start") && start.contains(off), "{start}");
    assert_eq!(run.receive(r#"{"id":3,"result":{"thread":{"id":"t"}}}"#), "ready");
    run.codex.control_request("c", r#"{"subtype":"new_conversation"}"#, run.now);
    assert_eq!(run.actions(), [question(4)]);
    // Without the list, no thread is opened.
    for (reply, reason) in [
        (r#"{"id":2,"error":{"message":"no"}}"#, "it did not list its skills: no"),
        (r#"{"id":2,"result":{}}"#, "it returned an invalid list of skills"),
    ] {
        let (mut run, _) = Run::with(cautious());
        run.receive(r#"{"id":1,"result":{}}"#);
        assert_eq!(run.receive(reply), format!("hidden; broken: {reason}"));
    }
}

#[test]
fn a_profile_takes_the_place_of_the_sandbox() {
    use crate::agent::mode::Mode;
    let profile = fence::profile(Mode::Ask, &fence::Fence::Outer);
    let (mut run, _) = Run::with(Setup { profile, ..setup() });
    let opening = run.receive(r#"{"id":1,"result":{}}"#);
    assert!(opening.contains(r#""permissions":"relay""#), "{opening}");
    assert!(!opening.contains(r#""sandbox""#), "{opening}");
    run.receive(r#"{"id":2,"result":{"thread":{"id":"t"}}}"#);
    for (mode, files) in [
        ("plan", r#""sandboxPolicy":{"type":"readOnly"}"#),
        ("default", r#""permissions":"relay""#),
    ] {
        let request = format!(r#"{{"subtype":"set_permission_mode","mode":"{mode}"}}"#);
        run.codex.control_request("c", &request, run.now);
        let turn = run.codex.next_turn.clone();
        assert!(Value::from(turn).to_string().contains(files), "{mode}");
        run.codex.next_turn.clear();
    }
}

#[test]
fn an_unknown_thread_is_said_and_no_other_is_begun() {
    let resume = || Setup { resume: Some("old".into()), ..setup() };
    let (mut run, _) = Run::with(resume());
    let asked = run.receive(r#"{"id":1,"result":{}}"#);
    assert!(
        asked.ends_with(
            r#"{"id":2,"method":"thread/resume","params":{"approvalPolicy":"untrusted","sandbox":"workspace-write","threadId":"old","excludeTurns":true}}"#
        ),
        "{asked}"
    );
    assert_eq!(
        run.receive(r#"{"id":2,"error":{"message":"no rollout found for old"}}"#),
        "hidden; unknown old: no rollout found for old"
    );
    // A thread that is in use by another process is not replaced.
    let (mut run, _) = Run::with(resume());
    run.receive(r#"{"id":1,"result":{}}"#);
    assert_eq!(
        run.receive(r#"{"id":2,"error":{"message":"already has an active writer"}}"#),
        "hidden; broken: it could not open the conversation: already has an active writer"
    );
}

#[test]
fn a_running_turn_is_resumed() {
    let (mut run, _) = Run::with(Setup { resume: Some("t".into()), is_remote: true, ..setup() });
    run.receive(r#"{"id":1,"result":{}}"#);
    let active = r#"{"id":2,"result":{"thread":{"id":"t","status":{"type":"active"}},"approvalPolicy":"untrusted","sandbox":{"type":"workspaceWrite"}}}"#;
    assert_eq!(run.receive(active), "hidden, in a turn");
    assert_eq!(run.codex.accepts(), Accepts::NoMessage);
    assert!(!run.codex.is_interrupting());
    assert!(run.interrupt().is_some());
    assert!(run.codex.is_interrupting(), "closing the connection would leave its command running");
    run.receive(STOPPED);
    assert!(run.codex.is_interrupting());
    run.receive(r#"{"id":4,"result":{}}"#);
    assert!(!run.codex.is_interrupting());
}

#[test]
fn a_thread_with_another_policy_gets_that_of_the_server() {
    use crate::agent::mode::Mode;
    let theirs = r#"{"id":2,"result":{"thread":{"id":"t"},"approvalPolicy":"never","sandbox":{"type":"dangerFullAccess"}}}"#;
    let resume = |mode, denies_all| {
        let policy = policy::policy(mode, None);
        Run::with(Setup { mode, policy, denies_all, resume: Some("t".into()), ..setup() }).0
    };
    let mut run = resume(Mode::Ask, false);
    run.receive(r#"{"id":1,"result":{}}"#);
    assert_eq!(run.receive(theirs), "ready");
    let rights = r#""approvalPolicy":"untrusted","sandboxPolicy":{"type":"workspaceWrite"}"#;
    assert!(run.send("hi").contains(rights));

    // In a narrow mode, a new thread is started instead.
    let mut run = resume(Mode::Safe, true);
    run.receive(r#"{"id":1,"result":{}}"#);
    run.receive(r#"{"id":2,"result":{"config":{}}}"#);
    let outcome = run.receive(&theirs.replace(r#""id":2"#, r#""id":3"#));
    assert!(outcome.starts_with("hidden; inform The session t is open elsewhere"), "{outcome}");
    assert!(outcome.contains(r#"{"id":4,"method":"thread/start""#), "{outcome}");
}

#[test]
fn a_new_conversation_begins_between_turns() {
    let ask = |run: &mut Run| {
        let request = r#"{"subtype":"new_conversation"}"#;
        match run.codex.control_request("c", request, run.now) {
            ControlOutcome::Answered(answer) => (answer.get().contains("success"), run.actions()),
            ControlOutcome::Write(line) => panic!("{line:?}"),
        }
    };
    let opened = r#"{"id":3,"result":{"thread":{"id":"other"}}}"#;
    let start = r#"{"id":3,"method":"thread/start","params":{"approvalPolicy":"untrusted","sandbox":"workspace-write"}}"#.to_owned();

    let mut run = Run::opened(setup());
    assert_eq!(ask(&mut run), (true, vec![start.clone()]));
    assert_eq!(run.codex.accepts(), Accepts::Requests);
    assert_eq!(run.receive(opened), "ready");
    assert!(run.send("hi").contains(r#""threadId":"other""#));
    // The turn is interrupted, as soon as Codex has told that it runs.
    assert_eq!(ask(&mut run), (true, vec![]));

    // Before the first conversation is open.
    let (mut run, _) = Run::with(setup());
    run.receive(r#"{"id":1,"result":{}}"#);
    assert_eq!(ask(&mut run), (true, vec![]));
    let first = r#"{"id":2,"result":{"thread":{"id":"t"}}}"#;
    assert_eq!(run.receive(first), format!("ready; {start}"));
    assert_eq!(run.codex.accepts(), Accepts::Requests);
    run.receive(opened);
    assert_eq!(run.codex.accepts(), Accepts::Anything);
}
