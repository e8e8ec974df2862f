//! Input on stdin: a thread that reads lines, and the bounded inbox for them.
//!
//! The thread is needed because the host may write while the agent is blocked
//! on writing: reading must go on then, or both sides deadlock.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use claude_relay_protocol::json;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// Maximum size of waiting input. At the limit, reading stops until a turn has
/// taken some, so that a host that writes without end is blocked by its own
/// pipe. Interrupts and answers written behind it wait too.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Maximum length of a line; a longer one is invalid input.
const MAX_LINE_BYTES: usize = 256 << 20;

/// Maximum size of a read from stdin.
const CHUNK_BYTES: usize = 256 << 10;

/// A line of input that is not ignored.
pub(super) enum Input {
    /// `user`
    User(UserMessage),
    /// `control_request`
    Control(Control),
    /// `control_response`: the response to a request of this agent
    Answer(Answer),
    /// A line that makes the CLI exit, with its message on stderr.
    Bad(String),
}

/// A `user` line.
pub(super) struct UserMessage {
    /// The text; the texts of several blocks are joined by line breaks.
    pub(super) text: String,
    /// True if the text is the whole content, so that it may be a script.
    pub(super) whole: bool,
    /// The `uuid` given by the host.
    pub(super) uuid: Option<String>,
    /// Size that counts towards [`MAX_WAITING_BYTES`].
    pub(super) bytes: usize,
}

/// A `control_request` of the host.
pub(super) struct Control {
    /// Id, of any type. A request without one is answered without one.
    pub(super) id: Option<Value>,
    /// `subtype` of the request.
    pub(super) subtype: String,
    /// The whole `request`.
    pub(super) body: Value,
}

/// A `control_response` of the host.
pub(super) struct Answer {
    /// Id of the request.
    pub(super) id: String,
    /// `response` of a success, or `error` text.
    pub(super) response: Result<Value, String>,
}

