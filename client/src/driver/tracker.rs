//! The turns of the agent, as a reader of the messages follows them. The driver
//! has one tracker for all messages, each [`Turn`](crate::Turn) one from the
//! writing of its message on. Pure: the caller tells of silence.

use std::borrow::Cow;

use claude_relay_protocol::turns::{Finish, Origin, Turn, TurnEvent, Turns};

use crate::types::agent_state::{AgentState, AgentStatus, TurnOrigin};
use crate::types::message::{Exit, ServerMessage};

/// The state of the agent as far as this client knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TurnTracker {
    turns: Turns,
    /// Messages that were written while frames from before the connection were
    /// still to come. `None` is one without an id.
    written: Vec<Option<String>>,
    /// Frames below this number are from before the connection.
    first_new: u64,
    /// The number of the last frame that was seen.
    last: u64,
    /// The server's word for the agent's state on this connection, from a server
    /// that tells it.
    status: Option<AgentStatus>,
    /// It was said behind the last message that was written.
    status_knows_all: bool,
    /// The messages that wait have been taken over from the server.
    has_queue: bool,
    /// The server tells of messages that wait and have no id.
    tells_unnamed: bool,
    /// The server's count of background tasks.
    background_tasks: u64,
}

impl TurnTracker {
    /// A connection was accepted, on which frames after `last` come, and those
    /// from `first_new` on are new.
    pub(crate) fn connected(&mut self, last: u64, first_new: u64) {
        self.last = last;
        self.first_new = first_new;
        self.status = None;
        self.has_queue = false;
        self.background_tasks = 0;
    }

    /// A message to the agent was written.
    pub(crate) fn on_message_written(&mut self, uuid: Option<String>) {
        self.status_knows_all = false;
        if self.is_replaying() {
            self.written.push(uuid);
        } else {
            self.turns.on_message_sent(uuid.as_deref());
        }
    }

    /// All frames up to this number have been read.
    pub(crate) fn seen(&mut self, seq: u64) {
        self.last = self.last.max(seq);
    }

    /// The turn that runs.
    pub(crate) fn current(&self) -> Option<&Turn> {
        self.turns.current()
    }

    /// Returns true when no turn runs or is about to, and no background task
    /// runs.
    pub(crate) fn is_idle(&self) -> bool {
        let status = self.status.unwrap_or(AgentStatus::Idle);
        self.written.is_empty()
            && self.turns.is_idle()
            && self.turns.background_tasks() == 0
            && self.background_tasks == 0
            && matches!(status, AgentStatus::Idle | AgentStatus::Stopped)
    }

    /// Returns true while a line can be one of another turn than that of the message
    /// `uuid`: the agent has not named the message, and can name it at the end of its
    /// turn alone.
    pub(crate) fn is_doubtful(&self, uuid: &str) -> bool {
        match self.turns.current() {
            Some(turn) => turn.is_doubtful(uuid),
            None => !self.turns.knows_names(),
        }
    }

    /// Returns true while [`TurnTracker::on_quiet`] could change something.
    ///
    /// Silence means nothing while the server says that more is to come: an agent
    /// that is started anew for the messages that wait is silent for seconds.
    pub(crate) fn wants_quiet(&self) -> bool {
        let is_more_to_come =
            self.status_knows_all && self.status.is_some_and(|status| status != AgentStatus::Idle);
        !is_more_to_come && self.turns.wants_quiet()
    }

    /// The agent has been silent for a while.
    pub(crate) fn on_quiet(&mut self) -> Vec<TurnEvent> {
        if self.wants_quiet() { self.turns.on_quiet() } else { Vec::new() }
    }

