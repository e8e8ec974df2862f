//! The model against the simulated agent over generated interleavings.
//! `PROPTEST_CASES` sets their number.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::*;
use super::simulated::{Profile, Sent, Simulated};

#[derive(Debug, Clone)]
enum Step {
    Send {
        named: bool,
    },
    Read,
    EndTurn {
        report_first: bool,
    },
    Fold,
    Interrupt {
        cancel_queued: bool,
    },
    StartTask,
    EndTask {
        reports: bool,
    },
    Report,
    Quiet,
    /// The agent ends.
    Crash,
    /// A client comes back that knows the server's state and none of the lines.
    Reconnect,
    /// The server ends with the agent, and another one takes its place.
    StreamChange,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(|named| Step::Send { named }),
        6 => Just(Step::Read),
        6 => any::<bool>().prop_map(|report_first| Step::EndTurn { report_first }),
        2 => Just(Step::Fold),
        2 => any::<bool>().prop_map(|cancel_queued| Step::Interrupt { cancel_queued }),
        2 => Just(Step::StartTask),
        2 => any::<bool>().prop_map(|reports| Step::EndTask { reports }),
        2 => Just(Step::Report),
        2 => Just(Step::Quiet),
        1 => Just(Step::Crash),
        2 => Just(Step::Reconnect),
        1 => Just(Step::StreamChange),
    ]
}

fn profile() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::Host), Just(Profile::Client), Just(Profile::Old)]
}

/// Model and agent side by side.
struct Run {
    agent: Simulated,
    model: Turns,
    only_named: bool,
    count: usize,
    /// There are tasks or reports that the model cannot know of. A client has
    /// the server's state for them.
    unseen: bool,
    /// Every message with a `uuid`, and whether it has ended.
    truth: BTreeMap<String, bool>,
    told: BTreeSet<String>,
}

impl Run {
    fn new(profile: Profile, only_named: bool) -> Self {
        Self {
            agent: Simulated::new(profile),
            model: Turns::default(),
            only_named,
            count: 0,
            unseen: false,
            truth: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Send { named } => self.send(*named || self.only_named),
            Step::Read => self.agent.read(),
            Step::EndTurn { report_first } => self.agent.end_turn(false, *report_first),
            Step::Fold => self.agent.fold(),
            Step::Interrupt { cancel_queued } => {
                if *cancel_queued {
                    self.agent.cancel_queued();
                }
                self.agent.end_turn(true, false);
            }
            Step::StartTask => self.agent.start_task(),
            Step::EndTask { reports } => self.agent.end_task(*reports),
            Step::Report => self.agent.report(),
            // There is no silence while the agent is busy.
            Step::Quiet if self.agent.is_idle() => {
                let events = self.model.on_quiet();
                self.note(&events, &mut Vec::new());
            }
            Step::Quiet => {}
            Step::Crash => self.crash(),
            Step::Reconnect => self.reconnect(),
            Step::StreamChange => {
                self.crash();
                self.model = Turns::default();
            }
        }
        self.compare();
    }

    fn send(&mut self, named: bool) {
        self.count += 1;
        let uuid = named.then(|| format!("message-{}", self.count));
        self.model.on_message_sent(uuid.as_deref());
        self.truth.extend(uuid.clone().map(|uuid| (uuid, false)));
        self.agent.pipe.push_back(Sent(uuid));
        let by_order = match self.agent.profile {
            Profile::Old => true,
            Profile::Client => !self.only_named,
            Profile::Host => !named,
        };
        if by_order {
            // The model can only use the order, so the order must be the true
            // one.
            while !self.agent.pipe.is_empty() {
                self.agent.read();
                self.compare();
            }
        }
    }

    fn crash(&mut self) {
        self.agent = Simulated::new(self.agent.profile);
        self.truth.values_mut().for_each(|over| *over = true);
        let events = self.model.on_agent_ended();
        for event in &events {
            assert!(
                !matches!(event, TurnEvent::Ended { result: true, .. } | TurnEvent::Began(_)),
                "{event:?}"
            );
        }
        self.note(&events, &mut Vec::new());
        assert!(self.truth.keys().all(|uuid| self.told.contains(uuid)), "lost without a word");
    }