/// Input that has been read and not yet taken.
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    items: VecDeque<Input>,
    waiting_bytes: usize,
    ended: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, so the state is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all input without waiting.
    pub(super) fn take(&self) -> VecDeque<Input> {
        std::mem::take(&mut self.lock().items)
    }

    /// Waits for input, the end of input or the deadline. The second value is
    /// true if the input has ended.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> (VecDeque<Input>, bool) {
        let mut state = self.lock();
        while state.items.is_empty() && !state.ended {
            state = match deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()))
            {
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        (std::mem::take(&mut state.items), state.ended)
    }

    /// Releases the space of messages that a turn has taken.
    pub(super) fn release(&self, bytes: usize) {
        self.lock().waiting_bytes -= bytes;
        self.changed.notify_all();
    }

    /// Adds the input of one read at once: lines written together arrive
    /// together. Waits while the inbox is full.
    fn add(&self, items: Vec<Input>) {
        let mut state = self.lock();
        state.waiting_bytes += items
            .iter()
            .map(|item| if let Input::User(message) = item { message.bytes } else { 0 })
            .sum::<usize>();
        state.items.extend(items);
        self.changed.notify_all();
        while state.waiting_bytes >= MAX_WAITING_BYTES {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

/// Reads `stdin` to its end.
pub(super) fn read_lines(mut stdin: File, inbox: &Inbox) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut line = Vec::new();
    loop {
        let count = match stdin.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let mut items = Vec::new();
        let mut rest = &chunk[..count];
        while let Some(end) = memchr::memchr(b'\n', rest) {
            line.extend_from_slice(&rest[..end]);
            items.extend(parse(&line));
            // The memory of a huge line is not kept for the small ones after
            // it.
            if line.capacity() > CHUNK_BYTES {
                line = Vec::new()
            } else {
                line.clear()
            }
            rest = &rest[end + 1..];
        }
        line.extend_from_slice(rest);
        if line.len() > MAX_LINE_BYTES {
            items.push(bad("unknown", line.len(), "RangeError"));
            line = Vec::new();
        }
        inbox.add(items);
    }
    inbox.add(parse(&line).into_iter().collect());
    inbox.end();
}

/// Parses a line as CLI 2.1.329 does. Returns `None` for lines that it ignores.
fn parse(line: &[u8]) -> Option<Input> {
    let text = String::from_utf8_lossy(line);
    if text.trim().is_empty() {
        return None;
    }
    let length = text.encode_utf16().count();
    let Ok([kind, message, uuid, id, request, response]) =
        json::fields(&text, ["type", "message", "uuid", "request_id", "request", "response"])
    else {
        return match serde_json::from_str::<IgnoredAny>(&text) {
            Ok(_) if text.trim() == "null" => Some(bad("unknown", length, "TypeError")),
            Ok(_) => None,
            Err(_) => Some(bad("unknown", length, "SyntaxError")),
        };
    };
    let kind = kind.and_then(json::string)?;
    match &*kind {
        "user" => user_message(message, uuid, line.len()),
        "control_request" => {
            let Some(request) = request else {
                return Some(bad(&kind, length, "TypeError"));
            };
            let subtype =
                json::fields(request.get(), ["subtype"]).ok().and_then(|[subtype]| subtype);
            Some(Input::Control(Control {
                id: id.and_then(|id| serde_json::from_str(id.get()).ok()),
                subtype: subtype.map_or_else(|| "undefined".to_owned(), string),
                body: serde_json::from_str(request.get()).unwrap_or_default(),
            }))
        }
        "control_response" => {
            let Some(response) = response else {
                return Some(bad(&kind, length, "TypeError"));
            };
            let [id, subtype, body, error] =
                json::fields(response.get(), ["request_id", "subtype", "response", "error"])
                    .ok()?;
            let failed = subtype.and_then(json::string).is_some_and(|subtype| subtype == "error");
            let body = body.and_then(|body| serde_json::from_str(body.get()).ok());
            Some(Input::Answer(Answer {
                id: id.map(string)?,
                response: if failed {
                    Err(error.map_or_else(String::new, string))
                } else {
                    Ok(body.unwrap_or_default())
                },
            }))
        }
        _ => None,
    }
}

fn user_message(
    message: Option<&RawValue>,
    uuid: Option<&RawValue>,
    bytes: usize,
) -> Option<Input> {
    let [role, content] = message
        .and_then(|message| json::fields(message.get(), ["role", "content"]).ok())
        .unwrap_or_default();
    let role = role.map_or_else(|| "undefined".to_owned(), string);
    if role != "user" {
        return Some(Input::Bad(format!("Error: Expected message role 'user', got '{role}'")));
    }
    let content = content?;
    let (text, whole) = if json::is_string(content) {
        (string(content), true)
    } else {
        // Content that is neither text nor blocks is ignored, and so is a block
        // that is not an object.
        let blocks = json::elements(content).ok()?;
        let mut texts = Vec::new();
        for block in &blocks {
            let [text] = json::fields(block.get(), ["text"]).ok()?;
            texts.extend(text.map(string));
        }
        (texts.join("\n"), blocks.len() == 1)
    };
    Some(Input::User(UserMessage {
        text,
        whole,
        uuid: uuid.and_then(json::string).map(Into::into),
        bytes,
    }))
}

/// Formats the CLI's error for a line. Its length is counted in UTF-16 units,
/// as in JavaScript.
fn bad(kind: &str, length: usize, error: &str) -> Input {
    Input::Bad(format!("Error parsing streaming input line (type={kind}, {length} chars): {error}"))
}

/// Returns the text of a JSON string, or the raw text of another value. A lone
/// surrogate, which the CLI accepts, becomes U+FFFD.
fn string(value: &RawValue) -> String {
    if !json::is_string(value) {
        return value.get().to_owned();
    }
    if let Some(text) = json::string(value) {
        return text.into_owned();
    }
    let mut replaced = String::with_capacity(value.get().len());
    let mut rest = value.get();
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        // Both halves of a pair are replaced, because this text is only for an
        // echo.
        let surrogate = escape[1..].starts_with('u')
            && matches!(
                &escape.as_bytes()[2..4],
                [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F']
            );
        replaced.push_str(&rest[..at]);
        let length = if surrogate { 6 } else { 2 };
        replaced.push_str(if surrogate { "\\ufffd" } else { &escape[..2] });
        rest = &escape[length..];
    }
    replaced.push_str(rest);
    serde_json::from_str(&replaced).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(line: &str) -> Option<(String, bool)> {
        match parse(line.as_bytes()) {
            Some(Input::User(message)) => Some((message.text, message.whole)),
            _ => None,
        }
    }

    fn stderr(line: &str) -> Option<String> {
        match parse(line.as_bytes()) {
            Some(Input::Bad(text)) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn reading_waits_while_the_inbox_is_full() {
        let inbox = Inbox::new();
        let message = |bytes| {
            Input::User(UserMessage { text: String::new(), whole: true, uuid: None, bytes })
        };
        inbox.add(vec![message(MAX_WAITING_BYTES - 1)]);
        std::thread::scope(|scope| {
            let (done, added) = std::sync::mpsc::sync_channel(1);
            let inbox = &inbox;
            scope.spawn(move || {
                inbox.add(vec![message(1)]);
                done.send(())
            });
            let moment = std::time::Duration::from_millis(50);
            assert!(added.recv_timeout(moment).is_err(), "it must wait");
            assert_eq!(inbox.wait(None).0.len(), 2);
            assert!(added.recv_timeout(moment).is_err(), "taking does not release space");
            inbox.release(1);
            added.recv().expect("there is room again");
        });
    }

    #[test]
    fn content_may_be_text_or_blocks() {
        let line = |content| {
            format!(r#"{{"type":"user","message":{{"role":"user","content":{content}}}}}"#)
        };
        assert_eq!(user(&line(r#""hi""#)), Some(("hi".into(), true)));
        assert_eq!(user(&line(r#"[{"type":"text","text":"hi"}]"#)), Some(("hi".into(), true)));
        let two = r#"[{"type":"text","text":"a"},{"type":"image"},{"type":"text","text":"b"}]"#;
        assert_eq!(user(&line(two)), Some(("a\nb".into(), false)));
        assert_eq!(
            user(&line(r#""a\ud800b\\ud800\n\ud83d\ude00""#)).map(|it| it.0),
            Some("a\u{fffd}b\\ud800\n\u{fffd}\u{fffd}".into())
        );
    }

    #[test]
    fn lines_that_the_cli_ignores_are_ignored() {
        for line in [
            "",
            "  \r",
            "42",
            "true",
            "\"user\"",
            "[]",
            "{}",
            r#"{"type":5}"#,
            r#"{"type":"keep_alive"}"#,
            r#"{"type":"user","message":{"role":"user","content":5}}"#,
            r#"{"type":"user","message":{"role":"user","content":[null]}}"#,
            r#"{"type":"control_response","response":{}}"#,
        ] {
            assert!(parse(line.as_bytes()).is_none(), "{line}");
        }
    }

    #[test]
    fn invalid_input_has_the_message_of_the_cli() {
        let parsing = "Error parsing streaming input line";
        let role = "Error: Expected message role 'user', got";
        for (line, text) in [
            ("this is not json", format!("{parsing} (type=unknown, 16 chars): SyntaxError")),
            ("null", format!("{parsing} (type=unknown, 4 chars): TypeError")),
            (r#"{"type":"user"}"#, format!("{role} 'undefined'")),
            (
                r#"{"type":"user","message":{"role":"assistant","content":"x"}}"#,
                format!("{role} 'assistant'"),
            ),
            (
                r#"{"type":"control_request"}"#,
                format!("{parsing} (type=control_request, 26 chars): TypeError"),
            ),
        ] {
            assert_eq!(stderr(line), Some(text), "{line}");
        }
    }
}
