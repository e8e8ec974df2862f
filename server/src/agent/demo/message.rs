//! Messages of the agent, their blocks and, if the host asked for them, their
//! stream events.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Agent, Stop, lines};

/// Delay between two pieces of a streamed reply.
const STREAM_STEP: Duration = Duration::from_millis(12);

/// Number of words per piece of a streamed reply.
const STREAM_WORDS: usize = 3;

/// Number of lines in the reply to `long`, which takes about five seconds.
const LONG_LINES: usize = 200;

/// Number of characters of a message that the reply repeats.
const EXCERPT_CHARS: usize = 80;

impl Agent {
    /// Replies to plain text, with the demonstrations that its words ask for.
    pub(super) fn reply(&mut self, text: &str) -> Result<(), Stop> {
        let words = text.to_lowercase();
        if words.contains("permission") {
            self.ask_permission("Bash")?;
        } else if words.contains("tool") {
            self.show_tool()?;
        }
        let mut reply = if words.contains("long") {
            (1..=LONG_LINES)
                .map(|line| format!("Line {line} of {LONG_LINES}, unless interrupted.\n"))
                .collect()
        } else {
            String::new()
        };
        let excerpt: String = text.chars().take(EXCERPT_CHARS).collect();
        let more = if excerpt.len() < text.len() { "…" } else { "" };
        reply.push_str(&format!(
            "Hello, I am the demo agent of claude-relay: a script, no model, and the cost shown is made up. \
             You said: “{excerpt}{more}”. Say “tool”, “permission” or “long” to see more. \
             For the real one install the Claude Code CLI (npm install -g @anthropic-ai/claude-code), \
             set ANTHROPIC_API_KEY and start the server without --demo."
        ));
        self.open_message()?;
        self.text_block(0, &reply, Some(STREAM_STEP))?;
        self.close_message("end_turn")
    }

    /// Sends a message of one text block, without streaming.
    pub(super) fn say(&mut self, text: &str) -> Result<(), Stop> {
        self.open_message()?;
        self.text_block(0, text, None)?;
        self.close_message("end_turn")
    }

    /// Sends a thought, a tool call and its result. Nothing is executed.
    fn show_tool(&mut self) -> Result<(), Stop> {
        self.open_message()?;
        self.thinking_block(0, "The user wants to see a tool call. An echo will do.")?;
        let input = json!({"command": "echo hello", "description": "Say hello"});
        let id = self.tool_block(1, "Bash", &input)?;
        self.close_message("tool_use")?;
        self.sleep(STREAM_STEP * 10)?;
        self.tool_succeeded(&id, "hello")
    }

    /// Begins a message of the agent.
    pub(super) fn open_message(&mut self) -> Result<(), Stop> {
        self.messages += 1;
        self.turn()?.num_turns += 1;
        if self.options.partials {
            self.line(lines::requesting)?;
        }
        let (id, model) = (lines::message_id(self.messages), self.model.clone());
        self.event(|| {
            json!({"type": "message_start", "message": {
                "id": id, "type": "message", "role": "assistant", "model": model, "content": [],
                "stop_reason": null, "stop_sequence": null, "usage": lines::usage(),
            }})
        })
    }

    pub(super) fn close_message(&mut self, stop_reason: &str) -> Result<(), Stop> {
        self.event(|| {
            json!({"type": "message_delta",
                "delta": {"stop_reason": stop_reason, "stop_sequence": null},
                "usage": {"output_tokens": 5}})
        })?;
        self.event(|| json!({"type": "message_stop"}))
    }

    /// Sends a text block, in pieces with a delay of `step`, or at once. If it
    /// is interrupted, it ends in an `assistant` line marked `aborted`.
    pub(super) fn text_block(
        &mut self,
        index: u64,
        text: &str,
        step: Option<Duration>,
    ) -> Result<(), Stop> {
        self.event(|| start(index, json!({"type": "text", "text": ""})))?;
        let pieces: Vec<&str> = match step {
            None => vec![text],
            Some(_) => {
                let words: Vec<&str> = text.split_inclusive(' ').collect();
                let mut rest = text;
                words
                    .chunks(STREAM_WORDS)
                    .map(|words| {
                        let (piece, after) =
                            rest.split_at(words.iter().map(|word| word.len()).sum());
                        rest = after;
                        piece
                    })
                    .collect()
            }
        };
        let mut streamed = 0;
        for piece in pieces {
            self.event(|| delta(index, json!({"type": "text_delta", "text": piece})))?;
            streamed += piece.len();
            let Some(step) = step else { continue };
            match self.sleep(step) {
                Err(Stop::Interrupted { tool }) => {
                    self.assistant(json!({"type": "text", "text": &text[..streamed]}), true)?;
                    return Err(Stop::Interrupted { tool });
                }
                other => other?,
            }
        }
        self.assistant(json!({"type": "text", "text": text}), false)?;
        let turn = self.turn()?;
        text.clone_into(&mut turn.last_text);
        turn.tokens.output += text.split_whitespace().count() as u64;
        self.event(|| stop(index))
    }

    fn thinking_block(&mut self, index: u64, text: &str) -> Result<(), Stop> {
        let empty = json!({"type": "thinking", "thinking": "", "signature": ""});
        self.event(|| start(index, empty))?;
        self.event(|| delta(index, json!({"type": "thinking_delta", "thinking": text})))?;
        self.event(|| delta(index, json!({"type": "signature_delta", "signature": "ZGVtbw=="})))?;
        self.assistant(
            json!({"type": "thinking", "thinking": text, "signature": "ZGVtbw=="}),
            false,
        )?;
        self.event(|| stop(index))
    }

    /// Sends a tool call and returns its id.
    pub(super) fn tool_block(
        &mut self,
        index: u64,
        tool: &str,
        input: &Value,
    ) -> Result<String, Stop> {
        let id = format!("toolu_{}", lines::message_id(self.messages));
        let block =
            |input: &Value| json!({"type": "tool_use", "id": id, "name": tool, "input": input});
        self.event(|| start(index, block(&json!({}))))?;
        let partial = input.to_string();
        self.event(|| delta(index, json!({"type": "input_json_delta", "partial_json": partial})))?;
        self.assistant(block(input), false)?;
        self.event(|| stop(index))?;
        Ok(id)
    }

    fn assistant(&mut self, block: Value, aborted: bool) -> Result<(), Stop> {
        let (message, uuids) = (self.messages, self.turn()?.user_uuids.clone());
        self.line(|facts, uuid| {
            let mut line = lines::assistant(facts, block, message, uuid);
            if aborted {
                line["aborted"] = json!(true);
            }
            lines::add_user_uuids(&mut line, &uuids);
            line
        })
    }

    /// Sends an event of a streamed message, if the host asked for them.
    fn event(&mut self, event: impl FnOnce() -> Value) -> Result<(), Stop> {
        if self.options.partials {
            let id = lines::message_id(self.messages);
            self.line(|facts, uuid| lines::stream_event(facts, event(), &id, uuid))?;
        }
        Ok(())
    }
}

fn start(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn stop(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}
