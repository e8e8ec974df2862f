//! Giving a sandbox new time for as long as a client lives.

use std::time::Duration;

use claude_relay_e2b::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::session::Connection;

/// How often in a sandbox's time it is given new time, so that two failures in
/// a row do no harm.
const EXTENSIONS: u32 = 3;
/// How often in its time it is tried again after a failure.
const RETRIES: u32 = 12;
/// The shortest wait, however short the time.
const SHORTEST: Duration = Duration::from_millis(100);

/// Calls `extend` often enough that the sandbox never has less than two thirds
/// of `time` left, until the client has ended or the sandbox is gone. A time
/// that runs out later than that is not touched: extending sets it from now on,
/// which would make it shorter.
pub(crate) async fn keep_alive<E>(
    extend: impl Fn() -> E,
    time: Duration,
    mut ends_at: Instant,
    mut connection: watch::Receiver<Connection>,
) where
    E: Future<Output = Result<(), Error>>,
{
    let work = async {
        let mut wait = time / EXTENSIONS;
        loop {
            sleep(wait.max(SHORTEST)).await;
            wait = time / EXTENSIONS;
            let now = Instant::now();
            if now + time <= ends_at {
                continue;
            }
            match extend().await {
                Ok(()) => ends_at = now + time,
                Err(Error::NotFound(_) | Error::SandboxGone { .. }) => return,
                // Whether it is worth telling shows when the time runs out.
                Err(_) => wait = time / RETRIES,
            }
        }
    };
    tokio::select! {
        // An error means that the client is gone, which is its end as well.
        _ = connection.wait_for(|state| matches!(state, Connection::Ended(_))) => {}
        () = work => {}
    }
}
