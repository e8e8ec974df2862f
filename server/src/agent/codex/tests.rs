mod threads;

use super::changes::MAX_CHANGES_BYTES;
use super::*;
use crate::agent::protocol::ControlOutcome;
use proptest::prelude::*;
use serde_json::value::RawValue;

fn setup() -> Setup {
    Setup {
        run: 3,
        resume: None,
        thread: Map::new(),
        turn: Map::new(),
        mode: crate::agent::mode::Mode::Ask,
        policy: policy::policy(crate::agent::mode::Mode::Ask, None),
        profile: None,
        skills: confine::Skills::All,
        denies_all: false,
        retry_limit: Duration::from_secs(120),
        is_remote: false,
        is_ephemeral: false,
    }
}

/// A dialect and its clock.
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

    /// Creates a dialect with the open thread `t`.
    fn opened(setup: Setup) -> Self {
        let (mut run, _) = Self::with(setup);
        run.receive(r#"{"id":1,"result":{}}"#);
        assert_eq!(
            run.receive(r#"{"id":2,"result":{"thread":{"id":"t","status":{"type":"idle"}}}}"#),
            "ready"
        );
        run
    }

    /// Handles a line, and returns its route and the actions that follow.
    fn receive(&mut self, line: &str) -> String {
        let mut outcome = match self.codex.route(CodexLine::read(line.as_bytes()), self.now) {
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
            Route::NotJson => "not json".to_owned(),
            Route::Answer { .. } => panic!("Codex answers nothing of a client's"),
            Route::Request(_) => panic!("Codex asks for permissions alone"),
            Route::Mirror { .. } => panic!("Codex mirrors nothing"),
        };
        for action in self.actions() {
            outcome = format!("{outcome}; {action}");
        }
        outcome
    }

    fn actions(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.codex.next_action())
            .map(|action| match action {
                ProtocolAction::Write(line) => text(line),
                ProtocolAction::Inform(text) => format!("inform {text}"),
                ProtocolAction::UnknownSession { session, reason } => {
                    format!("unknown {session}: {reason}")
                }
                ProtocolAction::TurnRefused(reason) => format!("turn refused: {reason}"),
                ProtocolAction::Broken(reason) => format!("broken: {reason}"),
            })
            .collect()
    }

    fn send(&mut self, content: &str) -> String {
        let data = json!({"type": "user", "message": {"role": "user", "content": content}});
        match self.codex.message(data.to_string().into(), self.now).unwrap() {
            Input::Control(line) => text(line),
            Input::Message(_) => panic!("the response to its request confirms it"),
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
fn a_message_is_confirmed_by_its_response() {
    let mut run = Run::opened(setup());
    run.send("hi");
    assert!(run.codex.unanswered().is_some_and(|data| data.starts_with(b"{\"type\":\"user\"")));
    let mut run = Run::opened(setup());
    run.send("hi");
    run.receive(r#"{"id":3,"result":{}}"#);
    assert_eq!(run.codex.unanswered(), None);
    let mut run = Run::opened(setup());
    run.send("hi");
    assert_eq!(
        run.receive(r#"{"id":3,"error":{"code":-32602,"message":"too large"}}"#),
        "hidden; turn refused: too large"
    );
    assert_eq!((run.codex.unanswered(), run.codex.accepts()), (None, Accepts::Anything));
}

#[test]
fn an_interrupt_waits_for_the_turn_to_begin() {
    let mut run = Run::opened(setup());
    assert_eq!(run.interrupt(), None);
    run.send("hi");
    assert_eq!(run.interrupt(), None);
    run.receive(r#"{"id":3,"result":{}}"#);
    let interrupt = r#"{"id":4,"method":"turn/interrupt","params":{"threadId":"t","turnId":""}}"#;
    assert_eq!(run.receive(STARTED), format!("turn of t; {interrupt}"));
    assert_eq!(run.interrupt(), None, "once is enough");
    assert_eq!(run.receive(r#"{"id":4,"result":{}}"#), "hidden");
    let clear = r#"{"id":5,"method":"thread/backgroundTerminals/clean","params":{"threadId":"t"}}"#;
    assert_eq!(run.receive(STOPPED), format!("turn ended; {clear}"));
    assert_eq!(
        run.codex.accepts(),
        Accepts::Requests,
        "the clean-up would end commands of the next message"
    );
    assert_eq!(run.receive(r#"{"id":5,"error":{"message":"whatever"}}"#), "hidden");
    assert_eq!(run.codex.accepts(), Accepts::Anything);
}

#[test]
fn a_missing_response_or_end_breaks_the_run() {
    let mut run = Run::opened(setup());
    run.send("hi");
    assert!(run.pass(REQUEST_TIMEOUT - Duration::from_secs(1)).is_empty());
    assert_eq!(
        run.pass(Duration::from_secs(1)),
        ["broken: it has not answered turn/start within 60s"]
    );
    assert_eq!(run.codex.deadline(), None, "once is enough");

    let mut run = Run::opened(setup());
    run.send("hi");
    run.receive(r#"{"id":3,"result":{}}"#);
    run.receive(STARTED);
    run.interrupt().unwrap();
    run.receive(r#"{"id":4,"result":{}}"#);
    assert_eq!(run.codex.deadline(), Some(run.now + INTERRUPT_TIMEOUT));
    assert_eq!(
        run.pass(INTERRUPT_TIMEOUT),
        ["broken: its turn has not ended within 10s after the interrupt"]
    );
}

#[test]
fn retries_of_the_model_are_limited() {
    let mut run = Run::opened(setup());
    run.send("hi");
    run.receive(r#"{"id":3,"result":{}}"#);
    run.receive(STARTED);
    assert_eq!(run.receive(RETRY), "forward");
    assert!(run.pass(Duration::from_secs(119)).is_empty());
    assert_eq!(run.receive(RETRY), "forward");
    let given_up = run.pass(Duration::from_secs(1));
    assert!(given_up[0].starts_with("inform The model's API has not been reached for 120s"));
    assert!(given_up[1].contains("turn/interrupt"), "{given_up:?}");

    let mut run = Run::opened(setup());
    run.send("hi");
    run.receive(r#"{"id":3,"result":{}}"#);
    run.receive(STARTED);
    run.receive(RETRY);
    run.receive(r#"{"method":"item/agentMessage/delta","params":{"threadId":"t"}}"#);
    assert_eq!(run.codex.deadline(), None, "it has answered");
}

#[test]
fn notifications_of_other_threads_change_nothing() {
    let mut run = Run::opened(setup());
    run.send("hi");
    run.receive(r#"{"id":3,"result":{}}"#);
    run.receive(STARTED);
    let other = |method: &str| format!(r#"{{"method":"{method}","params":{{"threadId":"o"}}}}"#);
    assert_eq!(run.receive(&other("turn/completed")), "forward");
    assert_eq!(run.receive(&other("thread/status/changed")), "hidden");
    assert_eq!(run.codex.accepts(), Accepts::NoMessage);
}

#[test]
fn a_file_change_is_stored_until_it_ends() {
    let mut run = Run::opened(setup());
    let item = |method: &str| {
        format!(
            r#"{{"method":"item/{method}","params":{{"item":{{"type":"fileChange","id":"i","changes":[1]}}}}}}"#
        )
    };
    run.receive(&item("started"));
    assert_eq!(run.codex.changes.get("i").map(RawValue::get), Some("[1]"));
    run.receive(&item("completed"));
    assert!(run.codex.changes.get("i").is_none());
    let large = "x".repeat(MAX_CHANGES_BYTES / 2);
    for id in ["a", "b", "c"] {
        let changes = RawValue::from_string(json!([large]).to_string()).unwrap();
        run.codex.changes.insert(id.into(), Cow::Owned(changes));
    }
    assert!(run.codex.changes.get("a").is_none() && run.codex.changes.get("c").is_some());
}

#[test]
fn lines_are_routed() {
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
        ("[]", "not json"),
        ("x", "not json"),
    ] {
        assert_eq!(run.receive(line), expected, "{line}");
    }
}

#[test]
fn control_requests_take_effect_with_the_next_turn() {
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
        run.send("hi"),
        r#"{"id":3,"method":"turn/start","params":{"threadId":"t","model":"m","approvalPolicy":"never","sandboxPolicy":{"type":"readOnly"},"input":[{"type":"text","text":"hi"}]}}"#
    );
}

#[test]
fn a_message_too_long_for_a_websocket_is_refused() {
    let mut run = Run::opened(Setup { is_remote: true, ..setup() });
    let content = "x".repeat(REMOTE_LINE_BYTES);
    let data = json!({"type": "user", "message": {"role": "user", "content": content}});
    let error = run.codex.message(data.to_string().into(), run.now).unwrap_err();
    assert!(error.0.contains("over a WebSocket"), "{error}");
    assert_eq!((run.codex.accepts(), run.codex.deadline()), (Accepts::Anything, None));
}

proptest! {
    #[test]
    fn no_line_causes_a_panic(
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
            run.receive(&line);
            if run.codex.accepts() == Accepts::Anything {
                run.send("hi");
            }
            run.interrupt();
        }
    }
}
