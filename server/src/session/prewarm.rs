//! The spare agent of the session, from its start to its use.

use std::future::pending;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::{info, warn};

use super::Session;
use super::cli_version::Answer;
use super::restart::Backoff;
use crate::agent::{Cold, Spare, SpareEvent, Warmth};

/// The age from which on a spare is replaced: it knows the day and the files of
/// its start.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// The wait from the use of a spare to the start of the next, which would take
/// the processor from the first turn.
const NEXT_AFTER: Duration = Duration::from_secs(5);

/// The spare, and how often one was used.
#[derive(Debug, Default)]
pub(super) struct Spares {
    pub(super) spare: Option<Spare>,
    start_at: Option<Instant>,
    waits_for_version: bool,
    backoff: Backoff,
    used: u64,
    cold: Option<Cold>,
}

impl Spares {
    /// Waits for an event of the spare; for ever without one. Nothing is lost
    /// when the wait is given up.
    pub(super) async fn event(&mut self) -> SpareEvent {
        match &mut self.spare {
            Some(spare) => spare.event().await,
            None => pending().await,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let stale = self.spare.as_ref().map(|spare| spare.started_at() + MAX_AGE);
        [self.start_at, stale].into_iter().flatten().min()
    }

    /// The id of the conversation that the spare would begin.
    pub(super) fn session_id(&self) -> Option<String> {
        self.spare.as_ref().map(|spare| spare.session_id().to_owned())
    }

    fn failed(&mut self, now: Instant) {
        self.backoff.failed(now);
        self.start_at = Some(now + self.backoff.delay().max(NEXT_AFTER));
    }
}

impl Session {
    /// Starts a spare, where that is asked for.
    pub(super) fn start_spare(&mut self, now: Instant) {
        self.spares.start_at = None;
        let settings = &self.runtime.settings;
        if !settings.prewarm.keeps_spare() || self.drain_deadline.is_some() {
            return;
        }
        let version = match settings.demo {
            true => None,
            false => match self.cli_version.get(&self.runtime) {
                Answer::Known(version) => version,
                Answer::Asked => {
                    self.spares.waits_for_version = true;
                    return;
                }
            },
        };
        match Spare::start(&self.runtime, version, now) {
            Ok(spare) => self.spares.spare = Some(spare),
            Err(error) => {
                warn!("no spare agent: {error}");
                // Without an agent to start there is nothing to try again.
                if error.may_heal() {
                    self.spares.failed(now);
                }
            }
        }
    }

    /// The version of the CLI is known.
    pub(super) fn on_version_for_spare(&mut self, now: Instant) {
        if std::mem::take(&mut self.spares.waits_for_version) {
            self.start_spare(now);
        }
    }

    pub(super) fn on_spare(&mut self, event: SpareEvent, now: Instant) {
        let Some(spare) = &mut self.spares.spare else { return };
        if !spare.keep(event) {
            info!("the spare agent is of no use any more");
            self.spares.spare = None;
            self.spares.failed(now);
        } else if spare.is_ready() {
            self.spares.backoff.succeeded();
        }
    }

    pub(super) fn on_spare_time(&mut self, now: Instant) {
        let stale = |spare: &Spare| now >= spare.started_at() + MAX_AGE;
        if self.spares.spare.as_ref().is_some_and(stale) {
            self.spares.spare = None;
            self.spares.start_at = Some(now);
        }
        if self.spares.start_at.is_some_and(|at| now >= at) {
            self.start_spare(now);
        }
    }

    /// Takes note of a start: a spare that was used is followed by another, and
    /// one whose conversation was begun without it is of no use.
    pub(super) fn on_start_with_spare(
        &mut self,
        spare: Option<Spare>,
        warmth: Warmth,
        now: Instant,
    ) {
        let begun = self.agent.begins.as_deref();
        match (spare, warmth) {
            (None, Warmth::Warm) => {
                info!("the spare agent is used");
                self.spares.used += 1;
                self.spares.cold = None;
                self.spares.start_at = Some(now + NEXT_AFTER);
            }
            (Some(spare), warmth) => {
                if let Warmth::Cold(Some(reason)) = warmth {
                    info!("a cold start beside a spare agent: {reason}");
                    self.spares.cold = Some(reason);
                }
                let is_spent = begun == Some(spare.session_id())
                    || warmth == Warmth::Cold(Some(Cold::Changed));
                if is_spent {
                    self.spares.start_at = Some(now + NEXT_AFTER);
                } else {
                    self.spares.spare = Some(spare);
                }
            }
            (None, Warmth::Cold(_)) => {}
        }
    }

    /// Starts the work on a configuration that came before its client.
    pub(super) fn on_configured_early(&mut self, now: Instant) {
        let starts = self.runtime.settings.prewarm.starts_when_configured();
        if starts && self.client.is_none() && self.drain_deadline.is_none() {
            self.on_client_connected(now);
        }
    }

    /// The agent has answered what was said late.
    pub(super) fn on_late_settings(&mut self, response: &str, now: Instant) {
        let is_error = claude_relay_protocol::json::fields(response, ["subtype"])
            .ok()
            .and_then(|[subtype]| subtype.and_then(claude_relay_protocol::json::string))
            .is_some_and(|subtype| subtype == "error");
        if !is_error {
            return;
        }
        self.error("The agent did not take its credential late; it is started anew");
        self.spares.cold = Some(Cold::Version);
        let grace = self.runtime.settings.stop_grace;
        if let Some(running) = &mut self.agent.running
            && running.stop_reason.is_none()
        {
            running.stop(super::running::StopReason::Reconfigured, grace, now);
        }
    }

    /// `/health` about the spare; `None` where none is asked for.
    pub(super) fn spare_health(&self, now: Instant) -> Option<Value> {
        let mode = self.runtime.settings.prewarm;
        if !mode.starts_when_configured() {
            return None;
        }
        let spare = self.spares.spare.as_ref();
        let state = match spare {
            Some(spare) if spare.is_ready() => "ready",
            Some(_) => "starting",
            None if self.spares.start_at.is_some() => "waiting",
            None => "none",
        };
        Some(json!({
            "mode": mode.as_str(),
            "state": state,
            "pid": spare.and_then(Spare::pid),
            "age_ms": spare.map(|spare| now.saturating_duration_since(spare.started_at()).as_millis() as u64),
            "memory_bytes": spare.and_then(Spare::memory_bytes),
            "used": self.spares.used,
            "cold": self.spares.cold.map(|reason| reason.to_string()),
        }))
    }
}
