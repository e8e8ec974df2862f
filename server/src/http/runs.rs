//! The route to the runs: which run a connection is for, or why there is none.

use claude_relay_listen::answer::Refusal;
use hyper::StatusCode;

use super::routes::Routes;
use super::upgrade::{self, Target};
use crate::agent::mode::Mode;
use crate::runs::RunRefusal;

/// Reason why a server has no runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunsOff {
    /// The route does not exist.
    #[error("Not Found")]
    Unknown,
    /// The ceiling excludes them.
    #[error(
        "mode {0} of this server has no /agent: an SDK program brings its own servers, plugins, hooks and settings along, which this mode excludes; the operator can choose --mode ask or unrestricted"
    )]
    Mode(Mode),
}

impl Routes {
    pub(super) fn has_runs(&self) -> bool {
        !matches!(self.runs, Err(RunsOff::Unknown))
    }

    /// Finds the run that a connection is for.
    pub(super) async fn run(&self, query: &str) -> Result<Target, Refusal> {
        let named = upgrade::named_run(query)?;
        let runs = match &self.runs {
            Ok(runs) => runs,
            Err(off) => return Err(Refusal::new(StatusCode::FORBIDDEN, off.to_string())),
        };
        let after = named.as_ref().map(|named| named.after);
        let run = runs.admit(named).await.map_err(|refusal| {
            let status = match refusal {
                RunRefusal::TooMany(_) | RunRefusal::ShuttingDown => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                RunRefusal::Unknown => StatusCode::NOT_FOUND,
            };
            Refusal::new(status, refusal.to_string())
        })?;
        Ok(match after {
            Some(after) => Target::Run { run, after },
            None => {
                let config = self.session.configuration().await;
                let config = Box::new(config.map_err(|_| Refusal::shutting_down())?);
                Target::RawRun { run, config }
            }
        })
    }
}
