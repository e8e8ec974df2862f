//! A sandbox of E2B's cloud with a relay in it, for one run.

use std::collections::BTreeMap;
use std::time::Duration;

use claude_relay_client::e2b::{E2b, keep_variables_outside};
use claude_relay_client::{Client, RunServer};

use super::end::{Failure, told};
use super::host;

/// The time that a sandbox lives on once nobody extends it. It is extended three
/// times as often while this program runs, and outlasts a connection that comes back.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Time for the end of a sandbox whose start has failed.
const CLEANUP: Duration = Duration::from_secs(4);

/// Time for a sandbox to be killed at the end.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// The outcome of [`Sandbox::create`].
pub(super) enum Created {
    Sandbox(Box<Sandbox>),
    /// A signal came first: the exit code of its end.
    Stopped(i32),
}

/// A sandbox. It is killed at the end; should this program be killed first, it
/// ends by its own time, [`TIMEOUT`] after the last extension.
pub(super) struct Sandbox(Client);

impl Sandbox {
    /// Creates one of this template, and waits until its relay answers, unless a
    /// signal comes first, of which `stop` tells. A credential in `variables` stays
    /// outside where the platform can put it on requests: a placeholder takes its
    /// place.
    pub(super) async fn create(
        template: &str,
        variables: &mut BTreeMap<String, String>,
        stop: impl Future<Output = i32>,
    ) -> Result<Created, Failure> {
        let failed = |error: &dyn std::error::Error| {
            Failure::connection(format!("the sandbox: {}", told(error)))
        };
        let e2b = E2b::from_environment().map_err(|error| failed(&error))?;
        let (inside, rules) = keep_variables_outside(std::mem::take(variables));
        *variables = inside;
        let builder = Client::builder()
            .template(template)
            .e2b(e2b.clone())
            .sandbox_timeout(TIMEOUT)
            // Of the environment's credentials the one of the rules counts.
            .environment(rules.is_empty())
            .configure_sandbox(move |new| new.egress.rules.extend(rules.clone()));
        let created = tokio::select! {
            created = builder.start() => Ok(created),
            code = stop => Err(code),
        };
        let failure = match created {
            Ok(Ok(client)) => return Ok(Created::Sandbox(Box::new(Self(client)))),
            Ok(Err(error)) => Err(failed(&error)),
            Err(code) => Ok(Created::Stopped(code)),
        };
        if !e2b.wait_for_cleanup(CLEANUP).await {
            host::say("claude-relay-agent: a sandbox may be left: see `claude-relay e2b ls`");
        }
        failure
    }

    /// The relay in it.
    pub(super) fn server(&self) -> RunServer {
        self.0.run_server()
    }

    /// Its name, for errors.
    pub(super) fn name(&self) -> String {
        let id = self.0.sandbox().map(|sandbox| sandbox.id().to_string());
        format!("the sandbox {}", id.unwrap_or_default())
    }

    /// Kills it.
    pub(super) async fn kill(self) {
        match tokio::time::timeout(KILL_LIMIT, self.0.kill()).await {
            Ok(Ok(())) => {}
            _ => host::say("claude-relay-agent: the sandbox lives until its time is over"),
        }
    }
}
