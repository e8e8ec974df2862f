use super::changes::CHANGES_BYTES;
use super::*;
use crate::agent::protocol::ControlOutcome;
use proptest::prelude::*;

fn setup() -> Setup {
    Setup {
        run: 3,
        resume: None,
        thread: Map::new(),
        turn: Map::new(),
        mode: crate::agent::mode::Mode::Ask,
        policy: policy::policy(crate::agent::mode::Mode::Ask, None),
        denies_all: false,
        retry_limit: Duration::from_secs(120),
        is_remote: false,
    }
}

/// A dialect and what it has written.
struct Run {
    codex: Codex,
    now: Instant,
}

impl Run {
    fn with(setup: Setup) -> (Self, String) {
        let now = Instant::now();
        let (codex, first) = Codex::new(setup, now);
        (Self { codex, now }, text(first))
    }

    /// One with an open thread `t`.
    fn opened(setup: Setup) -> Self {
        let (mut run, _) = Self::with(setup);
        run.hear(r#"{"id":1,"result":{}}"#);
        assert_eq!(
            run.hear(r#"{"id":2,"result":{"thread":{"id":"t","status":{"type":"idle"}}}}"#),
            "ready"
        );
        run
    }

    /// What becomes of a line, and the lines and words that follow from it.
    fn hear(&mut self, line: &str) -> String {
        let mut said = match self.codex.classify(line.as_bytes(), self.now) {
            Route::Forward(TurnEvent::None) => "forward".to_owned(),
            Route::Forward(TurnEvent::TurnStarted(id)) => {
                format!("turn of {}", id.unwrap_or_default())
            }
            Route::Forward(TurnEvent::TurnEnded) => "turn ended".to_owned(),
            Route::Forward(TurnEvent::Signal(signal)) => format!("{signal:?}"),
            Route::Hidden(TurnEvent::TurnStarted(_)) => "hidden, in a turn".to_owned(),
            Route::Hidden(_) => "hidden".to_owned(),
            Route::Ready { .. } => "ready".to_owned(),
            Route::Withdrawn { id } => format!("withdrawn {id}"),
            Route::Permission(asked) => format!("asked {}", asked.id),
            Route::Refuse(line) => format!("refused {}", text(line)),
            Route::NotJson => "noise".to_owned(),
            Route::Answer { .. } => panic!("Codex answers nothing of a client's"),
        };
        for aside in self.actions() {
            said = format!("{said}; {aside}");
        }
        said
    }

    fn actions(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.codex.next_action())
            .map(|aside| match aside {
                ProtocolAction::Write(line) => text(line),
                ProtocolAction::Inform(words) => format!("say {words}"),
                ProtocolAction::TurnRefused(reason) => format!("turn refused: {reason}"),
                ProtocolAction::Broken(reason) => format!("broken: {reason}"),
            })
            .collect()
    }

    fn say(&mut self, words: &str) -> String {
        let data = json!({"type": "user", "message": {"role": "user", "content": words}});
        match self.codex.message(data.to_string().into(), self.now).unwrap() {
            Input::Control(line) => text(line),
            Input::Message(_) => panic!("its answer tells whether it was read"),
        }
    }

    fn interrupt(&mut self) -> Option<String> {
        self.codex.interrupt(self.now).map(text)
    }

    fn pass(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.codex.on_time(self.now);
        self.actions()
    }
}

fn text(line: Bytes) -> String {
    let text = String::from_utf8(line.to_vec()).unwrap();
    assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "{text:?}");
    text.trim_end().to_owned()
}

const STARTED: &str = r#"{"method":"turn/started","params":{"threadId":"t","turn":{"id":"u"}}}"#;
const ENDED: &str =
    r#"{"method":"turn/completed","params":{"threadId":"t","turn":{"status":"completed"}}}"#;
const STOPPED: &str =
    r#"{"method":"turn/completed","params":{"threadId":"t","turn":{"status":"interrupted"}}}"#;
const RETRY: &str = r#"{"method":"error","params":{"threadId":"t","willRetry":true}}"#;

