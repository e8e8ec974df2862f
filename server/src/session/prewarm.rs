//! The spare agents of the session, from their start to their use.

use std::future::pending;
use std::time::{Duration, Instant};

use claude_relay_protocol::QueryConfig;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::Session;
use super::cli_version::Answer;
use super::restart::Backoff;
use crate::agent::{Cold, Spare, SpareEvent, SpareKind, Warmth};

/// The age from which on a spare is replaced: it knows the day and the files of
/// its start.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// The wait from the use of a spare to the start of the next, which would take
/// the processor from the first turn.
const NEXT_AFTER: Duration = Duration::from_secs(5);

/// The wait between the starts of two spares.
const APART: Duration = Duration::from_secs(1);

/// A kind of spare, and the one of it that there is.
#[derive(Debug)]
struct SpareState {
    kind: SpareKind,
    spare: Option<Spare>,
    start_at: Option<Instant>,
    backoff: Backoff,
}

impl SpareState {
    /// Waits for an event of the spare; for ever without one. Nothing is lost
    /// when the wait is given up.
    async fn event(&mut self) -> (SpareKind, SpareEvent) {
        match &mut self.spare {
            Some(spare) => (self.kind, spare.event().await),
            None => pending().await,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let stale = self.spare.as_ref().map(|spare| spare.started_at() + MAX_AGE);
        [self.start_at, stale].into_iter().flatten().min()
    }

    fn failed(&mut self, now: Instant) {
        self.backoff.failed(now);
        self.start_at = Some(now + self.backoff.delay().max(NEXT_AFTER));
    }

    fn health(&self, now: Instant) -> Value {
        let spare = self.spare.as_ref();
        let state = match spare {
            Some(spare) if spare.is_ready() => "ready",
            Some(_) => "starting",
            None if self.start_at.is_some() => "waiting",
            None => "none",
        };
        let age = spare.map(|spare| now.saturating_duration_since(spare.started_at()));
        json!({
            "kind": self.kind.as_str(),
            "state": state,
            "pid": spare.and_then(Spare::pid),
            "age_ms": age.map(|age| age.as_millis() as u64),
            "memory_bytes": spare.and_then(Spare::memory_bytes),
        })
    }
}

/// The spares, and how often one was used.
#[derive(Debug)]
pub(super) struct Spares {
    places: [SpareState; 2],
    waits_for_version: bool,
    /// One has refused what was said late; the next would, too.
    refused: bool,
    used: u64,
    cold: Option<Cold>,
}

impl Default for Spares {
    fn default() -> Self {
        let backoff = Backoff::default;
        let place = |kind| SpareState { kind, spare: None, start_at: None, backoff: backoff() };
        let places = SpareKind::ALL.map(place);
        Self { places, waits_for_version: false, refused: false, used: 0, cold: None }
    }
}

impl Spares {
    /// Waits for an event of a spare. Nothing is lost when the wait is given up.
    pub(super) async fn event(&mut self) -> (SpareKind, SpareEvent) {
        let [first, second] = &mut self.places;
        tokio::select! {
            event = first.event() => event,
            event = second.event() => event,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.places.iter().filter_map(SpareState::deadline).min()
    }

    /// Whether there is one.
    pub(super) fn has_any(&self) -> bool {
        self.places.iter().any(|place| place.spare.is_some())
    }

    /// The id of the conversation that the spare for a configuration would begin.
    pub(super) fn session_id(&self, config: &QueryConfig) -> Option<String> {
        let place = self.places.iter().find(|place| place.kind == SpareKind::of(config))?;
        place.spare.as_ref().map(|spare| spare.session_id().to_owned())
    }

    /// Takes the spare for a configuration.
    pub(super) fn take(&mut self, config: &QueryConfig) -> Option<Spare> {
        self.place(SpareKind::of(config)).and_then(|place| place.spare.take())
    }

    /// Puts one back that was not used.
    pub(super) fn put_back(&mut self, config: &QueryConfig, spare: Option<Spare>) {
        if let Some(place) = self.place(SpareKind::of(config)) {
            place.spare = spare;
        }
    }

    pub(super) fn kill_all(&mut self) {
        for place in &mut self.places {
            place.start_at = None;
            if let Some(spare) = &mut place.spare {
                spare.kill();
            }
        }
    }

    fn place(&mut self, kind: SpareKind) -> Option<&mut SpareState> {
        self.places.iter_mut().find(|place| place.kind == kind)
    }

    /// Has all spares started that are not there, one after the other.
    fn start_all(&mut self, now: Instant) {
        let empty = self.places.iter_mut().filter(|place| place.spare.is_none());
        let mut at = now;
        for place in empty {
            place.start_at = Some(place.start_at.map_or(at, |planned| planned.max(at)));
            at += APART;
        }
    }
}

impl Session {
    /// Has spares started, where that is asked for.
    pub(super) fn start_spares(&mut self, now: Instant) {
        if self.runtime.settings.prewarm.keeps_spare() {
            self.spares.start_all(now);
            self.on_spare_time(now);
        }
    }

