//! Tests of the session as pure code: events and times go in, and its state is
//! checked. No socket, no process.

use std::future::pending;
use std::sync::Weak;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser as _;
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::running::Running;
use super::*;
use crate::agent::Messages;
use crate::agent::{Dialect, Started};
use crate::process::lines::LineBuffer;
use crate::process::{ExitReason, Process, ProcessChannels, ProcessCommand, ProcessExit};
use crate::session::channels::{Attach, ClientChannels, Replay, Request};
use crate::session::replay::Features;
use crate::settings::{Args, Settings};
use claude_relay_listen::ws::Outlet;
use claude_relay_listen::ws::{Close, MessageBytes, PriorityMessage};

/// The other ends of a connection's channels.
struct TestClient {
    id: ConnectionId,
    control: mpsc::Receiver<PriorityMessage>,
    data: mpsc::Receiver<Vec<Bytes>>,
    _ready: mpsc::Sender<Vec<Bytes>>,
    _events: mpsc::Sender<ClientEvent>,
    /// Number of the last frame that it has read.
    last: u64,
}

/// A session with simulated agents and clients.
struct Bench {
    session: Session,
    now: Instant,
    agent: Option<ProcessChannels>,
    client: Option<TestClient>,
    connections: u64,
    lines: u64,
    /// Messages that the session has accepted, those that an agent has read for
    /// good, and those that the running agent has received.
    taken: Vec<Bytes>,
    read: Vec<Bytes>,
    got: Vec<Bytes>,
}

impl Bench {
    fn new(replay_bytes: usize) -> Self {
        // Without a workspace no process is started; agents are simulated.
        let args = [
            "relay".to_owned(),
            format!("--replay-bytes={replay_bytes}"),
            "--workspace=/proc/no-such-place".to_owned(),
            "--claude-path=/proc/no-such-program".to_owned(),
        ];
        let environment = [("HOME".into(), "/proc".into())].into();
        let settings = Settings::read(Args::parse_from(args), environment, false).unwrap();
        let (session, _) = Session::new(Arc::new(Runtime::without_isolation(settings)));
        let (client, agent, now) = (None, None, Instant::now());
        let (taken, read, got) = (Vec::new(), Vec::new(), Vec::new());
        Self { session, now, agent, client, connections: 0, lines: 0, taken, read, got }
    }

    fn on(&mut self, event: Event) {
        self.session.on_event(event, self.now);
    }

    /// Connects a new client that resumes after `after` and takes over.
    fn connect(&mut self, after: u64) {
        self.connections += 1;
        let id = ConnectionId(self.connections);
        let (control_to, control) = mpsc::channel(claude_relay_listen::ws::PRIORITY_CAPACITY);
        let (data_to, data) = mpsc::channel(1);
        let (_ready, spent) = mpsc::channel(1);
        let (_events, events) = mpsc::channel(8);
        let (accepted, mut answer) = oneshot::channel();
        let data_to = Outlet::new(data_to, Weak::new());
        let channels = ClientChannels { priority: control_to, data: data_to, spent, events };
        let attach = Attach {
            replay: Some(Replay { after, stream: None }),
            takeover: true,
            ..Attach::default()
        };
        self.on(Event::Command(Command::Connect(ConnectRequest {
            id,
            attach,
            channels,
            accepted,
        })));
        assert_eq!(answer.try_recv(), Ok(true));
        self.client = Some(TestClient { id, control, data, _ready, _events, last: after });
    }

    fn start_agent(&mut self) {
        if self.agent.is_none() {
            let (ends_to, mut ends) = oneshot::channel();
            let process = Process::with_task(move |far| {
                let _ = ends_to.send(far);
                pending()
            });
            let mut simulated = ends.try_recv().unwrap();
            let started = Started {
                process,
                dialect: Dialect::Claude(Messages::AsTheyCame),
                first: Bytes::new(),
                late: crate::agent::LateRequests::default(),
                resumed: None,
                early: crate::agent::Early::default(),
                warmth: crate::agent::Warmth::Cold(None),
            };
            let mut running = Running::new(started, QueryConfig::default(), false, false, self.now);
            running.is_up = true;
            running.initialized = true;
            running.pid = Some(1);
            let _first = simulated.stdin.try_recv();
            self.session.agent.start_at = None;
            self.session.agent.running = Some(running);
            self.agent = Some(simulated);
        }
    }

