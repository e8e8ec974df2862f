//! The text that is shown of a turn.

use std::io;
use std::time::Instant;

use claude_relay_client::{Exit, Gap, SdkMessage, ServerMessage, View};

use crate::markdown::Markdown;
use crate::person::NOBODY_TO_ASK;
use crate::server_errors::{ServerErrors, after};
use crate::terminal::{Terminal, printable};

/// The most characters shown of a tool's input.
const INPUT_CHARS: usize = 100;

/// The most characters shown to somebody who is to decide about it.
const QUESTION_CHARS: usize = 10_000;

/// Shows one turn as it goes.
pub(crate) struct Renderer<'a> {
    terminal: &'a Terminal,
    /// The answer's text is shown as it comes.
    stream: bool,
    verbose: bool,
    /// Pieces of a block of text have been shown, and the block is still to
    /// come whole.
    in_block: bool,
    /// Something of the answer is on stdout.
    pub(crate) printed: bool,
    /// Draws the answer's text; without it the text is shown as it is.
    markdown: Option<Markdown>,
    /// Those of the turn that runs; without one they are told at once.
    errors: Option<ServerErrors>,
    /// The last one that was told at once, for a turn that fails of it.
    told_before: Option<String>,
}

impl<'a> Renderer<'a> {
    pub(crate) fn new(terminal: &'a Terminal, stream: bool, verbose: bool) -> Self {
        Self {
            terminal,
            stream,
            verbose,
            in_block: false,
            printed: false,
            markdown: None,
            errors: None,
            told_before: None,
        }
    }

    /// One that draws Markdown where the terminal can show it.
    pub(crate) fn drawing(terminal: &'a Terminal, verbose: bool) -> Self {
        let markdown = terminal.drawing_columns().map(Markdown::new);
        Self { markdown, ..Self::new(terminal, true, verbose) }
    }

    /// A turn begins: its end may tell what the server's errors tell.
    pub(crate) fn begin_turn(&mut self) {
        self.printed = false;
        self.errors = Some(ServerErrors::default());
    }

