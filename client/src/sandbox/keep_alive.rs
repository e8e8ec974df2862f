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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// What `extend` is answered, and when it was asked.
    #[derive(Default)]
    struct Api {
        failures: RefCell<Vec<usize>>,
        asked: RefCell<Vec<u64>>,
        gone: bool,
    }

    /// Runs for `length` and gives the seconds at which it was extended.
    async fn run(api: Api, left: Duration, length: Duration) -> Vec<u64> {
        let start = Instant::now();
        let api = Rc::new(api);
        let (state, connection) = watch::channel(Connection::Connected);
        let extend = || {
            let api = Rc::clone(&api);
            async move {
                let number = api.asked.borrow().len();
                api.asked.borrow_mut().push(start.elapsed().as_secs());
                let refused = Error::of_answer("extend", 404, &Default::default(), b"{}");
                let failed = Error::of_answer("extend", 500, &Default::default(), b"{}");
                match api.failures.borrow().contains(&number) {
                    _ if api.gone => Err(refused),
                    true => Err(failed),
                    false => Ok(()),
                }
            }
        };
        let work = keep_alive(extend, 3 * MINUTE, start + left, connection);
        let end = async {
            sleep(length).await;
            state.send_replace(Connection::Ended(crate::Error::Stopped));
            // Long after the client's end.
            sleep(60 * MINUTE).await;
        };
        tokio::join!(work, end);
        api.asked.take()
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_of_the_time_is_the_pace_and_the_clients_end_is_the_end() {
        let asked = run(Api::default(), 3 * MINUTE, 5 * MINUTE + MINUTE / 2).await;
        assert_eq!(asked, [60, 120, 180, 240, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_tried_again_soon() {
        let api = Api { failures: vec![0, 1, 3].into(), ..Api::default() };
        let asked = run(api, 3 * MINUTE, 4 * MINUTE + MINUTE / 2).await;
        assert_eq!(asked, [60, 75, 90, 150, 165, 225]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_time_is_not_made_shorter() {
        let asked = run(Api::default(), 6 * MINUTE, 5 * MINUTE + MINUTE / 2).await;
        assert_eq!(asked, [240, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_is_not_asked_for_again() {
        let asked = run(Api { gone: true, ..Api::default() }, 3 * MINUTE, 60 * MINUTE).await;
        assert_eq!(asked, [60]);
    }
}
