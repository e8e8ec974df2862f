//! Background tasks that an answer has left running.

use std::time::Duration;

use claude_relay_client::Client;
use tokio::pin;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::connect::Trouble;
use crate::exit::Exit;
use crate::signals::Signals;
use crate::terminal::{TICK, Terminal};

/// Time after which the user is told what is waited for.
const NOTE_AFTER: Duration = Duration::from_secs(1);

/// Waits until the agent is idle, because what runs in the background ends with
/// the sandbox. `limit` is zero for no limit. Returns the end of the program.
pub(super) async fn wait(
    client: &Client,
    limit: Duration,
    terminal: &Terminal,
    signals: &mut Signals,
) -> Exit {
    let (idle, note, late) = (client.wait_until_idle(), sleep(NOTE_AFTER), sleep(limit));
    pin!(idle, note, late);
    let mut noted = false;
    let mut trouble = Trouble::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            idle = &mut idle => return match idle {
                Ok(()) => Exit::OK,
                Err(error) => {
                    Exit::left_running(format!("background tasks may still be running: {error}"))
                }
            },
            signal = signals.next() => {
                // The connection may be gone; the signal ends the program all the same.
                let _ = client.interrupt().await;
                return signal.exit();
            }
            () = &mut late, if !limit.is_zero() => {
                return Exit::left_running(format!(
                    "background tasks are still running after {limit:?}"
                ));
            }
            () = &mut note, if !noted => {
                noted = true;
                terminal.note("waiting for background tasks; --no-wait leaves them running");
            }
            _ = ticks.tick() => {
                if let Some(text) = trouble.describe(client) {
                    terminal.complain(&text);
                }
            }
        }
    }
}