    /// The turn has ended, and `end` is what will be told of that. Returns true if
    /// it has been told by now: what a failure told before the turn lacks of it is
    /// told here.
    pub(crate) fn end_turn(&mut self, end: Option<&str>) -> bool {
        let Some(mut errors) = self.errors.take() else { return false };
        errors.beside(end).iter().for_each(|text| self.terminal.complain(text));
        let (Some(end), before) = (end, self.told_before.take()) else { return false };
        let rest = before.and_then(|before| after(end, &before));
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            self.terminal.note(rest);
        }
        rest.is_some() || errors.was_told(end)
    }

    /// Tells the errors that no end of the turn has followed.
    pub(crate) fn tell_late_errors(&mut self) {
        let due = self.errors.as_mut().map(|errors| errors.due(Instant::now()));
        due.unwrap_or_default().iter().for_each(|text| self.terminal.complain(text));
    }

    /// # Errors
    ///
    /// Fails if stdout cannot be written to.
    pub(crate) fn show(&mut self, message: &ServerMessage) -> io::Result<()> {
        match message {
            ServerMessage::Sdk(message) => return self.line(message),
            ServerMessage::Error { text, .. } => match &mut self.errors {
                Some(errors) => errors.add(text, Instant::now()),
                None => {
                    self.terminal.complain(text);
                    self.told_before = Some(text.clone());
                }
            },
            ServerMessage::Info(text) if self.verbose => self.terminal.note(text.trim_end()),
            ServerMessage::Exit(Exit { code, signal, .. }) => {
                if let Some(errors) = &mut self.errors {
                    errors.on_exit();
                }
                if self.verbose {
                    self.terminal
                        .note(&format!("the agent ended: code {code:?}, signal {signal:?}"));
                }
            }
            ServerMessage::Gap(Gap { from, to }) => {
                let what = match (from, to) {
                    (Some(from), Some(to)) => format!("messages {from} to {to} are lost"),
                    _ => "some messages may be lost".to_owned(),
                };
                self.terminal.complain(&what);
            }
            ServerMessage::Restarted { .. } => {
                self.terminal.complain("the server was restarted; some messages are lost");
            }
            ServerMessage::Configured(_) => {
                self.terminal.note("the server has been given the configuration again");
            }
            ServerMessage::PermissionRequest(request) => {
                let asked = question(request.input.get());
                self.terminal.note(&format!("? {} {asked}", request.tool));
            }
            _ => {}
        }
        Ok(())
    }

    fn line(&mut self, message: &SdkMessage) -> io::Result<()> {
        // The end of the turn tells it.
        let is_failure = self.errors.is_some() && is_failure(message);
        for view in message.views() {
            match view {
                View::TextDelta { text, parent: None } if self.stream => {
                    if !self.in_block {
                        self.end_line()?;
                    }
                    self.in_block = true;
                    self.answer(&text)?;
                }
                View::Text { parent: None, .. } if is_failure => self.in_block = false,
                View::Text { text, parent: None } if self.stream && !self.in_block => {
                    self.end_line()?;
                    self.answer(&text)?;
                    self.finish()?;
                }
                // It has been shown in pieces.
                View::Text { parent: None, .. } => {
                    self.in_block = false;
                    self.finish()?;
                }
                View::Thinking { text, .. } if self.verbose => self.terminal.note(&text),
                View::ToolUse { name, input, parent, .. } => {
                    let indent = if parent.is_some() { "  " } else { "" };
                    self.terminal.note(&format!("{indent}· {name} {}", summary(input.get())));
                }
                View::ToolResult { is_error: true, content, .. } => {
                    let content = content.map_or("", |content| content.get());
                    // The denial has been told when it was made.
                    if content.contains(NOBODY_TO_ASK) {
                        continue;
                    }
                    self.terminal.note(&format!("  failed: {}", cut(content, INPUT_CHARS)));
                }
                View::Retrying { attempt, max_attempts, delay, reason } => {
                    let reason = match reason.as_deref() {
                        None | Some("unknown") => "no answer",
                        Some("authentication_failed") => "the key is refused",
                        Some(reason) => reason,
                    };
                    self.terminal.note(&format!(
                        "the model: {reason}; attempt {attempt} of {max_attempts}, again in {:.1} s",
                        delay.as_secs_f64()
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Shows a piece of the answer's text.
    pub(crate) fn answer(&mut self, text: &str) -> io::Result<()> {
        self.printed |= !text.is_empty();
        match &mut self.markdown {
            Some(markdown) => {
                if let Some(columns) = self.terminal.drawing_columns() {
                    markdown.resize(columns);
                }
                self.terminal.drawn_answer(&markdown.push(&printable(text)))
            }
            None => self.terminal.answer(text),
        }
    }

    /// Shows what was held back, and ends the line.
    pub(crate) fn end_line(&mut self) -> io::Result<()> {
        self.finish()?;
        self.terminal.end_line()
    }

    /// Shows what was held back at the end of a text.
    fn finish(&mut self) -> io::Result<()> {
        match &mut self.markdown {
            Some(markdown) => self.terminal.drawn_answer(&markdown.finish()),
            None => Ok(()),
        }
    }
}

/// Returns true for a line in which Claude Code says, in the place of the model,
/// why there is no answer.
fn is_failure(message: &SdkMessage) -> bool {
    #[derive(serde::Deserialize)]
    struct Line {
        #[serde(default)]
        error: Option<String>,
        message: Message,
    }
    #[derive(serde::Deserialize)]
    struct Message {
        model: String,
    }
    message
        .parse::<Line>()
        .is_ok_and(|line| line.error.is_some() && line.message.model == "<synthetic>")
}

/// The one part of a tool's input that says most, or all of it.
fn summary(input: &str) -> String {
    const TELLING: [&str; 7] =
        ["command", "file_path", "path", "pattern", "url", "query", "description"];
    let telling =
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(input).ok().and_then(
            |fields| TELLING.iter().find_map(|name| Some(fields.get(*name)?.as_str()?.to_owned())),
        );
    cut(telling.as_deref().unwrap_or(input), INPUT_CHARS)
}

/// Returns the text that somebody is to decide about: the input, or the diffs
/// in it.
fn question(input: &str) -> String {
    #[derive(serde::Deserialize)]
    struct Input {
        changes: Vec<Change>,
    }
    #[derive(serde::Deserialize)]
    struct Change {
        path: String,
        diff: String,
    }
    let Ok(Input { changes }) = serde_json::from_str(input) else {
        return cut(input, QUESTION_CHARS);
    };
    let mut text = String::new();
    for Change { path, diff } in changes {
        text.push_str(&format!("{path}\n{diff}\n"));
    }
    match text.char_indices().nth(QUESTION_CHARS) {
        Some((at, _)) => format!("{}… (cut)", &text[..at]),
        None => text.trim_end().to_owned(),
    }
}

/// On one line, cut to `chars`.
fn cut(text: &str, chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_input_is_one_short_line() {
        assert_eq!(summary(r#"{"command":"ls\n -l","description":"d"}"#), "ls -l");
        assert_eq!(summary(r#"{"x":1}"#), r#"{"x":1}"#);
        assert_eq!(cut(&"é".repeat(200), 3), "ééé…");
    }

    #[test]
    fn the_input_of_a_permission_request_is_shown_in_full() {
        let long = format!(r#"{{"command":"{}"}}"#, "x".repeat(5000));
        assert_eq!(question(&long), long);
        let changes =
            r#"{"changes":[{"path":"/a","diff":"+one\n+two\n"},{"path":"/b","diff":"-c"}]}"#;
        assert_eq!(question(changes), "/a\n+one\n+two\n\n/b\n-c");
        let large = format!(r#"{{"changes":[{{"path":"/a","diff":"{}"}}]}}"#, "é".repeat(20_000));
        assert!(question(&large).ends_with("é… (cut)"));
    }
}