#[test]
fn a_thread_is_opened_and_takes_one_message_at_a_time() {
    let (mut run, first) = Run::with(setup());
    assert!(first.starts_with(r#"{"id":1,"method":"initialize","params":{"clientInfo":"#));
    assert_eq!(run.codex.accepts(), Accepts::Requests);
    assert_eq!(
        run.hear(r#"{"id":1,"result":{}}"#),
        r#"hidden; {"method":"initialized"}; {"id":2,"method":"thread/start","params":{"approvalPolicy":"untrusted","sandbox":"workspace-write"}}"#
    );
    assert_eq!(run.hear(r#"{"id":2,"result":{"thread":{"id":"t"}}}"#), "ready");
    assert_eq!(run.codex.accepts(), Accepts::Anything);
    assert_eq!(
        run.say("hi"),
        r#"{"id":3,"method":"turn/start","params":{"threadId":"t","input":[{"type":"text","text":"hi"}]}}"#
    );
    assert_eq!(run.codex.accepts(), Accepts::NoMessage);
    assert_eq!(run.hear(r#"{"id":3,"result":{"turn":{}}}"#), "hidden");
    assert_eq!(run.hear(STARTED), "turn of t");
    assert_eq!(run.codex.accepts(), Accepts::NoMessage);
    assert_eq!(run.hear(ENDED), "turn ended");
    assert_eq!(run.codex.accepts(), Accepts::Anything);
    assert_eq!(run.codex.deadline(), None);
}

#[test]
fn in_a_narrow_mode_the_servers_of_the_user_are_turned_off_by_name() {
    let mode = crate::agent::mode::Mode::Agentic;
    let narrow = || Setup { mode, denies_all: true, resume: Some("old".into()), ..setup() };
    let (mut run, _) = Run::with(narrow());
    let asked = run.hear(r#"{"id":1,"result":{}}"#);
    let question = r#"{"id":2,"method":"config/read","params":{"cwd":null,"includeLayers":false}}"#;
    assert!(asked.ends_with(question), "{asked}");
    assert_eq!(
        run.hear(r#"{"id":2,"result":{"config":{"mcp_servers":{"mine":{"command":"x"}}}}}"#),
        r#"hidden; {"id":3,"method":"thread/resume","params":{"config":{"mcp_servers":{"mine":{"enabled":false}}},"approvalPolicy":"untrusted","sandbox":"workspace-write","threadId":"old","excludeTurns":true}}"#
    );
    // Without an answer there is no thread.
    for (reply, reason) in [
        (r#"{"id":2,"error":{"message":"no"}}"#, "it did not tell its configuration: no"),
        (r#"{"id":2,"result":{}}"#, "it told a configuration that is none"),
    ] {
        let (mut run, _) = Run::with(narrow());
        run.hear(r#"{"id":1,"result":{}}"#);
        assert_eq!(run.hear(reply), format!("hidden; broken: {reason}"));
    }
}

#[test]
fn a_message_is_read_when_it_is_answered() {
    let mut run = Run::opened(setup());
    run.say("hi");
    assert!(run.codex.unanswered().is_some_and(|data| data.starts_with(b"{\"type\":\"user\"")));
    let mut run = Run::opened(setup());
    run.say("hi");
    run.hear(r#"{"id":3,"result":{}}"#);
    assert_eq!(run.codex.unanswered(), None);
    let mut run = Run::opened(setup());
    run.say("hi");
    assert_eq!(
        run.hear(r#"{"id":3,"error":{"code":-32602,"message":"too large"}}"#),
        "hidden; turn refused: too large"
    );
    assert_eq!((run.codex.unanswered(), run.codex.accepts()), (None, Accepts::Anything));
}

#[test]
fn an_interrupt_waits_for_the_turn_to_begin() {
    let mut run = Run::opened(setup());
    assert_eq!(run.interrupt(), None);
    run.say("hi");
    assert_eq!(run.interrupt(), None);
    run.hear(r#"{"id":3,"result":{}}"#);
    let interrupt = r#"{"id":4,"method":"turn/interrupt","params":{"threadId":"t","turnId":""}}"#;
    assert_eq!(run.hear(STARTED), format!("turn of t; {interrupt}"));
    assert_eq!(run.interrupt(), None, "once is enough");
    assert_eq!(run.hear(r#"{"id":4,"result":{}}"#), "hidden");
    let clear = r#"{"id":5,"method":"thread/backgroundTerminals/clean","params":{"threadId":"t"}}"#;
    assert_eq!(run.hear(STOPPED), format!("turn ended; {clear}"));
    assert_eq!(run.codex.accepts(), Accepts::Requests, "the next message would lose its commands");
    assert_eq!(run.hear(r#"{"id":5,"error":{"message":"whatever"}}"#), "hidden");
    assert_eq!(run.codex.accepts(), Accepts::Anything);
}

#[test]
fn what_takes_too_long_is_given_up() {
    let mut run = Run::opened(setup());
    run.say("hi");
    assert!(run.pass(REQUEST_TIMEOUT - Duration::from_secs(1)).is_empty());
    assert_eq!(
        run.pass(Duration::from_secs(1)),
        ["broken: it has not answered turn/start within 60s"]
    );
    assert_eq!(run.codex.deadline(), None, "once is enough");

    let mut run = Run::opened(setup());
    run.say("hi");
    run.hear(r#"{"id":3,"result":{}}"#);
    run.hear(STARTED);
    run.interrupt().unwrap();
    run.hear(r#"{"id":4,"result":{}}"#);
    assert_eq!(run.codex.deadline(), Some(run.now + INTERRUPT_TIMEOUT));
    assert_eq!(
        run.pass(INTERRUPT_TIMEOUT),
        ["broken: its turn has not ended within 10s after the interrupt"]
    );
}

#[test]
fn a_model_out_of_reach_is_given_up() {
    let mut run = Run::opened(setup());
    run.say("hi");
    run.hear(r#"{"id":3,"result":{}}"#);
    run.hear(STARTED);
    assert_eq!(run.hear(RETRY), "forward");
    assert!(run.pass(Duration::from_secs(119)).is_empty());
    assert_eq!(run.hear(RETRY), "forward");
    let given_up = run.pass(Duration::from_secs(1));
    assert!(given_up[0].starts_with("say The model's API has not been reached for 120s"));
    assert!(given_up[1].contains("turn/interrupt"), "{given_up:?}");

    let mut run = Run::opened(setup());
    run.say("hi");
    run.hear(r#"{"id":3,"result":{}}"#);
    run.hear(STARTED);
    run.hear(RETRY);
    run.hear(r#"{"method":"item/agentMessage/delta","params":{"threadId":"t"}}"#);
    assert_eq!(run.codex.deadline(), None, "it has answered");
}

#[test]
fn a_thread_that_is_not_known_gives_way_to_a_new_one() {
    let resume = || Setup { resume: Some("old".into()), ..setup() };
    let (mut run, _) = Run::with(resume());
    let asked = run.hear(r#"{"id":1,"result":{}}"#);
    assert!(
        asked.ends_with(
            r#"{"id":2,"method":"thread/resume","params":{"approvalPolicy":"untrusted","sandbox":"workspace-write","threadId":"old","excludeTurns":true}}"#
        ),
        "{asked}"
    );
    assert_eq!(
        run.hear(r#"{"id":2,"error":{"message":"no rollout found for old"}}"#),
        r#"hidden; say The session old could not be resumed: no rollout found for old; a new one is started.; {"id":3,"method":"thread/start","params":{"approvalPolicy":"untrusted","sandbox":"workspace-write"}}"#
    );
    // A thread that another process has is not given up.
    let (mut run, _) = Run::with(resume());
    run.hear(r#"{"id":1,"result":{}}"#);
    assert_eq!(
        run.hear(r#"{"id":2,"error":{"message":"already has an active writer"}}"#),
        "hidden; broken: it could not open the conversation: already has an active writer"
    );
}

#[test]
fn a_turn_that_went_on_is_taken_up() {
    let (mut run, _) = Run::with(Setup { resume: Some("t".into()), is_remote: true, ..setup() });
    run.hear(r#"{"id":1,"result":{}}"#);
    let active = r#"{"id":2,"result":{"thread":{"id":"t","status":{"type":"active"}},"approvalPolicy":"untrusted","sandbox":{"type":"workspaceWrite"}}}"#;
    assert_eq!(run.hear(active), "hidden, in a turn");
    assert_eq!(run.codex.accepts(), Accepts::NoMessage);
    assert!(!run.codex.is_interrupting());
    assert!(run.interrupt().is_some());
    assert!(run.codex.is_interrupting(), "the end of the connection would leave its command");
    run.hear(STOPPED);
    assert!(run.codex.is_interrupting());
    run.hear(r#"{"id":4,"result":{}}"#);
    assert!(!run.codex.is_interrupting());
}

#[test]
fn a_thread_with_rights_of_its_own_gets_those_of_the_server() {
    use crate::agent::mode::Mode;
    let theirs = r#"{"id":2,"result":{"thread":{"id":"t"},"approvalPolicy":"never","sandbox":{"type":"dangerFullAccess"}}}"#;
    let resume = |mode, denies_all| {
        let policy = policy::policy(mode, None);
        Run::with(Setup { mode, policy, denies_all, resume: Some("t".into()), ..setup() }).0
    };
    let mut run = resume(Mode::Ask, false);
    run.hear(r#"{"id":1,"result":{}}"#);
    assert_eq!(run.hear(theirs), "ready");
    let rights = r#""approvalPolicy":"untrusted","sandboxPolicy":{"type":"workspaceWrite"}"#;
    assert!(run.say("hi").contains(rights));

    // Where that does not do, it is left alone.
    let mut run = resume(Mode::Safe, true);
    run.hear(r#"{"id":1,"result":{}}"#);
    run.hear(r#"{"id":2,"result":{"config":{}}}"#);
    let said = run.hear(&theirs.replace(r#""id":2"#, r#""id":3"#));
    assert!(said.starts_with("hidden; say The session t is open elsewhere"), "{said}");
    assert!(said.contains(r#"{"id":4,"method":"thread/start""#), "{said}");
}

#[test]
fn what_is_of_other_threads_changes_nothing_here() {
    let mut run = Run::opened(setup());
    run.say("hi");
    run.hear(r#"{"id":3,"result":{}}"#);
    run.hear(STARTED);
    let other = |method: &str| format!(r#"{{"method":"{method}","params":{{"threadId":"o"}}}}"#);
    assert_eq!(run.hear(&other("turn/completed")), "forward");
    assert_eq!(run.hear(&other("thread/status/changed")), "hidden");
    assert_eq!(run.codex.accepts(), Accepts::NoMessage);
}

#[test]
fn a_file_change_is_remembered_until_it_ends() {
    let mut run = Run::opened(setup());
    let item = |method: &str| {
        format!(
            r#"{{"method":"item/{method}","params":{{"item":{{"type":"fileChange","id":"i","changes":[1]}}}}}}"#
        )
    };
    run.hear(&item("started"));
    assert_eq!(run.codex.changes.get("i").map(RawValue::get), Some("[1]"));
    run.hear(&item("completed"));
    assert!(run.codex.changes.get("i").is_none());
    let large = "x".repeat(CHANGES_BYTES / 2);
    for id in ["a", "b", "c"] {
        let item = json!({ "type": "fileChange", "id": id, "changes": [large] }).to_string();
        run.codex.changes.note(Some(&RawValue::from_string(item).unwrap()));
    }
    assert!(run.codex.changes.get("a").is_none() && run.codex.changes.get("c").is_some());
}

#[test]
fn lines_and_where_they_go() {
    let mut run = Run::opened(setup());
    for (line, expected) in [
        (r#"{"method":"warning","params":{}}"#, "forward"),
        (r#"{"method":"brand/new"}"#, "forward"),
        (r#"{"a":1}"#, "forward"),
        (r#"{"id":77,"result":{}}"#, "hidden"),
        (r#"{"id":"2","result":{}}"#, "hidden"),
        (
            r#"{"method":"serverRequest/resolved","params":{"threadId":"t","requestId":0}}"#,
            "withdrawn codex-3-0",
        ),
        (
            r#"{"method":"item/commandExecution/requestApproval","id":0,"params":{}}"#,
            "asked codex-3-0",
        ),
        ("[]", "noise"),
        ("x", "noise"),
    ] {
        assert_eq!(run.hear(line), expected, "{line}");
    }
}

#[test]
fn control_requests_are_answered_here_and_take_effect_with_the_next_turn() {
    let mut run = Run::opened(setup());
    let mut ask = |request: &str| match run.codex.control_request("c", request, run.now) {
        ControlOutcome::Answered(answer) => answer.get().to_owned(),
        ControlOutcome::Write(line) => panic!("{line:?}"),
    };
    let done = r#"{"subtype":"success","request_id":"c","response":{}}"#;
    assert_eq!(ask(r#"{"subtype":"set_model","model":"m"}"#), done);
    assert_eq!(ask(r#"{"subtype":"set_permission_mode","mode":"plan"}"#), done);
    assert_eq!(ask(r#"{"subtype":"interrupt"}"#), done);
    for refused in [
        r#"{"subtype":"set_model"}"#,
        r#"{"subtype":"set_permission_mode","mode":"x"}"#,
        r#"{"subtype":"mcp_status"}"#,
    ] {
        assert!(ask(refused).contains(r#""subtype":"error""#), "{refused}");
    }
    assert_eq!(
        run.say("hi"),
        r#"{"id":3,"method":"turn/start","params":{"threadId":"t","model":"m","approvalPolicy":"never","sandboxPolicy":{"type":"readOnly"},"input":[{"type":"text","text":"hi"}]}}"#
    );
}

#[test]
fn another_conversation_begins_when_nothing_is_under_way() {
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
    assert_eq!(run.hear(opened), "ready");
    assert!(run.say("hi").contains(r#""threadId":"other""#));
    assert_eq!(ask(&mut run), (false, vec![]), "a turn runs");

    // Before there is a first one.
    let (mut run, _) = Run::with(setup());
    run.hear(r#"{"id":1,"result":{}}"#);
    assert_eq!(ask(&mut run), (true, vec![]));
    let first = r#"{"id":2,"result":{"thread":{"id":"t"}}}"#;
    assert_eq!(run.hear(first), format!("ready; {start}"));
    assert_eq!(run.codex.accepts(), Accepts::Requests);
    run.hear(opened);
    assert_eq!(run.codex.accepts(), Accepts::Anything);
}

#[test]
fn what_is_too_long_for_a_websocket_is_refused_by_name() {
    let mut run = Run::opened(Setup { is_remote: true, ..setup() });
    let content = "x".repeat(REMOTE_LINE_BYTES);
    let data = json!({"type": "user", "message": {"role": "user", "content": content}});
    let error = run.codex.message(data.to_string().into(), run.now).unwrap_err();
    assert!(error.0.contains("over a WebSocket"), "{error}");
    assert_eq!((run.codex.accepts(), run.codex.deadline()), (Accepts::Anything, None));
}

proptest! {
    #[test]
    fn no_line_makes_it_stumble(
        lines in proptest::collection::vec(
            prop_oneof![
                Just(STARTED.to_owned()), Just(ENDED.to_owned()), Just(STOPPED.to_owned()),
                Just(RETRY.to_owned()),
                r#"\{"id":[0-9"]{1,3},"(result|error)":(\{"thread":\{"id":"t"\}\}|null|[0-9])\}"#,
                r#"\{"method":"(item/started|item/completed|error|turn/started)","params":(null|\{"item":[0-9]\}|\{\})\}"#,
                r#"\{"method":"item/fileChange/requestApproval","id":(0|"x"|null),"params":(null|\[\]|\{\})\}"#,
                ".{0,40}",
            ],
            0..30,
        )
    ) {
        let (mut run, _) = Run::with(setup());
        for line in lines {
            run.hear(&line);
            if run.codex.accepts() == Accepts::Anything {
                run.say("hi");
            }
            run.interrupt();
        }
    }
}
