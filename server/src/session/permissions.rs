//! Permission requests of the agent that wait for the client's answer.
//!
//! A table without sockets: the open requests, and the line to write when one is
//! answered, withdrawn or too late.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;
use std::borrow::Cow;

use crate::agent::protocol::{Permission, PermissionAnswer, PermissionOutcome, PermissionReply};

/// How many questions of the agent may wait for the client. The CLI asks one
/// for each tool it wants to run at the same time.
pub(super) const PERMISSION_LIMIT: usize = 256;

/// Questions of the agent that no client has answered.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    open: Vec<Open>,
    /// Those that a client has answered, in the order of the answers: the
    /// number under which each was sent last, and its id. One is forgotten with
    /// its frame, so there are never more than the replay buffer holds.
    answered: VecDeque<(u64, String)>,
}

#[derive(Debug)]
struct Open {
    id: String,
    reply: Box<dyn PermissionReply>,
    frame: String,
    /// The number under which it was sent last.
    seq: u64,
    expires: Instant,
}

impl Permissions {
    /// Takes a question and gives the frame for the client, which will get the
    /// number `seq`. Gives a line for the agent instead when too many are open.
    pub(super) fn ask(
        &mut self,
        asked: Permission<'_>,
        seq: u64,
        now: Instant,
        time_limit: Duration,
    ) -> Result<String, Bytes> {
        if self.open.len() >= PERMISSION_LIMIT {
            return Err(asked.reply.refuse("too many permission requests are open"));
        }
        let Permission { id, tool, input, context, reply } = asked;
        let id = id.into_owned();
        let frame = ServerMessage::PermissionRequest {
            seq: None,
            request_id: Cow::Borrowed(&id),
            tool,
            input,
            context: Cow::Owned(context),
        }
        .to_json();
        self.open.push(Open { id, reply, frame: frame.clone(), seq, expires: now + time_limit });
        Ok(frame)
    }

    /// The answer for the agent, or `None` when no such question is open.
    /// `kept` is the number of the oldest frame that a client can still get.
    pub(super) fn answer(
        &mut self,
        id: &str,
        answer: PermissionAnswer,
        kept: u64,
    ) -> Option<PermissionOutcome> {
        let at = self.open.iter().position(|open| open.id == id)?;
        let open = self.open.remove(at);
        while self.answered.front().is_some_and(|(seq, _)| *seq < kept) {
            self.answered.pop_front();
        }
        self.answered.push_back((open.seq, open.id));
        Some(open.reply.answer(&answer))
    }

    /// Frames that end the questions which a client that begins at `cursor`
    /// comes across although they were answered: it would take them for open.
    /// Once they are in the log, whoever comes across a question there comes
    /// across its end, too.
    pub(super) fn end_answered(&mut self, cursor: u64) -> Vec<String> {
        let (seen, unseen) =
            std::mem::take(&mut self.answered).into_iter().partition(|(seq, _)| *seq >= cursor);
        self.answered = unseen;
        let seen: VecDeque<(u64, String)> = seen;
        seen.iter().map(|(_, id)| cancelled(id)).collect()
    }

    /// The agent does not want an answer; the frame that tells the client.
    pub(super) fn withdraw(&mut self, id: &str) -> Option<String> {
        let at = self.open.iter().position(|open| open.id == id)?;
        Some(cancelled(&self.open.remove(at).id))
    }

    /// The agent has ended.
    pub(super) fn withdraw_all(&mut self) -> Vec<String> {
        self.open.drain(..).map(|open| cancelled(&open.id)).collect()
    }

    /// Frames to send again to a client that begins at `cursor`, because it
    /// will not come across them. They get the numbers from `next` on.
    pub(super) fn send_again(&mut self, cursor: u64, next: u64) -> Vec<String> {
        let unseen = self.open.iter_mut().filter(|open| open.seq < cursor);
        unseen
            .zip(next..)
            .map(|(open, seq)| {
                open.seq = seq;
                open.frame.clone()
            })
            .collect()
    }

