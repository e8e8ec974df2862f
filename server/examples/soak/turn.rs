//! One turn, and what befalls it.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

use crate::Failure;
use crate::client::Client;
use crate::dice::Dice;
use crate::figures::children;
use crate::server::{Server, signal};

impl Client {
    /// Says something and sees it through to its end, whatever happens.
    pub(crate) async fn turn(&mut self, server: &Server, dice: &mut Dice) -> Result<(), Failure> {
        let lines = dice.below(3_000) + 1;
        let mut script = json!({ "n": lines, "size": dice.between(230, 2_000) });
        let fate = dice.below(12);
        match fate {
            0 => script["exit"] = json!(dice.below(3)),
            1 => script["signal"] = json!("SIGKILL"),
            2 => script["rate"] = json!(2_000),
            // More than the buffer and the sockets hold.
            3 => script["size"] = json!(12_000),
            4 => script["size"] = json!(140_000),
            5 => script["stderr"] = json!("noise\n".repeat(100)),
            _ => {}
        }
        if fate == 4 {
            script["n"] = json!(lines.min(150));
        }
        let lines = script["n"].as_u64().unwrap_or_default();
        // What comes only after the agent has begun is never lost with the
        // connection that said it.
        self.say(&script).await?;
        while self.frame().await?["data"]["subtype"] != "init" {}

        let until_event = dice.below(lines);
        let event = dice.below(6);
        let (mut seen, mut missed) = (0, false);
        // What the agent has said and read goes on for a while after its supervisor
        // was killed, on a busy machine into the next turn: its end is waited for.
        let mut doomed = false;
        let mut due = true;
        loop {
            if due && seen >= until_event {
                due = false;
                match event {
                    0 | 1 => self.cut(dice).await?,
                    2 => {
                        self.tally.stalls += 1;
                        sleep(Duration::from_millis(dice.below(1_500))).await;
                    }
                    3 if dice.below(4) == 0 => {
                        self.tally.interrupts += 1;
                        self.send(&json!({ "type": "interrupt" })).await?;
                        missed = true;
                    }
                    4 if dice.below(8) == 0 => {
                        let supervisor = children(server.pid()).first().copied();
                        if let Some(supervisor) = supervisor {
                            signal(supervisor, Signal::KILL)?;
                            (doomed, missed) = (true, true);
                        }
                    }
                    _ => {}
                }
            }
            let frame = self.frame().await?;
            match frame["type"].as_str() {
                Some("gap") => missed = true,
                Some("exit") => {
                    self.tally.crashes += 1;
                    break;
                }
                Some("sdk_message") if frame["data"]["type"] == "result" && !doomed => break,
                Some("sdk_message") if frame["data"]["type"] == "assistant" => {
                    let text = frame["data"]["message"]["content"][0]["text"].as_str();
                    let number = text.and_then(|text| text.get(..12)?.parse::<u64>().ok());
                    seen += 1;
                    if !missed && number != Some(seen) {
                        return Err(format!("line {number:?} in the place of {seen}").into());
                    }
                }
                _ => {}
            }
        }
        // An agent may have been ended by its supervisor before its own end.
        if !missed && seen != lines {
            return Err(format!("{seen} lines of {lines}: {script}").into());
        }
        self.tally.turns += 1;
        self.tally.lines += seen;
        Ok(())
    }
}
