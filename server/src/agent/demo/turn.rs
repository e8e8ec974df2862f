//! What happens in a turn: its scripts, and how it waits.

use std::time::{Duration, Instant};

use super::input::UserMessage;
use super::output;
use super::script::{Lines, Pace, Script};
use super::{Agent, Stop, Turn, lines};

/// The longest wait; a script that asks for more gets this.
const MAX_SLEEP: Duration = Duration::from_secs(86_400);

impl Agent {
    /// Answers the messages of one turn: its scripts in their order, then all
    /// plain text with one reply.
    pub(super) fn answer_messages(&mut self, batch: Vec<UserMessage>) -> Result<(), Stop> {
        // An interrupt that came with the message still lets the turn begin.
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
                    self.say(&format!("This script was not understood: {error}"))?;
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
            self.ask_and_tell(tool)?;
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

    /// Emits numbered lines, at a pace if there is one.
    fn emit(&mut self, total: u64, size: usize, rate: Option<f64>) -> Result<(), Stop> {
        let run = self.ids.uuid();
        let session_id = self.session_id.as_deref().unwrap_or_default();
        let mut lines = Lines::new(size, total, session_id, &run[..8]);
        let line_bytes = lines.line_bytes();
        let pace = Pace::new(rate);
        let mut done = 0;
        while done < total {
            self.checkpoint()?;
            let due = pace.due(total);
            if due <= done {
                self.sleep(pace.until(done))?;
                continue;
            }
            let (block, count) = lines.next(due - done);
            self.out.lines(block)?;
            done += count;
        }
        let turn = self.turn()?;
        turn.num_turns += 1;
        turn.tokens.output += total;
        turn.said = format!("emitted {total} lines of {} bytes", line_bytes - 1);
        Ok(())
    }

    /// Looks at the input; an interrupt ends what is being done.
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

    /// Waits for input or until the time has come, then looks at the input.
    pub(super) fn wait(&mut self, until: Option<Instant>) -> Result<(), Stop> {
        self.out.flush()?;
        if self.ended {
            // Nothing more can come, and what is there has been looked at.
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

    /// The running turn. There is one wherever this is asked.
    pub(super) fn turn(&mut self) -> Result<&mut Turn, Stop> {
        self.turn.as_mut().ok_or(Stop::Interrupted { tool: false })
    }
}
