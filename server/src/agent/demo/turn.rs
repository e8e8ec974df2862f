//! The work of a turn: its scripts and its waiting.

use std::time::{Duration, Instant};

use super::input::UserMessage;
use super::output;
use super::script::{Lines, Schedule, Script};
use super::{Agent, Stop, Turn, lines};

/// Maximum time of a wait; longer ones are shortened.
const MAX_SLEEP: Duration = Duration::from_secs(86_400);

impl Agent {
    /// Answers the messages of one turn: its scripts in order, then all plain
    /// text with one reply.
    pub(super) fn answer_messages(&mut self, batch: Vec<UserMessage>) -> Result<(), Stop> {
        // An interrupt that arrived with the message still lets the turn begin.
        let early = self.checkpoint();
        if !matches!(early, Err(Stop::BadInput(_))) {
            self.line(lines::init)?;
        }
        early?;
        let mut plain = Vec::new();
        for message in batch {
            self.turn()?.tokens.input += message.text.split_whitespace().count() as u64;
            let script = if message.whole { Script::parse(&message.text) } else { None };
            match script {
                Some(Ok(script)) => self.run_script(script, message.text)?,
                Some(Err(error)) => {
                    self.say(&format!("This script is not valid: {error}"))?;
                    self.turn()?.failed = true;
                }
                None => plain.push(message.text),
            }
        }
        if !plain.is_empty() {
            self.reply(&plain.join("\n"))?;
        }
        Ok(())
    }

    fn run_script(&mut self, script: Script, text: String) -> Result<(), Stop> {
        if script.sleep_ms > 0 {
            self.sleep(Duration::from_millis(script.sleep_ms))?;
        }
        if let Some(text) = &script.stderr {
            output::stderr(text);
        }
        if let Some(tool) = &script.permission {
            self.ask_permission(tool)?;
        }
        if script.echo {
            self.say(&text)?;
        }
        if script.n > 0 {
            self.emit(script.n, script.size, script.rate)?;
        }
        if let Some(code) = script.exit {
            self.out.flush()?;
            return Err(Stop::Exit(code));
        }
        Ok(())
    }

    /// Emits numbered lines, at the rate if there is one.
    fn emit(&mut self, total: u64, size: usize, rate: Option<f64>) -> Result<(), Stop> {
        let run = self.ids.uuid();
        let session_id = self.session_id.as_deref().unwrap_or_default();
        let mut lines = Lines::new(size, total, session_id, &run[..8]);
        let line_bytes = lines.line_bytes();
        let schedule = Schedule::new(rate);
        let mut done = 0;
        while done < total {
            self.checkpoint()?;
            let due = schedule.due(total);
            if due <= done {
                self.sleep(schedule.until(done))?;
                continue;
            }
            let (block, count) = lines.next(due - done);
            self.out.lines(block)?;
            done += count;
        }
        let turn = self.turn()?;
        turn.num_turns += 1;
        turn.tokens.output += total;
        turn.last_text = format!("emitted {total} lines of {} bytes", line_bytes - 1);
        Ok(())
    }

    /// Handles input. Returns an error if the turn was interrupted.
    fn checkpoint(&mut self) -> Result<(), Stop> {
        self.take_input()?;
        if self.turn()?.interrupted { Err(Stop::Interrupted { tool: false }) } else { Ok(()) }
    }

    pub(super) fn sleep(&mut self, time: Duration) -> Result<(), Stop> {
        let until = Instant::now() + time.min(MAX_SLEEP);
        while Instant::now() < until {
            self.wait(Some(until))?;
            self.checkpoint()?;
        }
        self.checkpoint()
    }

    /// Waits for input or the deadline, then handles the input.
    pub(super) fn wait(&mut self, until: Option<Instant>) -> Result<(), Stop> {
        self.out.flush()?;
        if self.ended {
            // No more input can arrive, and all of it has been handled.
            if let Some(until) = until {
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
            }
        } else {
            let (incoming, ended) = self.inbox.wait(until);
            self.incoming.extend(incoming);
            self.ended = ended;
        }
        self.take_input()
    }

    /// Returns the running turn. All callers run during one.
    pub(super) fn turn(&mut self) -> Result<&mut Turn, Stop> {
        self.turn.as_mut().ok_or(Stop::Interrupted { tool: false })
    }
}
