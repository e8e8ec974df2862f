//! Recorded examples, and the model against a simulated agent.

mod property;
mod simulated;

use super::*;

fn init(uuids: &[&str]) -> Signal<'static> {
    let uuids = uuids.iter().map(|uuid| Cow::Owned((*uuid).to_owned())).collect();
    Signal::Init(Init { uuids, ..Init::default() })
}

fn result(uuids: &[&str]) -> Signal<'static> {
    let uuids = uuids.iter().map(|uuid| Cow::Owned((*uuid).to_owned())).collect();
    Signal::Result { uuids, own: false }
}

fn own_result() -> Signal<'static> {
    Signal::Result { uuids: Vec::new(), own: true }
}

fn message(uuid: &'static str, state: MessageState) -> Signal<'static> {
    Signal::Message { uuid: uuid.into(), state }
}

/// Messages of every ended turn, in the order of the ends.
fn ended(events: &[TurnEvent]) -> Vec<(Origin, Vec<String>)> {
    let ended = |event: &TurnEvent| match event {
        TurnEvent::Ended { turn, .. } => Some((turn.origin, turn.uuids.clone())),
        _ => None,
    };
    events.iter().filter_map(ended).collect()
}

fn feed(turns: &mut Turns, signals: &[Signal<'_>]) -> Vec<TurnEvent> {
    signals.iter().flat_map(|signal| turns.on_signal(signal)).collect()
}

#[test]
fn a_question_asked_during_the_agents_own_turn_is_not_answered_by_it() {
    let mut turns = Turns::default();
    assert_eq!(turns.on_signal(&init(&[])), [TurnEvent::Began(Origin::Agent)]);
    turns.on_message_sent(Some("q"));
    let events = feed(
        &mut turns,
        &[
            message("q", MessageState::Queued),
            own_result(),
            message("q", MessageState::Started),
            init(&["q"]),
            result(&["q"]),
        ],
    );
    assert_eq!(ended(&events), [(Origin::Agent, vec![]), (Origin::Client, vec!["q".to_owned()])]);
    assert!(turns.is_idle());
}

#[test]
fn an_agent_that_names_nothing_is_followed_by_order_and_corrected_by_its_result() {
    let mut turns = Turns::default();
    turns.on_message_sent(Some("a"));
    turns.on_signal(&init(&[]));
    assert!(turns.current().unwrap().answers("a"));
    // It was a report.
    let events = feed(&mut turns, &[own_result(), init(&[]), result(&[])]);
    assert_eq!(ended(&events), [(Origin::Agent, vec![]), (Origin::Client, vec!["a".to_owned()])]);
}

#[test]
fn a_guess_is_in_doubt_unless_claude_code_would_have_told_of_a_report() {
    let doubtful = |turns: &Turns| turns.current().unwrap().is_doubtful("a");
    let of_claude_code = || Signal::Init(Init { is_claude_code: true, ..Init::default() });
    let mut turns = Turns::default();
    turns.on_message_sent(Some("a"));
    turns.on_signal(&init(&[]));
    assert!(doubtful(&turns), "it may be a report of another agent");
    let mut turns = Turns::default();
    turns.on_message_sent(Some("a"));
    turns.on_signal(&of_claude_code());
    assert!(!doubtful(&turns));
    // The end of a task that this reader does not know.
    turns.on_signal(&own_result());
    turns.on_signal(&Signal::TaskEnded { id: "t".into(), reports: true });
    turns.on_signal(&of_claude_code());
    assert!(doubtful(&turns));
    // The agent names the message.
    turns.on_signal(&Signal::Message { uuid: "a".into(), state: MessageState::Started });
    assert!(turns.current().unwrap().answers("a") && !doubtful(&turns));
}

#[test]
fn messages_with_and_without_a_uuid_share_a_turn_only_if_silence_follows() {
    let waiting = || {
        let mut turns = Turns::default();
        turns.on_message_sent(None);
        turns.on_signal(&init(&[]));
        turns.on_message_sent(None);
        turns.on_message_sent(Some("a"));
        feed(&mut turns, &[result(&[]), init(&[]), result(&[])]);
        turns
    };
    // Each has a turn of its own.
    let events = feed(&mut waiting(), &[init(&[]), result(&[])]);
    assert_eq!(ended(&events), [(Origin::Client, vec!["a".to_owned()])]);
    let mut turns = waiting();
    assert!(!turns.is_idle() && turns.wants_quiet());
    let answered = TurnEvent::Finished { uuid: "a".to_owned(), how: Finish::Answered };
    assert_eq!(turns.on_quiet(), [answered]);
    assert!(turns.is_idle());
}

#[test]
fn messages_that_wait_behind_a_turn_share_the_next_one() {
    let mut turns = Turns::default();
    for uuid in ["a", "b", "c"] {
        turns.on_message_sent(Some(uuid));
    }
    let events = feed(&mut turns, &[init(&[]), result(&[]), init(&[]), result(&[])]);
    let named = |uuids: &[&str]| uuids.iter().map(|uuid| (*uuid).to_owned()).collect();
    assert_eq!(
        ended(&events),
        [(Origin::Client, named(&["a"])), (Origin::Client, named(&["b", "c"]))]
    );
}

#[test]
fn a_message_folded_without_a_report_is_answered_by_the_turn_before_the_silence() {
    let mut turns = Turns::default();
    turns.on_message_sent(Some("a"));
    turns.on_signal(&init(&[]));
    turns.on_message_sent(Some("folded"));
    turns.on_signal(&result(&[]));
    assert!(!turns.is_idle() && turns.wants_quiet());
    let finished = TurnEvent::Finished { uuid: "folded".into(), how: Finish::Answered };
    assert_eq!(turns.on_quiet(), [finished]);
    assert!(turns.is_idle());
}

#[test]
fn the_end_of_a_task_is_no_idleness_before_its_report() {
    let mut turns = Turns::default();
    feed(&mut turns, &[Signal::Tasks(vec!["t".into()]), Signal::State(SessionState::Idle)]);
    assert!(turns.is_idle() && turns.background_tasks() == 1);
    let over = Signal::TaskEnded { id: "t".into(), reports: true };
    feed(&mut turns, &[over, Signal::Tasks(Vec::new())]);
    assert!(!turns.is_idle() && turns.background_tasks() == 0);
    feed(&mut turns, &[init(&[]), own_result()]);
    assert!(turns.is_idle());
}

#[test]
fn a_background_agent_alone_leaves_the_main_one_idle() {
    let mut turns = Turns::default();
    feed(&mut turns, &[Signal::State(SessionState::Running), Signal::Tasks(vec!["t".into()])]);
    assert!(turns.is_idle());
    turns.on_signal(&Signal::Tasks(Vec::new()));
    assert!(!turns.is_idle());
    turns.on_signal(&Signal::State(SessionState::Idle));
    assert!(turns.is_idle());
}

#[test]
fn a_message_that_the_agent_knows_already_ends_at_once() {
    let mut turns = Turns::default();
    turns.on_message_sent(Some("again"));
    assert_eq!(
        turns.on_signal(&message("again", MessageState::Completed)),
        [TurnEvent::Finished { uuid: "again".into(), how: Finish::Known }]
    );
    assert!(turns.is_idle());
}

#[test]
fn the_end_of_the_agent_ends_everything() {
    let mut turns = Turns::default();
    turns.on_message_sent(Some("runs"));
    feed(&mut turns, &[init(&["runs"]), Signal::State(SessionState::RequiresAction)]);
    turns.on_message_sent(Some("waits"));
    assert!(turns.is_waiting());
    let events = turns.on_agent_ended();
    assert_eq!(ended(&events), [(Origin::Client, vec!["runs".to_owned()])]);
    assert_eq!(events[1], TurnEvent::Finished { uuid: "waits".into(), how: Finish::Lost });
    assert!(turns.is_idle() && !turns.is_waiting());
}
