//! From arguments to a client.

mod configuration;
mod e2b;
pub(crate) mod fresh;
mod hints;
mod overlay;
mod trouble;

use std::time::{Duration, Instant};

use claude_relay_client::e2b::{E2b, Options};
use claude_relay_client::{
    Client, ClientBuilder, Configuration, ConnectError, ConnectionState, Decision, Error,
};

pub(crate) use self::configuration::configuration;
pub(crate) use self::hints::{explain, explain_end};
pub(crate) use self::overlay::Overlay;
pub(crate) use self::trouble::Trouble;
use crate::args::ServerArgs;
use crate::ask::prompt::read_file;
use crate::exit::{Exit, with_causes};
use crate::person::NOBODY_TO_ASK;
use crate::signals::Signals;
use crate::terminal::Terminal;
use crate::trace::Trace;

/// The pauses between two attempts of `--wait`.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The server's part of the settings.
pub(crate) fn builder(args: &ServerArgs) -> Result<ClientBuilder, Exit> {
    with_settings(Client::builder().connection_url(&args.url).environment(false), args)
}

/// Applies the settings that hold for any address.
fn with_settings(builder: ClientBuilder, args: &ServerArgs) -> Result<ClientBuilder, Exit> {
    let mut builder = builder
        .allow_plaintext(args.allow_plaintext)
        .takeover(args.takeover)
        .connect_timeout(args.connect_timeout);
    if let Some(token) = args.token.as_deref().filter(|token| !token.is_empty()) {
        builder = builder.token(token);
    }
    for (name, value) in &args.headers {
        builder = builder.header(name, value);
    }
    for certificate in root_certificates(args)? {
        builder = builder.root_certificate(certificate);
    }
    if let Some(trace) = Trace::new(args.ndjson_file.as_deref(), args.verbose >= 2)? {
        builder = builder.on_traffic(move |direction, text| trace.record(direction, text));
    }
    Ok(builder)
}

/// The certificates, in PEM, to trust beside the platform's.
fn root_certificates(args: &ServerArgs) -> Result<Vec<Vec<u8>>, Exit> {
    let path = args.ca_certificate.as_deref();
    path.map(|path| read_file(path, "--ca-certificate")).into_iter().collect()
}

/// The account at E2B.
pub(crate) fn account(args: &ServerArgs) -> Result<E2b, Exit> {
    let root_certificates = root_certificates(args)?;
    let options = Options { root_certificates, ..Options::default() };
    let settings = options.resolve().map_err(claude_relay_client::e2b::Error::from);
    Ok(settings.and_then(E2b::new).map_err(Error::from)?)
}

/// A client, and what its options have covered at the server.
pub(crate) type Connected = (Client, Option<Overlay>);

/// Connects. The configuration is laid over the server's if it says anything, until
/// [`leave`]; only then does the key of this program's environment go with it, and
/// only to a server that has none.
pub(crate) async fn connect(
    args: &ServerArgs,
    configuration: Configuration,
    interactive: bool,
    terminal: &Terminal,
    signals: &mut Signals,
) -> Result<Connected, Exit> {
    if args.e2b.is_wanted() {
        let client = e2b::connect(args, configuration, interactive, terminal, signals).await?;
        return Ok((client, None));
    }
    let mut builder = with_person(builder(args)?, interactive);
    if args.verbose > 0 {
        terminal.note(&format!("connecting to {}", args.url));
    }
    let mut overlay = None;
    if !configuration.is_empty() {
        overlay = tokio::select! {
            overlay = Overlay::look(&builder, &configuration) => {
                overlay.map_err(|error| explain(error, args))?
            }
            signal = signals.next() => return Err(signal.exit()),
        };
        let has_credential = overlay.as_ref().is_some_and(|overlay| overlay.has_credential);
        builder = builder.environment(!has_credential);
        builder = builder.configuration(configuration).merge_configuration(true);
    }
    let started = tokio::select! {
        client = start(builder, args, terminal) => client.map_err(|error| explain(error, args)),
        signal = signals.next() => Err(signal.exit()),
    };
    match started {
        Ok(client) => {
            if args.verbose > 0 {
                terminal.note("connected");
            }
            Ok((client, overlay))
        }
        Err(exit) => {
            take_back(overlay.as_ref(), terminal, signals).await;
            Err(exit)
        }
    }
}

