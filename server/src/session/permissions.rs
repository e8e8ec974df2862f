//! Permission requests of the agent that wait for the client's answer.
//!
//! Pure state: the open requests, and the lines to write when one is answered,
//! cancelled or expired.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;
use serde_json::value::RawValue;
use std::borrow::Cow;

use crate::agent::protocol::{Permission, PermissionAnswer, PermissionOutcome, PermissionReply};

/// Maximum number of open permission requests. The CLI sends one for each tool
/// call that it wants to run concurrently.
pub(super) const PERMISSION_LIMIT: usize = 256;

/// Maximum size of the open permission requests.
const PERMISSION_BYTES: usize = 48 << 20;

/// Permission requests of the agent.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    open: Vec<Open>,
    /// Answered requests, in the order of the answers: the number of the frame
    /// that carried each last, and its id. An entry is removed with its frame,
    /// so there are never more than the replay buffer holds.
    answered: VecDeque<(u64, String)>,
}

#[derive(Debug)]
struct Open {
    id: String,
    tool: String,
    input: Box<RawValue>,
    context: Box<RawValue>,
    reply: Box<dyn PermissionReply>,
    /// Number of the frame that carried it last.
    seq: u64,
    expires: Instant,
}

impl Open {
    fn len(&self) -> usize {
        self.input.get().len() + self.context.get().len()
    }

    /// Builds the frame for the client.
    fn frame(&self) -> String {
        ServerMessage::PermissionRequest {
            seq: None,
            request_id: Cow::Borrowed(&self.id),
            tool: Cow::Borrowed(&self.tool),
            input: Cow::Borrowed(&self.input),
            context: Cow::Borrowed(&self.context),
        }
        .to_json()
    }
}

impl Permissions {
    /// Adds a request. Returns the frame for the client, which will have the
    /// number `seq`, or a line for the agent that refuses the request if too
    /// many are open.
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
        let open: usize = self.open.iter().map(Open::len).sum();
        if open > 0 && open + asked.input.get().len() + asked.context.get().len() > PERMISSION_BYTES
        {
            return Err(asked.reply.refuse("too many bytes of permission requests are open"));
        }
        let Permission { id, tool, input, context, reply } = asked;
        let asked = Open {
            id: id.into_owned(),
            tool: tool.into_owned(),
            input: input.into_owned(),
            context,
            reply,
            seq,
            expires: now + time_limit,
        };
        let frame = asked.frame();
        self.open.push(asked);
        Ok(frame)
    }

    /// Returns the response for the agent, or `None` if no such request is
    /// open. `kept` is the number of the oldest frame in the replay buffer.
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
        Some(open.reply.answer(&answer, open.input.get()))
    }

    /// Returns frames that cancel the answered requests in a replay from
    /// `cursor`, because the client would take them for open. Once these frames
    /// are in the replay buffer, they follow the requests in every replay.
    pub(super) fn cancel_answered(&mut self, cursor: u64) -> Vec<String> {
        let (seen, unseen) =
            std::mem::take(&mut self.answered).into_iter().partition(|(seq, _)| *seq >= cursor);
        self.answered = unseen;
        let seen: VecDeque<(u64, String)> = seen;
        seen.iter().map(|(_, id)| cancelled(id)).collect()
    }

    /// Removes a request that the agent has cancelled. Returns the frame for
    /// the client.
    pub(super) fn withdraw(&mut self, id: &str) -> Option<String> {
        let at = self.open.iter().position(|open| open.id == id)?;
        Some(cancelled(&self.open.remove(at).id))
    }

    /// Removes all requests, because the agent has ended.
    pub(super) fn withdraw_all(&mut self) -> Vec<String> {
        self.open.drain(..).map(|open| cancelled(&open.id)).collect()
    }

    /// Returns the frames of open requests that a replay from `cursor` does not
    /// include. They will have the numbers from `next` on.
    pub(super) fn send_again(&mut self, cursor: u64, next: u64) -> Vec<String> {
        let unseen = self.open.iter_mut().filter(|open| open.seq < cursor);
        unseen
            .zip(next..)
            .map(|(open, seq)| {
                open.seq = seq;
                open.frame()
            })
            .collect()
    }

    /// Returns the time at which the next request expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|open| open.expires).min()
    }

    /// Denies expired requests. Returns the line for the agent and the frame
    /// for the client for each.
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
                (open.reply.answer(&deny, open.input.get()).line, frame)
            })
            .collect()
    }

    /// Returns the number of open requests.
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
            panic!("no permission request");
        };
        permissions.ask(asked, seq, now, Duration::from_secs(600)).unwrap()
    }

    #[test]
    fn a_request_is_sent_with_its_context_and_answered() {
        let mut permissions = Permissions::default();
        let now = Instant::now();
        assert_eq!(
            ask(&mut permissions, "q", 1, now),
            r#"{"type":"permission_request","requestId":"q","tool":"Bash","input":{"a":1.0},"context":{"permission_suggestions":[ {} ],"tool_use_id":"t"}}"#
        );
        let allow = PermissionAnswer::Allow {
            input: None,
            permissions: RawValue::from_string("[]".into()).ok(),
        };
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
    fn an_expired_request_is_denied() {
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
    fn a_request_is_sent_again_to_a_client_that_has_not_received_it() {
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
    fn an_answered_request_is_cancelled_once_in_a_replay() {
        let mut permissions = Permissions::default();
        let now = Instant::now();
        let yes = || PermissionAnswer::Allow { input: None, permissions: None };
        for (id, seq) in [("a", 3), ("b", 5), ("c", 7)] {
            ask(&mut permissions, id, seq, now);
        }
        permissions.answer("b", yes(), 1).unwrap();
        permissions.answer("a", yes(), 1).unwrap();
        assert_eq!(permissions.cancel_answered(6), Vec::<String>::new());
        assert_eq!(
            permissions.cancel_answered(4),
            [r#"{"type":"permission_cancelled","requestId":"b"}"#]
        );
        assert_eq!(
            permissions.cancel_answered(1),
            [r#"{"type":"permission_cancelled","requestId":"a"}"#]
        );
        assert_eq!(permissions.cancel_answered(1), Vec::<String>::new());
        assert_eq!(permissions.len(), 1);
    }

    #[test]
    fn answered_requests_are_evicted_with_their_frames() {
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