    fn reconnect(&mut self) {
        let agent = &self.agent;
        let waiting: Vec<_> = agent.queue.iter().chain(&agent.pipe).collect();
        // The server itself reads on.
        if agent.profile == Profile::Host {
            return;
        }
        let running = agent.running.as_ref().map(|truth| {
            let origin = if truth.own { Origin::Agent } else { Origin::Client };
            (origin, truth.named().into_iter().map(Cow::Owned).collect())
        });
        // The end of these is the server's to tell.
        let over = self.truth.iter().filter(|(_, over)| **over);
        self.told.extend(over.map(|(uuid, _)| uuid.clone()));
        self.unseen = !agent.tasks.is_empty() || agent.reports > 0;
        let unnamed = waiting.iter().filter(|sent| sent.0.is_none()).count();
        let named = waiting.iter().filter_map(|sent| sent.0.as_deref());
        self.model = Turns::taken_up(running, unnamed, named);
    }

    /// Feeds the agent's lines to the model, and compares the ends of turns.
    fn compare(&mut self) {
        let said = std::mem::take(&mut self.agent.said);
        let events: Vec<_> = said.iter().flat_map(|signal| self.model.on_signal(signal)).collect();
        let ended = std::mem::take(&mut self.agent.ended);
        let cancelled = std::mem::take(&mut self.agent.cancelled);
        for uuid in ended.iter().flat_map(|truth| truth.named()).chain(cancelled) {
            self.truth.insert(uuid, true);
        }
        let mut turns = Vec::new();
        self.note(&events, &mut turns);
        assert_eq!(turns.len(), ended.len(), "ends of turns");
        for (turn, truth) in turns.iter().zip(&ended) {
            let origin = if truth.own { Origin::Agent } else { Origin::Client };
            assert_eq!(turn.origin, origin, "{turn:?} {truth:?}");
            if self.agent.profile != Profile::Old {
                assert_eq!(turn.uuids, truth.named());
            }
        }
        if self.agent.profile != Profile::Old && self.model.knows_names() {
            self.compare_exactly();
        }
        let (tasks, reports) = (&self.agent.tasks, self.agent.reports);
        self.unseen &= !tasks.is_empty() || reports > 0 || self.agent.running.is_some();
        let idle = self.model.is_idle() && !self.unseen;
        assert!(!idle || self.agent.is_idle(), "busy, and called idle");
    }

    fn compare_exactly(&self) {
        let waiting = self.agent.queue.iter().chain(&self.agent.pipe);
        let mut waiting: Vec<_> = waiting.filter_map(|sent| sent.0.as_deref()).collect();
        let mut queued: Vec<_> = self.model.queued().collect();
        waiting.sort_unstable();
        queued.sort_unstable();
        assert_eq!(queued, waiting);
        let running = self.agent.running.as_ref().map(|truth| truth.named());
        assert_eq!(self.model.current().map(|turn| turn.uuids.clone()), running);
        if !self.unseen {
            assert_eq!(self.model.background_tasks(), self.agent.tasks.len());
        }
    }

    /// Checks that every message is reported as ended once, and not before it
    /// has.
    fn note(&mut self, events: &[TurnEvent], turns: &mut Vec<Turn>) {
        for event in events {
            let over = match event {
                TurnEvent::Began(_) => continue,
                TurnEvent::Finished { uuid, .. } => vec![uuid.clone()],
                TurnEvent::Ended { turn, .. } => {
                    turns.push(turn.clone());
                    turn.uuids.clone()
                }
            };
            for uuid in over {
                assert_eq!(self.truth.get(&uuid), Some(&true), "{uuid} has not ended");
                assert!(self.told.insert(uuid.clone()), "{uuid} ended twice");
            }
        }
    }

    /// Lets everything end, and checks that the model follows.
    fn finish(&mut self) {
        while !self.agent.is_idle() {
            for step in [Step::Read, Step::Report, Step::EndTurn { report_first: true }] {
                self.step(&step);
            }
        }
        self.step(&Step::Quiet);
        assert!(self.model.is_idle(), "{:?}", self.model);
        assert!(self.truth.keys().all(|uuid| self.told.contains(uuid)), "no end was told");
    }
}

proptest! {
    #[test]
    fn the_model_follows_the_agent(
        profile in profile(),
        only_named in any::<bool>(),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut run = Run::new(profile, only_named);
        for step in &steps {
            run.step(step);
        }
        run.finish();
    }
}