/// Starts a client; while another one holds the slot, again until the time of
/// `--wait` is over.
async fn start(
    builder: ClientBuilder,
    args: &ServerArgs,
    terminal: &Terminal,
) -> Result<Client, ConnectError> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match builder.clone().start().await {
            Err(error @ ConnectError::Busy { .. }) => error,
            other => return other,
        };
        let left = args.wait.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(error);
        }
        if pause == FIRST_PAUSE {
            terminal.note("another client is connected; waiting for its end");
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Puts what the agent asks to the person at the terminal, or says that there is
/// nobody.
fn with_person(builder: ClientBuilder, interactive: bool) -> ClientBuilder {
    if interactive {
        builder.questions(true)
    } else {
        builder.on_permission(|_| async { Decision::deny(NOBODY_TO_ASK) })
    }
}

/// Takes the options of this call back.
async fn take_back(overlay: Option<&Overlay>, terminal: &Terminal, signals: &mut Signals) {
    let Some(overlay) = overlay else { return };
    let why = tokio::select! {
        done = overlay.take_back() => match done {
            Ok(()) => return,
            Err(error) => with_causes(&error),
        },
        // Somebody is in a hurry.
        _ = signals.next() => "their removal was not waited for".to_owned(),
    };
    terminal
        .complain(&format!("the options of this call stay in the server's configuration: {why}"));
}

/// Takes the options of this call back and closes the connection. A sandbox ends
/// with that, or is left as it was asked for. Returns the end of the program,
/// which `exit` would be.
pub(crate) async fn leave(
    (client, overlay): &Connected,
    args: &ServerArgs,
    exit: Exit,
    terminal: &Terminal,
    signals: &mut Signals,
) -> Exit {
    if args.e2b.is_wanted() {
        return e2b::leave(client, &args.e2b, exit, terminal, signals).await;
    }
    take_back(overlay.as_ref(), terminal, signals).await;
    tokio::select! {
        () = client.stop() => {}
        // Somebody is in a hurry; the server sees the end of the connection.
        _ = signals.next() => {}
    }
    exit
}

/// Tells of a connection that breaks and comes back: each cause once.
#[derive(Default)]
pub(crate) struct Breaks {
    told: Option<String>,
}

impl Breaks {
    pub(crate) fn describe(&mut self, connection: &ConnectionState) -> Option<String> {
        match connection {
            ConnectionState::Reconnecting { attempt, cause } => {
                let cause = with_causes(cause);
                if self.told.as_ref() == Some(&cause) {
                    return None;
                }
                let text = match attempt {
                    1 => format!("the connection broke, coming back: {cause}"),
                    _ => format!("still coming back: {cause}"),
                };
                self.told = Some(cause);
                Some(text)
            }
            ConnectionState::Connected => self.told.take().map(|_| "connected again".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use claude_relay_client::ConnectionError;

    use super::*;

    #[test]
    fn a_break_is_told_once_for_each_cause_and_so_is_its_end() {
        let mut breaks = Breaks::default();
        let lost = |attempt, code| ConnectionState::Reconnecting {
            attempt,
            cause: ConnectError::Connection(ConnectionError::Closed {
                code,
                reason: String::new(),
            }),
        };
        let connected = ConnectionState::Connected;
        assert_eq!(breaks.describe(&connected), None);
        assert!(breaks.describe(&lost(1, 1006)).is_some_and(|text| text.contains("1006")));
        assert_eq!(breaks.describe(&lost(2, 1006)), None);
        assert!(breaks.describe(&lost(3, 1011)).is_some_and(|text| text.starts_with("still")));
        assert_eq!(breaks.describe(&lost(4, 1011)), None);
        assert_eq!(breaks.describe(&connected).as_deref(), Some("connected again"));
        assert_eq!(breaks.describe(&connected), None);
    }
}
