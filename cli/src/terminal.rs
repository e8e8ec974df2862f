//! Output to the terminal, or to the file in its place.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use crate::args::Color;
use crate::exit::Exit;

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// The interval of the spinner.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Stdout for answers, stderr for everything else.
pub(crate) struct Terminal {
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    color: bool,
    /// The last thing on stdout was the end of a line.
    at_line_start: Cell<bool>,
    spinning: Cell<bool>,
}

impl Terminal {
    #[allow(
        clippy::disallowed_methods,
        reason = "NO_COLOR is a convention of terminals and no setting of ours"
    )]
    pub(crate) fn new(color: Color) -> Self {
        let stderr_is_terminal = io::stderr().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal,
            color: match color {
                Color::Auto => stderr_is_terminal && !no_color,
                Color::Always => true,
                Color::Never => false,
            },
            at_line_start: Cell::new(true),
            spinning: Cell::new(false),
        }
    }

    /// A piece of the answer, at once.
    pub(crate) fn answer(&self, text: &str) -> io::Result<()> {
        if self.stdout_is_terminal {
            self.drawn_answer(&printable(text))
        } else {
            self.drawn_answer(text)
        }
    }

    /// The whole answer of a program that ends with it.
    pub(crate) fn print(&self, text: &str) -> Result<Exit, Exit> {
        self.answer(text).map(|()| Exit::OK).map_err(|error| Exit::unwritten(&error))
    }

    /// Bytes of a file, as they are.
    pub(crate) fn answer_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// A piece of the answer with escape sequences of this program. Of the
    /// agent's own there must be none: see [`printable`].
    pub(crate) fn drawn_answer(&self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.clear();
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        self.at_line_start.set(text.ends_with('\n'));
        stdout.flush()
    }

    /// The columns that answers may be drawn on; `None` where they are written
    /// as they are.
    pub(crate) fn drawing_columns(&self) -> Option<usize> {
        let columns = || rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| size.ws_col);
        (self.stdout_is_terminal && self.color).then(|| match usize::from(columns()) {
            0 => 80,
            columns => columns,
        })
    }

    /// Ends the line of the answer, if one is open.
    pub(crate) fn end_line(&self) -> io::Result<()> {
        if self.at_line_start.get() { Ok(()) } else { self.answer("\n") }
    }

    /// Returns true if nothing stands on the last line of the answer.
    pub(crate) fn is_at_line_start(&self) -> bool {
        self.at_line_start.get()
    }

    /// A remark in passing.
    pub(crate) fn note(&self, text: &str) {
        if self.color {
            self.to_stderr(&format!("\x1b[2m{}\x1b[0m\n", printable(text)));
        } else {
            self.to_stderr(&format!("{}\n", self.for_stderr(text)));
        }
    }

    /// Something is wrong.
    pub(crate) fn complain(&self, text: &str) {
        let text = self.for_stderr(text);
        if self.color {
            self.to_stderr(&format!("\x1b[31mclaude-relay:\x1b[0m {text}\n"));
        } else {
            self.to_stderr(&format!("claude-relay: {text}\n"));
        }
    }

    /// A line for programs, such as `SESSION_ID=…`.
    pub(crate) fn fact(&self, text: &str) {
        self.to_stderr(&format!("{}\n", self.for_stderr(text)));
    }

    /// Shows that something is going on, since `elapsed`.
    pub(crate) fn spin(&self, elapsed: Duration) {
        // Not into the middle of a line.
        if self.color && self.stderr_is_terminal && self.at_line_start.get() {
            let ticks = elapsed.as_millis() / TICK.as_millis();
            let frame = FRAMES[usize::try_from(ticks).unwrap_or(0) % FRAMES.len()];
            let seconds = elapsed.as_secs();
            let _ = write!(io::stderr(), "\r\x1b[2m{frame} {seconds}s\x1b[0m\x1b[K");
            self.spinning.set(true);
        }
    }

    /// Takes the spinner away.
    pub(crate) fn clear(&self) {
        if self.spinning.take() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    fn to_stderr(&self, text: &str) {
        self.clear();
        let mut stderr = io::stderr().lock();
        if self.stdout_is_terminal && self.stderr_is_terminal && !self.at_line_start.replace(true) {
            let _ = stderr.write_all(b"\n");
        }
        // There is nowhere to say that this failed.
        let _ = stderr.write_all(text.as_bytes());
    }

    fn for_stderr(&self, text: &str) -> String {
        if self.stderr_is_terminal { printable(text) } else { text.to_owned() }
    }
}

/// Text of an agent must not steer the terminal it is shown on, nor hide a part of
/// itself: control characters other than line ends and tabs are shown as `\u{fffd}`,
/// and so is what turns the direction of text or cannot be seen. Joiners stay behind
/// a character beyond ASCII, where scripts and emoji need them.
pub(crate) fn printable(text: &str) -> String {
    let mut before = ' ';
    let shown = |c: char| {
        let joins = is_joiner(c) && !before.is_ascii() && !is_hidden(before);
        let stays = matches!(c, '\n' | '\t') || joins || !is_hidden(c);
        before = c;
        if stays { c } else { char::REPLACEMENT_CHARACTER }
    };
    text.chars().map(shown).collect()
}

fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Whether `c` has no shape of its own: controls, marks of direction, separators of
/// lines, fillers, tags, and other format characters.
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_control_sequences_are_not_printed() {
        assert_eq!(
            printable("a\x1b[31mb\r\n\tc\u{9b}\u{7}é"),
            "a\u{fffd}[31mb\u{fffd}\n\tc\u{fffd}\u{fffd}é"
        );
        assert_eq!(printable("rm \u{202e}txt.\u{2066}"), "rm \u{fffd}txt.\u{fffd}");
    }

    #[test]
    fn what_turns_text_or_hides_in_it_is_shown() {
        for hidden in [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{3164}',
            '\u{feff}',
            '\u{fff9}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
        ] {
            assert_eq!(printable(&format!("rm{hidden}x")), "rm\u{fffd}x", "{}", u32::from(hidden));
        }
        for shown in ["\u{1f469}\u{200d}\u{1f680}", "می\u{200c}خواهم", "e\u{301} 漢 ❤\u{fe0f}"]
        {
            assert_eq!(printable(shown), shown);
        }
    }
}
