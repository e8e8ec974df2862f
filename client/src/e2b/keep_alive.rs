//! Giving a sandbox new time for as long as a client lives.

use std::sync::Arc;
use std::time::Duration;

use claude_relay_e2b::Error;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::types::connection::ConnectionState;

/// The extensions in a sandbox's time, so that two failures in
/// a row do no harm.
const EXTENSIONS: u32 = 3;
/// The attempts in its time after a failure.
const RETRIES: u32 = 12;
/// The failures in a row that are told.
const TOLD_FAILURES: u32 = 3;
/// The shortest wait, however short the time.
const SHORTEST: Duration = Duration::from_millis(100);

/// The failure that keeps a sandbox from getting new time, while it lasts.
pub(crate) type Trouble = Option<Arc<Error>>;

/// Calls `extend` often enough that the sandbox always has two thirds of `time`
/// left while the client is connected; ends when the client has ended or the
/// sandbox is gone. A call that was begun is brought to its end. A failure that
/// lasts is put into `trouble`.
pub(crate) async fn keep_alive<E>(
    extend: impl Fn() -> E,
    time: Duration,
    mut connection: watch::Receiver<ConnectionState>,
    trouble: &watch::Sender<Trouble>,
) where
    E: Future<Output = Result<(), Error>>,
{
    let mut wait = time / EXTENSIONS;
    let mut failures = 0;
    loop {
        tokio::select! {
            biased;
            // An error means that the client is gone, which is its end as well.
            _ = connection.wait_for(|state| matches!(state, ConnectionState::Ended(_))) => return,
            () = sleep(wait.max(SHORTEST)) => {}
        }
        let connected = matches!(*connection.borrow(), ConnectionState::Connected);
        wait = match connected {
            true => match extend().await {
                Ok(()) => {
                    failures = 0;
                    trouble.send_if_modified(|trouble| trouble.take().is_some());
                    time / EXTENSIONS
                }
                Err(Error::NotFound(_) | Error::SandboxGone { .. }) => return,
                Err(error) => {
                    failures += 1;
                    if failures >= TOLD_FAILURES {
                        trouble.send_replace(Some(Arc::new(error)));
                    }
                    time / RETRIES
                }
            },
            // It may be paused or gone, which is being found out.
            false => time / RETRIES,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::time::{Instant, sleep_until};

    use super::*;

    /// The answers to `extend`, and the times of its calls.
    #[derive(Default)]
    struct Api {
        failures: RefCell<Vec<usize>>,
        asked: RefCell<Vec<u64>>,
        gone: bool,
    }

    /// Runs until the client ends, which it does at the last of these seconds,
    /// and gives the seconds at which it was extended. In between the client is
    /// away from the first to the second of each pair.
    async fn run(api: Api, away: &[(u64, u64)], end: u64) -> Vec<u64> {
        run_and_tell(api, away, end).await.0
    }

    /// The same, with the failure that was told in the end.
    async fn run_and_tell(api: Api, away: &[(u64, u64)], end: u64) -> (Vec<u64>, Trouble) {
        let start = Instant::now();
        let api = Rc::new(api);
        let (state, connection) = watch::channel(ConnectionState::Connected);
        let extend = || {
            let api = Rc::clone(&api);
            async move {
                let number = api.asked.borrow().len();
                api.asked.borrow_mut().push(start.elapsed().as_secs());
                let refused = |status| Error::of_answer("ask", status, &Default::default(), b"{}");
                match api.failures.borrow().contains(&number) {
                    _ if api.gone => Err(refused(404)),
                    true => Err(refused(500)),
                    false => Ok(()),
                }
            }
        };
        let at = |second| sleep_until(start + Duration::from_secs(second));
        let cause = || crate::ConnectionError::Stopped;
        let life = async {
            for (from, to) in away {
                at(*from).await;
                state.send_replace(ConnectionState::Reconnecting {
                    attempt: 1,
                    cause: cause().into(),
                });
                at(*to).await;
                state.send_replace(ConnectionState::Connected);
            }
            at(end).await;
            state.send_replace(ConnectionState::Ended(cause()));
            at(end + 3600).await;
        };
        let trouble = watch::Sender::new(None);
        tokio::join!(keep_alive(extend, Duration::from_secs(180), connection, &trouble), life);
        (api.asked.take(), trouble.borrow().clone())
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_of_the_time_is_the_pace_and_the_clients_end_is_the_end() {
        assert_eq!(run(Api::default(), &[], 330).await, [60, 120, 180, 240, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_tried_again_soon() {
        let api = Api { failures: vec![0, 1, 3].into(), ..Api::default() };
        assert_eq!(run(api, &[], 270).await, [60, 75, 90, 150, 165, 225]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_lasts_is_told_until_it_is_over() {
        let failing = |failures: &[usize]| Api {
            failures: RefCell::new(failures.to_vec()),
            ..Api::default()
        };
        let told = |trouble: Trouble| trouble.map(|error| error.to_string());
        let (_, trouble) = run_and_tell(failing(&[0, 1]), &[], 89).await;
        assert_eq!(told(trouble), None, "once more may do");
        let (_, trouble) = run_and_tell(failing(&[0, 1, 2, 3]), &[], 119).await;
        assert!(told(trouble).unwrap().contains("500"));
        let (_, trouble) = run_and_tell(failing(&[0, 1, 2]), &[], 119).await;
        assert_eq!(told(trouble), None, "it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_extended_while_the_client_is_away() {
        let asked = run(Api::default(), &[(50, 100), (200, 1000)], 1100).await;
        assert_eq!(asked, [105, 165, 1005, 1065]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sandbox_that_is_gone_is_not_extended_again() {
        assert_eq!(run(Api { gone: true, ..Api::default() }, &[], 3600).await, [60]);
    }
}