    /// The agent sends `count` lines, if the session accepts any.
    fn output(&mut self, count: u64) {
        let has_room =
            self.session.client.as_ref().is_none_or(|client| client.has_room(&self.session.replay));
        if self.agent.is_none() || !has_room {
            return;
        }
        let mut buffer = LineBuffer::default();
        for _ in 0..count {
            self.lines += 1;
            let line = format!("{{\"type\":\"x\",\"line\":{}}}\n", self.lines);
            buffer.spare().extend_from_slice(line.as_bytes());
        }
        let block = buffer.take().unwrap();
        self.on(Event::Output(Output::Lines(block)));
    }

    /// The client's socket accepts a batch, and the client reads it. Checks
    /// that the numbers are consecutive, except for a reported gap.
    fn read(&mut self) -> bool {
        let Some(far) = &mut self.client else { return false };
        while let Ok(control) = far.control.try_recv() {
            if let PriorityMessage::Text(text) = control
                && text.contains("\"gap\"")
            {
                let gap: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(gap["from"], far.last + 1, "{gap}");
                far.last = gap["to"].as_u64().unwrap();
            }
        }
        let Ok(mut batch) = far.data.try_recv() else { return false };
        let bytes = batch.concat();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (head, length) = match rest[1] {
                126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
                short => (2, usize::from(short)),
            };
            let frame: serde_json::Value =
                serde_json::from_slice(&rest[head..head + length]).unwrap();
            assert_eq!(frame["seq"], far.last + 1, "{frame}");
            far.last += 1;
            rest = &rest[head + length..];
        }
        batch.clear();
        self.on(Event::Written(batch));
        true
    }

    fn message(&mut self) {
        if self.client.is_none() {
            return;
        }
        let line = Bytes::from(format!("message {}\n", self.taken.len()));
        self.taken.push(line.clone());
        let request = Ok(Request::UserMessage { line, uuid: None, other: None });
        self.on(Event::Client(Some(ClientEvent::Request(request, MessageBytes::default()))));
    }

    /// The agent's stdin accepts the next entry, if there is one.
    fn write_to_agent(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        let stdin = self.session.agent.running.as_ref().and_then(|run| run.process.stdin.clone());
        let Some(Ok(permit)) = stdin.map(mpsc::Sender::try_reserve_owned) else { return };
        self.session.on_event(Event::StdinFree(permit), self.now);
        while let Ok(input) = agent.stdin.try_recv() {
            if let Input::Message(line) = input {
                self.got.push(line);
            }
        }
    }

    /// The agent ends without having read the last `unread` messages it
    /// received.
    fn end(&mut self, unread: usize, reason: ExitReason) {
        if self.agent.take().is_none() {
            return;
        }
        let unread = self.got.split_off(self.got.len().saturating_sub(unread));
        self.read.append(&mut self.got);
        let ended = ProcessExit { reason, stderr: b"last output".to_vec(), unread };
        self.on(Event::Output(Output::Exited(ended)));
    }

    fn leave(&mut self) {
        if self.client.take().is_some() {
            self.on(Event::Client(None));
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Connect,
    Leave,
    Output(u64),
    Read,
    Message,
    Start,
    Feed,
    End(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Connect),
        1 => Just(Step::Leave),
        6 => (1..40_u64).prop_map(Step::Output),
        4 => Just(Step::Read),
        3 => Just(Step::Message),
        2 => Just(Step::Start),
        4 => Just(Step::Feed),
        1 => (0..4_usize).prop_map(Step::End),
        1 => (0..40_000_u64).prop_map(Step::Wait),
    ]
}

fn run(steps: &[Step], replay_bytes: usize) {
    let mut bench = Bench::new(replay_bytes);
    let mut last = 0;
    // No program can be started here, and messages are not kept for one. The
    // simulated agent takes the place of a start that waits for the version.
    bench.session.agent.waits_for_version = true;
    for step in steps {
        match *step {
            Step::Connect => bench.connect(last),
            Step::Leave => bench.leave(),
            Step::Output(count) => bench.output(count),
            Step::Read => _ = bench.read(),
            Step::Message => bench.message(),
            Step::Start => bench.start_agent(),
            Step::Feed => bench.write_to_agent(),
            Step::End(unread) => {
                // Messages are not kept for an agent that ends soon after its
                // start, time after time.
                bench.session.agent.early_ends = 0;
                bench.end(unread, ExitReason::Signalled(9));
            }
            Step::Wait(millis) => {
                bench.now += Duration::from_millis(millis);
                bench.on(Event::Time);
                // A client that was silent for too long may have been dropped.
                let holder = bench.session.client.as_ref().map(|client| client.id);
                if bench.client.as_ref().map(|far| far.id) != holder {
                    bench.client = None;
                }
            }
        }
        if let Some(far) = &bench.client {
            last = far.last;
        }
        // At most the limit and one block of lines.
        assert!(bench.session.replay.bytes() <= replay_bytes + 8_000);
    }
    // In the end the client has received every frame, and the agents every
    // message, once and in order.
    bench.connect(last);
    while bench.read() {}
    let far = bench.client.as_ref().unwrap();
    let replay = &bench.session.replay;
    // It has not asked for inputs, so for it there are none.
    assert_eq!(far.last + 1, replay.number(replay.next(), Features::default()));
    bench.start_agent();
    while !bench.session.inbox.is_empty() {
        bench.write_to_agent();
    }
    bench.read.append(&mut bench.got);
    assert_eq!(bench.read, bench.taken);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_lost_repeated_or_reordered(
        steps in prop::collection::vec(step(), 1..120),
        replay_bytes in 2_000..20_000_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { run(&steps, replay_bytes) });
    }
}