    fn start_spare(&mut self, kind: SpareKind, now: Instant) {
        let is_wanted = !self.spares.refused && self.drain_deadline.is_none();
        if let Some(place) = self.spares.place(kind) {
            place.start_at = None;
        }
        if !is_wanted {
            return;
        }
        let version = match self.runtime.settings.demo {
            true => None,
            false => match self.cli_version.get(&self.runtime) {
                Answer::Known(version) => version,
                Answer::Asked => {
                    self.spares.waits_for_version = true;
                    return;
                }
            },
        };
        let started = Spare::start(&self.runtime, kind, version, now);
        let Some(place) = self.spares.place(kind) else { return };
        match started {
            Ok(spare) => place.spare = Some(spare),
            Err(error) => {
                warn!("no spare agent: {error}");
                // Without an agent to start there is nothing to try again.
                if error.may_heal() {
                    place.failed(now);
                }
            }
        }
    }

    /// The version of the CLI is known.
    pub(super) fn on_version_for_spares(&mut self, now: Instant) {
        if std::mem::take(&mut self.spares.waits_for_version) {
            self.start_spares(now);
        }
    }

    pub(super) fn on_spare(&mut self, kind: SpareKind, event: SpareEvent, now: Instant) {
        let is_wanted = !self.spares.refused && self.drain_deadline.is_none();
        let Some(place) = self.spares.place(kind) else { return };
        let Some(spare) = &mut place.spare else { return };
        if !spare.keep(event) {
            info!("the spare agent is of no use any more");
            place.spare = None;
            if is_wanted {
                place.failed(now);
            }
        } else if spare.is_ready() {
            place.backoff.succeeded();
        }
    }

    pub(super) fn on_spare_time(&mut self, now: Instant) {
        for kind in SpareKind::ALL {
            let Some(place) = self.spares.place(kind) else { continue };
            if place.spare.as_ref().is_some_and(|spare| now >= spare.started_at() + MAX_AGE) {
                place.spare = None;
                place.start_at = Some(now);
            }
            if place.start_at.is_some_and(|at| now >= at) {
                self.start_spare(kind, now);
            }
        }
    }

    /// Takes note of a start: a spare that was used is followed by another, and
    /// one whose conversation was begun without it is of no use.
    pub(super) fn on_start_with_spare(
        &mut self,
        config: &QueryConfig,
        spare: Option<Spare>,
        warmth: Warmth,
        now: Instant,
    ) {
        if !self.runtime.settings.prewarm.keeps_spare() {
            return;
        }
        let begun = self.agent.begins.as_deref();
        let refused = self.spares.refused;
        let Some(place) = self.spares.place(SpareKind::of(config)) else { return };
        let reason = match warmth {
            Warmth::Warm => {
                info!("the spare agent is used");
                place.start_at = Some(now + NEXT_AFTER);
                self.spares.used += 1;
                self.spares.cold = None;
                return;
            }
            Warmth::Cold(Some(reason)) => reason,
            Warmth::Cold(None) if refused => Cold::Refused,
            Warmth::Cold(None) => Cold::None,
        };
        info!("a cold start beside a spare agent: {reason}");
        let is_spent = |spare: &Spare| begun == Some(spare.session_id()) || reason == Cold::Changed;
        if spare.as_ref().is_some_and(is_spent) {
            place.start_at = Some(now + NEXT_AFTER);
        } else {
            place.spare = spare;
        }
        self.spares.cold = Some(reason);
    }

    /// A spare has not taken what was said late: there is no use in others.
    pub(super) fn refuse_spares(&mut self) {
        self.spares.refused = true;
        self.spares.kill_all();
    }

    /// Starts the work on a configuration that came before its client.
    pub(super) fn on_configured_early(&mut self, now: Instant) {
        let starts = self.runtime.settings.prewarm.starts_when_configured();
        if starts && self.client.is_none() && self.drain_deadline.is_none() {
            self.on_client_connected(now);
        }
    }

    /// `/health` about the spares; `None` where none is asked for.
    pub(super) fn spare_health(&self, now: Instant) -> Option<Value> {
        let mode = self.runtime.settings.prewarm;
        if !mode.starts_when_configured() {
            return None;
        }
        let mut health = json!({
            "mode": mode.as_str(),
            "used": self.spares.used,
            "cold": self.spares.cold.as_ref().map(Cold::to_string),
        });
        if mode.keeps_spare() {
            let spares: Vec<Value> =
                self.spares.places.iter().map(|place| place.health(now)).collect();
            // The sum of what is told of each, since a spare's memory changes all the time.
            let memory = spares.iter().filter_map(|spare| spare["memory_bytes"].as_u64());
            health["memory_bytes"] = memory.sum::<u64>().into();
            health["spares"] = spares.into();
        }
        Some(health)
    }
}
