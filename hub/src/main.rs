//! The hub's program: arguments, settings, the listening socket, the shutdown.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use claude_relay_hub::Sandboxes;
use claude_relay_hub::http;
use claude_relay_hub::hub::Hub;
use claude_relay_hub::settings::{Args, Settings, SettingsError};
use claude_relay_hub::store::{Store, StoreError};
use claude_relay_listen::accept;
use claude_relay_listen::log::{self, BadFilter, LogFormat};
use claude_relay_protocol::Secret;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code for an invalid flag or variable.
const EXIT_USAGE: u8 = 2;

/// Reason for which the hub could not start.
#[derive(Debug, thiserror::Error)]
enum StartupError {
    #[error("{0}")]
    Settings(#[from] SettingsError),
    #[error("--log (RELAY_HUB_LOG): {0}")]
    Log(#[from] BadFilter),
    #[error("{0}: {source}", source = source_of(.0))]
    Store(#[from] StoreError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: io::Error },
    #[cfg(feature = "e2b")]
    #[error("--e2b-template: {0}")]
    Sandboxes(String),
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

#[cfg(feature = "e2b")]
fn sandboxes(settings: &Settings) -> Result<Option<Sandboxes>, StartupError> {
    let Some(template) = &settings.e2b_template else { return Ok(None) };
    let opened = Sandboxes::open(template, settings.max_running);
    opened.map(Some).map_err(|error| StartupError::Sandboxes(error.to_string()))
}

#[cfg(not(feature = "e2b"))]
fn sandboxes(_settings: &Settings) -> Result<Option<Sandboxes>, StartupError> {
    Ok(None)
}

fn source_of(error: &StoreError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is closed, the exit code reports the failure.
            let _ = writeln!(io::stderr(), "error: {error}");
            match error {
                StartupError::Settings(_) | StartupError::Log(_) => ExitCode::from(EXIT_USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn start(args: Args) -> Result<(), StartupError> {
    log::start(&args.log, LogFormat::Text)?;
    let settings = Settings::new(args)?;
    // The memory of this process holds the token.
    claude_relay_system::hide_memory();
    // One thread, as in the relay: the work is moving bytes.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(run(settings));
    runtime.shutdown_background();
    ended
}

async fn run(settings: Settings) -> Result<(), StartupError> {
    let store = Store::open(&settings.directory)?;
    let sandboxes = sandboxes(&settings)?;
    let is_drawn = settings.token.is_none();
    let token = match &settings.token {
        Some(token) => token.clone(),
        None => Secret::from(store.token()?),
    };
    let address = format!("{}:{}", settings.host, settings.port);
    let listener = accept::bind(&settings.host, settings.port)
        .await
        .map_err(|source| StartupError::Listen { address, source })?;
    let bound = listener.local_addr()?;
    if settings.has_pin {
        tracing::warn!(
            "the token is the SHA-256 of a PIN, which can be guessed: use --pin on a machine of your own alone"
        );
    }
    let mut signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let _ignored: Signal = signal(SignalKind::hangup())?;
    let hub = Hub::start(settings, store, sandboxes)?;
    let shown = if is_drawn { format!("#token={}", token.expose()) } else { String::new() };
    let serving = http::serve(listener, Arc::clone(&hub), token);
    let mut out = io::stdout().lock();
    // A closed stdout is not an error.
    let _ = writeln!(
        out,
        "listening on http://{bound}\n  page:      http://{bound}/{shown}\n  websocket: ws://{bound}/"
    );
    let _ = out.flush();
    drop(out);
    let [terminate, interrupt] = &mut signals;
    tokio::select! {
        () = serving => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending");
    tokio::select! {
        () = hub.shut_down() => {}
        _ = terminate.recv() => tracing::warn!("told twice: ended at once"),
        _ = interrupt.recv() => tracing::warn!("told twice: ended at once"),
    }
    Ok(())
}