/// Returns the frames sent to the client, as text.
fn frames(bench: &mut Bench) -> String {
    let mut text = String::new();
    while let Some(Ok(mut batch)) = bench.client.as_mut().map(|far| far.data.try_recv()) {
        text.push_str(&String::from_utf8_lossy(&batch.concat()));
        batch.clear();
        bench.on(Event::Written(batch));
    }
    text
}

#[tokio::test]
async fn stderr_is_reported_before_the_exit() {
    let mut bench = Bench::new(1 << 20);
    bench.connect(0);
    bench.start_agent();
    let agent = bench.agent.as_ref().unwrap();
    agent.events.try_send(ProcessEvent::Stderr("why it ended".into())).unwrap();
    bench.end(0, ExitReason::Exited(3));
    let sent = frames(&mut bench);
    let (reason, exit) = (sent.find("why it ended").unwrap(), sent.find("\"exit\"").unwrap());
    assert!(reason < exit, "{sent}");
}

#[tokio::test]
async fn failures_in_a_row_are_reported_and_delay_the_restart() {
    let mut bench = Bench::new(1 << 20);
    bench.connect(0);
    let fail = |bench: &mut Bench| {
        bench.start_agent();
        bench.end(0, ExitReason::Exited(1));
        frames(bench)
    };
    for text in ["next message starts it", "before 1 s"] {
        let sent = fail(&mut bench);
        assert!(sent.contains(text), "{text}: {sent}");
    }
    // The next message waits for the rest of the second.
    bench.now += Duration::from_millis(500);
    bench.message();
    assert_eq!(bench.session.agent.state(), "backing_off");
    assert_eq!(bench.session.agent.deadline(), Some(bench.now + Duration::from_millis(500)));

    // After the third failure in a row messages are refused at once.
    let sent = fail(&mut bench);
    assert!(sent.contains("3 times in a row") && sent.contains("before 2 s"), "{sent}");
    bench.message();
    assert_eq!(bench.session.agent.state(), "stopped");
    assert!(bench.session.inbox.is_empty());
}

#[tokio::test]
async fn a_client_that_does_not_read_its_errors_is_disconnected() {
    let mut bench = Bench::new(1 << 20);
    bench.connect(0);
    for _ in 0..=1024 {
        assert!(bench.session.client.is_some());
        let nonsense = ClientEvent::Request(Err("nonsense".into()), MessageBytes::default());
        bench.on(Event::Client(Some(nonsense)));
    }
    assert!(bench.session.client.is_none());
    let mut last = None;
    while let Ok(control) = bench.client.as_mut().unwrap().control.try_recv() {
        last = Some(control);
    }
    assert!(matches!(last, Some(PriorityMessage::Close(Close::NOT_READING))), "{last:?}");
}

#[tokio::test]
async fn a_shutdown_drains_the_client_and_waits_for_the_agent() {
    let mut bench = Bench::new(1 << 20);
    bench.connect(0);
    bench.start_agent();
    bench.on(Event::Command(Command::Shutdown));
    assert!(frames(&mut bench).contains("Server is shutting down"));
    assert!(!bench.session.is_over());
    let order = bench.agent.as_mut().unwrap().commands.try_recv();
    assert!(matches!(order, Ok(ProcessCommand::Stop(_))), "{order:?}");
    // The client is kept for a second, for the last output of the agent.
    assert!(bench.session.client.is_some());
    bench.now += Duration::from_secs(1);
    bench.on(Event::Time);
    assert!(bench.session.client.is_none() && !bench.session.is_over());
    bench.end(0, ExitReason::Exited(0));
    assert!(bench.session.is_over());
}
