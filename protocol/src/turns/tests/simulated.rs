//! Reference model: a simple agent that knows its own state and reports it as
//! the real ones do.

use std::collections::VecDeque;

use super::super::*;

/// Amount of information that the agent reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// A new agent as seen by its host.
    Host,
    /// A new agent as seen by a client: without its busy state.
    Client,
    /// An old agent, which names no message.
    Old,
}

/// A sent message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent(pub(super) Option<String>);

/// The true state of a turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Truth {
    pub(super) own: bool,
    pub(super) messages: Vec<Sent>,
}

impl Truth {
    pub(super) fn named(&self) -> Vec<String> {
        self.messages.iter().filter_map(|sent| sent.0.clone()).collect()
    }
}

/// The simulated agent.
#[derive(Debug)]
pub(super) struct Simulated {
    pub(super) profile: Profile,
    /// Messages that were written to the agent and not read.
    pub(super) pipe: VecDeque<Sent>,
    /// Read and waiting.
    pub(super) queue: Vec<Sent>,
    pub(super) running: Option<Truth>,
    pub(super) tasks: Vec<String>,
    /// Ended tasks that it has not reported.
    pub(super) reports: usize,
    count: usize,
    /// Lines since the last look.
    pub(super) said: Vec<Signal<'static>>,
    /// Turns that have ended since the last look.
    pub(super) ended: Vec<Truth>,
    pub(super) cancelled: Vec<String>,
}

impl Simulated {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            profile,
            pipe: VecDeque::new(),
            queue: Vec::new(),
            running: None,
            tasks: Vec::new(),
            reports: 0,
            count: 0,
            said: Vec::new(),
            ended: Vec::new(),
            cancelled: Vec::new(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_none() && self.queue.is_empty() && self.pipe.is_empty() && self.reports == 0
    }

    /// Reads one message. An idle agent begins a turn with it alone.
    pub(super) fn read(&mut self) {
        let Some(sent) = self.pipe.pop_front() else { return };
        if self.running.is_none() {
            self.say_state(SessionState::Running);
            if self.reports > 0 {
                self.begin_own();
            }
        }
        self.say_message(&sent, MessageState::Queued);
        self.queue.push(sent);
        if self.running.is_none() {
            self.begin_queued();
        }
    }

    /// Ends a turn and begins the next. `report_first` decides whether a report
    /// comes before the messages.
    pub(super) fn end_turn(&mut self, cut: bool, report_first: bool) {
        let Some(truth) = self.running.take() else { return };
        let named = if self.profile == Profile::Old { Vec::new() } else { truth.named() };
        let uuids = named.into_iter().map(Cow::Owned).collect();
        self.said.push(Signal::Result { uuids, own: truth.own });
        let state = if cut { MessageState::Cancelled } else { MessageState::Completed };
        for sent in &truth.messages {
            self.say_message(sent, state);
        }
        self.ended.push(truth);
        if self.reports > 0 && (report_first || self.queue.is_empty()) {
            self.begin_own();
        } else if !self.queue.is_empty() {
            self.begin_queued();
        } else {
            self.say_state(SessionState::Idle);
        }
    }

    /// Adds the waiting messages to the running turn.
    pub(super) fn fold(&mut self) {
        let Some(mut truth) = self.running.take() else { return };
        for sent in std::mem::take(&mut self.queue) {
            self.say_message(&sent, MessageState::Started);
            self.say_message(&sent, MessageState::Completed);
            truth.messages.push(sent);
        }
        self.running = Some(truth);
    }

    /// Drops the waiting messages, as an interrupt with `cancel_queued` does.
    pub(super) fn cancel_queued(&mut self) {
        if self.profile == Profile::Old {
            return;
        }
        for sent in std::mem::take(&mut self.queue) {
            self.say_message(&sent, MessageState::Cancelled);
            self.cancelled.extend(sent.0);
        }
    }

    pub(super) fn start_task(&mut self) {
        if self.running.is_none() {
            return;
        }
        self.count += 1;
        let id = format!("task-{}", self.count);
        self.tasks.push(id.clone());
        self.say_tasks();
        self.said.push(Signal::TaskStarted(id.into()));
    }

    pub(super) fn end_task(&mut self, reports: bool) {
        let Some(id) = self.tasks.pop() else { return };
        self.said.push(Signal::TaskEnded { id: id.into(), reports });
        self.say_tasks();
        self.reports += usize::from(reports);
    }

    /// Begins to report a task that has ended.
    pub(super) fn report(&mut self) {
        if self.running.is_none() && self.reports > 0 {
            self.say_state(SessionState::Running);
            self.begin_own();
        }
    }

    fn begin_own(&mut self) {
        self.reports -= 1;
        self.running = Some(Truth { own: true, messages: Vec::new() });
        self.said.push(Signal::Init(Init::default()));
    }

    fn begin_queued(&mut self) {
        let messages = std::mem::take(&mut self.queue);
        for sent in &messages {
            self.say_message(sent, MessageState::Started);
        }
        let truth = Truth { own: false, messages };
        let named = if self.profile == Profile::Old { Vec::new() } else { truth.named() };
        let uuids = named.into_iter().map(Cow::Owned).collect();
        self.said.push(Signal::Init(Init { uuids, ..Init::default() }));
        self.running = Some(truth);
    }

    fn say_message(&mut self, sent: &Sent, state: MessageState) {
        if let Some(uuid) = sent.0.clone().filter(|_| self.profile != Profile::Old) {
            self.said.push(Signal::Message { uuid: uuid.into(), state });
        }
    }

    fn say_state(&mut self, state: SessionState) {
        if self.profile == Profile::Host {
            self.said.push(Signal::State(state));
        }
    }

    fn say_tasks(&mut self) {
        if self.profile != Profile::Old {
            let tasks = self.tasks.iter().cloned().map(Cow::Owned).collect();
            self.said.push(Signal::Tasks(tasks));
        }
    }
}