    /// A message has come.
    pub(crate) fn on_message(&mut self, message: &ServerMessage) -> Vec<TurnEvent> {
        if let Some(seq) = seq_of(message) {
            if seq >= self.first_new {
                self.count_written();
            }
            self.seen(seq);
        } else if self.first_new == 0 {
            self.count_written();
        }
        match message {
            ServerMessage::Sdk(message) => {
                message.with_signal(|signal| self.turns.on_signal(signal)).unwrap_or_default()
            }
            ServerMessage::AgentState(state) => self.reconcile(state),
            ServerMessage::Undelivered { uuids, unnamed, .. } => {
                self.turns.on_unnamed_undelivered(saturating(*unnamed));
                for uuid in uuids {
                    self.turns.on_undelivered(uuid);
                    self.written.retain(|written| written.as_ref() != Some(uuid));
                }
                Vec::new()
            }
            ServerMessage::Exit(exit) => self.on_exit(exit),
            ServerMessage::Restarted { .. } => std::mem::take(&mut self.turns).on_agent_ended(),
            // A server that numbers its frames answers a message by this.
            ServerMessage::Error { seq: None, .. } if self.first_new > 0 => {
                self.turns.on_message_refused();
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn is_replaying(&self) -> bool {
        self.last.saturating_add(1) < self.first_new
    }

    /// The frames from before are through.
    fn count_written(&mut self) {
        for uuid in self.written.drain(..) {
            self.turns.on_message_sent(uuid.as_deref());
        }
    }

    /// The agent has ended. Messages that it had not read wait for its next
    /// run.
    fn on_exit(&mut self, exit: &Exit) -> Vec<TurnEvent> {
        self.background_tasks = 0;
        let unnamed = if self.tells_unnamed { self.turns.unnamed() } else { 0 };
        let mut events = self.turns.on_agent_ended();
        // Of those that do not wait the server tells next.
        self.turns.on_sent_before(unnamed, std::iter::empty());
        for uuid in &exit.waiting {
            events.retain(|event| !matches!(event, TurnEvent::Finished { uuid: lost, how: Finish::Lost } if lost == uuid));
            self.turns.on_message_sent(Some(uuid));
        }
        events
    }

    /// Takes over what the server knows and this client has not seen: the
    /// beginning of a turn before the connection, the end of one in a gap.
    fn reconcile(&mut self, state: &AgentState) -> Vec<TurnEvent> {
        self.status = Some(state.state);
        self.status_knows_all = true;
        self.background_tasks = state.background_tasks;
        self.tells_unnamed |= state.unnamed > 0;
        if self.is_replaying() {
            return Vec::new();
        }
        let is_first = !std::mem::replace(&mut self.has_queue, true);
        match (&state.turn, self.turns.current()) {
            (Some(running), None) => {
                let origin = match running.origin {
                    TurnOrigin::Client => Origin::Client,
                    TurnOrigin::Agent => Origin::Agent,
                };
                let uuids = running.message_ids().into_iter().map(Into::into).collect();
                self.take_up(Some((origin, uuids)), state);
                vec![TurnEvent::Began(origin)]
            }
            (None, Some(turn)) => {
                let ended = TurnEvent::Ended { turn: turn.clone(), result: false };
                self.take_up(None, state);
                vec![ended]
            }
            (None, None) if state.background_tasks == 0 && self.turns.background_tasks() > 0 => {
                self.take_up(None, state);
                Vec::new()
            }
            // Messages of former clients, whose turns are to come.
            (None, None) if is_first => {
                let queued = state.queued.iter().map(String::as_str);
                self.turns.on_sent_before(saturating(state.unnamed), queued);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Goes on with what the server says is running, and with the messages that
    /// no turn has taken.
    fn take_up(&mut self, running: Option<(Origin, Vec<Cow<'_, str>>)>, state: &AgentState) {
        let queued = state.queued.iter().map(String::as_str).chain(self.turns.queued());
        self.turns = Turns::taken_up(running, saturating(state.unnamed), queued);
    }
}

/// The most messages without an id that are followed: as many as a server takes.
const MAX_UNNAMED: usize = 100_000;

fn saturating(unnamed: u64) -> usize {
    usize::try_from(unnamed).unwrap_or(usize::MAX).min(MAX_UNNAMED)
}

/// The number of a message in the server's stream.
pub(crate) fn seq_of(message: &ServerMessage) -> Option<u64> {
    match message {
        ServerMessage::Sdk(message) => message.seq(),
        ServerMessage::Exit(exit) => exit.seq,
        ServerMessage::Error { seq, .. } => *seq,
        ServerMessage::Gap(gap) => gap.to,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::frame::Frame;

    fn read(frame: &str) -> ServerMessage {
        match Frame::read(frame.to_owned().into()).unwrap() {
            Frame::Message(_, message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn line(seq: u64, line: &str) -> ServerMessage {
        read(&format!(r#"{{"type":"sdk_message","seq":{seq},"data":{line}}}"#))
    }

    fn state(state: &str, turn: &str, tasks: u64) -> ServerMessage {
        read(&format!(
            r#"{{"type":"agent_state","state":"{state}","turn":{turn},"background_tasks":{tasks}}}"#
        ))
    }

    fn ours(events: &[TurnEvent], uuid: &str) -> bool {
        events.iter().any(
            |event| matches!(event, TurnEvent::Ended { turn, result: true } if turn.answers(uuid)),
        )
    }

    const INIT: &str = r#"{"type":"system","subtype":"init"}"#;
    const RESULT: &str = r#"{"type":"result"}"#;

    #[test]
    fn the_rest_of_a_turn_from_before_is_of_that_turn() {
        let mut tracker = TurnTracker::default();
        tracker.connected(9, 10);
        tracker.on_message(&state("running", r#"{"origin":"client","uuid":"a"}"#, 0));
        tracker.on_message_written(Some("b".into()));
        assert!(!ours(&tracker.on_message(&line(10, RESULT)), "b"));
        tracker.on_message(&line(11, INIT));
        assert!(ours(&tracker.on_message(&line(12, RESULT)), "b"));
        assert!(!tracker.is_idle(), "the server has not said so");
        tracker.on_message(&state("idle", "null", 0));
        assert!(tracker.is_idle());
    }

    #[test]
    fn messages_of_others_that_wait_come_first() {
        let waiting = read(
            r#"{"type":"agent_state","state":"running","turn":null,"background_tasks":0,"queued":["a"]}"#,
        );
        for is_written_before in [false, true] {
            let mut tracker = TurnTracker::default();
            tracker.connected(0, 1);
            if is_written_before {
                tracker.on_message_written(Some("b".into()));
            }
            tracker.on_message(&waiting);
            if !is_written_before {
                tracker.on_message_written(Some("b".into()));
            }
            tracker.on_message(&line(1, INIT));
            assert!(tracker.current().unwrap().answers("a"), "{is_written_before}");
            assert!(!ours(&tracker.on_message(&line(2, RESULT)), "b"));
            tracker.on_message(&line(3, INIT));
            assert!(ours(&tracker.on_message(&line(4, RESULT)), "b"));
        }
    }

    #[test]
    fn a_replay_is_not_counted_for_a_message_that_was_written_during_it() {
        let mut tracker = TurnTracker::default();
        tracker.connected(0, 3);
        tracker.on_message_written(Some("b".into()));
        assert!(!ours(&tracker.on_message(&line(1, INIT)), "b"));
        assert!(!ours(&tracker.on_message(&line(2, RESULT)), "b"));
        tracker.on_message(&line(3, INIT));
        assert!(ours(&tracker.on_message(&line(4, RESULT)), "b"));
    }

    #[test]
    fn a_message_that_waits_for_the_next_run_is_not_lost() {
        let mut tracker = TurnTracker::default();
        tracker.on_message_written(Some("a".into()));
        let exit = r#"{"type":"exit","code":1,"signal":null,"stderr":"","waiting":["a"]}"#;
        assert_eq!(tracker.on_message(&read(exit)), []);
        assert!(!tracker.is_idle());
        tracker.on_message(&read(r#"{"type":"undelivered","uuids":["a"],"reason":"gone"}"#));
        assert!(tracker.is_idle());
    }

    #[test]
    fn silence_means_nothing_while_the_server_says_that_more_is_to_come() {
        for between in ["stopping", "starting", "backing_off", "running"] {
            let mut tracker = TurnTracker::default();
            tracker.connected(9, 10);
            tracker.on_message(&state("running", r#"{"origin":"client","uuid":"a"}"#, 0));
            tracker.on_message_written(Some("b".into()));
            assert!(!ours(&tracker.on_message(&line(10, RESULT)), "b"));
            let waiting = format!(
                r#"{{"type":"agent_state","state":"{between}","turn":null,"background_tasks":0,"queued":["b"]}}"#
            );
            tracker.on_message(&read(&waiting));
            assert!(!tracker.wants_quiet(), "{between}");
            assert_eq!(tracker.on_quiet(), [], "{between}");
            tracker.on_message(&line(11, INIT));
            assert!(ours(&tracker.on_message(&line(12, RESULT)), "b"), "{between}");
        }
    }

    #[test]
    fn a_message_that_the_server_says_nothing_of_behind_a_turn_was_answered_with_it() {
        let mut tracker = TurnTracker::default();
        tracker.on_message_written(Some("a".into()));
        tracker.on_message(&line(1, INIT));
        tracker.on_message_written(Some("b".into()));
        tracker.on_message(&line(2, RESULT));
        tracker.on_message(&state("idle", "null", 0));
        let answered = TurnEvent::Finished { uuid: "b".into(), how: Finish::Answered };
        assert!(tracker.wants_quiet());
        assert_eq!(tracker.on_quiet(), [answered]);
    }

    #[test]
    fn background_tasks_keep_it_busy() {
        let mut tracker = TurnTracker::default();
        let tasks = |list: &str| {
            format!(r#"{{"type":"system","subtype":"background_tasks_changed","tasks":[{list}]}}"#)
        };
        tracker.on_message(&line(1, &tasks(r#"{"task_id":"t"}"#)));
        assert!(!tracker.is_idle());
        tracker.on_message(&line(2, &tasks("")));
        assert!(tracker.is_idle());
        tracker.on_message(&state("idle", "null", 1));
        assert!(!tracker.is_idle());
    }
}