    /// When the next one is too old.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.expires).min()
    }

    /// Denies what nobody answered in time: for each the line for the agent
    /// and the frame for the client.
    pub(super) fn expire(&mut self, now: Instant, time_limit: Duration) -> Vec<(Bytes, String)> {
        let (late, open) =
            std::mem::take(&mut self.open).into_iter().partition(|open| open.expires <= now);
        self.open = open;
        let late: Vec<Open> = late;
        late.into_iter()
            .map(|open| {
                let message =
                    format!("Nobody answered the permission request within {time_limit:?}");
                let deny = PermissionAnswer::Deny { message: Some(message), interrupt: false };
                let frame = cancelled(&open.id);
                (open.reply.answer(&deny).line, frame)
            })
            .collect()
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

fn cancelled(id: &str) -> String {
    ServerMessage::PermissionCancelled { seq: None, request_id: id.into() }.to_json()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::claude;
    use crate::agent::protocol::Route;

    fn text(line: Bytes) -> String {
        String::from_utf8(line.to_vec()).unwrap()
    }

    fn ask(permissions: &mut Permissions, id: &'static str, seq: u64, now: Instant) -> String {
        let line = format!(
            r#"{{"type":"control_request","request_id":"{id}","request":{{"subtype":"can_use_tool","tool_name":"Bash","input":{{"a":1.0}},"permission_suggestions":[ {{}} ],"tool_use_id":"t"}}}}"#
        );
        let Route::Permission(asked) = claude::classify(line.as_bytes()) else {
            panic!("no question");
        };
        permissions.ask(asked, seq, now, Duration::from_secs(600)).unwrap()
    }

    #[test]
    fn a_question_is_asked_with_its_context_and_answered() {
        let mut permissions = Permissions::default();
        let now = Instant::now();
        assert_eq!(
            ask(&mut permissions, "q", 1, now),
            r#"{"type":"permission_request","requestId":"q","tool":"Bash","input":{"a":1.0},"context":{"permission_suggestions":[ {} ],"tool_use_id":"t"}}"#
        );
        let allow = PermissionAnswer::Allow { input: None, permissions: Some("[]".into()) };
        assert_eq!(
            text(permissions.answer("q", allow.clone(), 1).unwrap().line),
            "{\"type\":\"control_response\",\"response\":{\"subtype\":\"success\",\"request_id\":\"q\",\"response\":{\"behavior\":\"allow\",\"updatedInput\":{\"a\":1.0},\"updatedPermissions\":[],\"toolUseID\":\"t\"}}}\n"
        );
        assert_eq!(permissions.answer("q", allow, 1), None);
        ask(&mut permissions, "q", 1, now);
        let deny = PermissionAnswer::Deny { message: Some("no\"".into()), interrupt: true };
        assert!(
            text(permissions.answer("q", deny, 1).unwrap().line).contains(
                r#"{"behavior":"deny","message":"no\"","interrupt":true,"toolUseID":"t"}"#
            )
        );
    }

    #[test]
    fn what_nobody_answers_is_denied() {
        let mut permissions = Permissions::default();
        let now = Instant::now();
        ask(&mut permissions, "q", 1, now);
        let time_limit = Duration::from_secs(600);
        assert!(permissions.expire(now + Duration::from_secs(599), time_limit).is_empty());
        assert_eq!(permissions.deadline(), Some(now + time_limit));
        let expired = permissions.expire(now + time_limit, time_limit);
        assert!(
            text(expired[0].0.clone())
                .contains("Nobody answered the permission request within 600s")
        );
        assert_eq!(expired[0].1, r#"{"type":"permission_cancelled","requestId":"q"}"#);
        assert_eq!(permissions.deadline(), None);
    }

    #[test]
    fn a_question_is_sent_again_to_one_that_has_not_seen_it() {
        let mut permissions = Permissions::default();
        let now = Instant::now();
        ask(&mut permissions, "a", 3, now);
        ask(&mut permissions, "b", 5, now);
        assert_eq!(permissions.send_again(3, 10).len(), 0);
        let again = permissions.send_again(4, 10);
        assert!(again.len() == 1 && again[0].contains("\"a\""));
        assert_eq!(permissions.send_again(11, 11).len(), 2);
        assert_eq!(
            permissions.withdraw("a").unwrap(),
            r#"{"type":"permission_cancelled","requestId":"a"}"#
        );
        assert_eq!(permissions.withdraw_all().len(), 1);
    }

    #[test]
    fn an_answered_question_is_ended_once_for_whoever_comes_across_it() {
        let mut permissions = Permissions::default();
        let now = Instant::now();
        let yes = || PermissionAnswer::Allow { input: None, permissions: None };
        for (id, seq) in [("a", 3), ("b", 5), ("c", 7)] {
            ask(&mut permissions, id, seq, now);
        }
        permissions.answer("b", yes(), 1).unwrap();
        permissions.answer("a", yes(), 1).unwrap();
        assert_eq!(permissions.end_answered(6), Vec::<String>::new());
        assert_eq!(
            permissions.end_answered(4),
            [r#"{"type":"permission_cancelled","requestId":"b"}"#]
        );
        assert_eq!(
            permissions.end_answered(1),
            [r#"{"type":"permission_cancelled","requestId":"a"}"#]
        );
        assert_eq!(permissions.end_answered(1), Vec::<String>::new());
        assert_eq!(permissions.len(), 1);
    }

    #[test]
    fn what_is_remembered_of_answers_goes_with_the_frames() {
        let mut permissions = Permissions::default();
        let now = Instant::now();
        for seq in 1..=1000 {
            ask(&mut permissions, "q", seq, now);
            let yes = PermissionAnswer::Allow { input: None, permissions: None };
            permissions.answer("q", yes, seq.saturating_sub(9)).unwrap();
        }
        assert_eq!(permissions.answered.len(), 10);
    }
}
