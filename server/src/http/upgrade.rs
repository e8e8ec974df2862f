//! Upgraded connections, and the actors that they are for.

use std::borrow::Cow;

use claude_relay_listen::answer::Refusal;
use claude_relay_listen::upgrade::Handshake;
use claude_relay_listen::ws::{self, MESSAGE_LIMIT, Parser};
use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::run::is_run_id;
use hyper::StatusCode;
use percent_encoding::percent_decode_str;

use crate::runs::{self, Named, RunConnect, RunHandle};
use crate::session::SessionHandle;
use crate::session::channels::{Attach, Replay};
use crate::session::replay::Features;
use crate::ws::serve_session;

/// An accepted handshake, and the actor that the connection is for.
#[derive(Debug)]
pub struct Upgraded {
    handshake: Handshake,
    target: Target,
}

/// The actor that a connection is for.
#[derive(Debug)]
pub(super) enum Target {
    Session(Attach),
    Run { run: RunHandle, after: u64 },
    RawRun { run: RunHandle, config: Box<QueryConfig> },
}

impl Upgraded {
    pub(super) fn new(handshake: Handshake, target: Target) -> Self {
        Self { handshake, target }
    }
}

/// Serves an upgraded connection until it ends.
pub async fn serve_websocket(upgraded: Upgraded, session: SessionHandle) {
    let Upgraded { handshake, target } = upgraded;
    let Some((stream, read, _places)) = handshake.complete().await else { return };
    let large = session.large_messages();
    match target {
        Target::Session(attach) => serve_session(stream, read, session, attach).await,
        Target::Run { run, after } => {
            let parser =
                Parser { parse: runs::numbered, limit: MESSAGE_LIMIT, large, keeps_raw: false };
            ws::serve(stream, read, parser, |channels, accepted| async move {
                run.connect(RunConnect { after, config: None, channels, accepted }).await
            })
            .await;
        }
        Target::RawRun { run, config } => {
            let parser = Parser { parse: runs::raw, limit: MESSAGE_LIMIT, large, keeps_raw: false };
            ws::serve(stream, read, parser, |channels, accepted| async move {
                let config = Some(config);
                run.connect(RunConnect { after: 0, config, channels, accepted }).await
            })
            .await;
        }
    }
}

/// Reads the name of a run; `None` asks for a raw connection.
pub(super) fn named_run(query: &str) -> Result<Option<Named>, Refusal> {
    let bad = |error: &'static str| Refusal::new(StatusCode::BAD_REQUEST, error);
    let (mut id, mut after) = (None, 0);
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        match name {
            "run" if !is_run_id(&value) => {
                return Err(bad("run: expected 16 to 64 letters, digits, - and _"));
            }
            "run" => id = Some(value.into_owned()),
            "after" => {
                after = value.parse().map_err(|_| bad("after: expected a whole number"))?;
            }
            // `AccessPolicy` checks the token. Unknown parameters are ignored.
            _ => {}
        }
    }
    Ok(id.map(|id| Named { id, after }))
}

pub(super) fn attach(query: &str) -> Result<Attach, Refusal> {
    let bad = |error: &'static str| Refusal::new(StatusCode::BAD_REQUEST, error);
    let (mut after, mut stream) = (None, None);
    let (mut takeover, mut configures, mut watches) = (false, false, false);
    let mut features = Features::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        match name {
            "after" => {
                after = Some(value.parse().map_err(|_| bad("after: expected a whole number"))?);
            }
            "stream" => stream = Some(value.into_owned()),
            "takeover" => {
                takeover = flag(&value).ok_or_else(|| bad("takeover: expected true or false"))?;
            }
            "configure" => {
                configures =
                    flag(&value).ok_or_else(|| bad("configure: expected true or false"))?;
            }
            "watch" => {
                watches = flag(&value).ok_or_else(|| bad("watch: expected true or false"))?;
            }
            "supports" => features = Features::parse(&value),
            // `AccessPolicy` checks the token. Unknown parameters are ignored.
            _ => {}
        }
    }
    if watches && (takeover || configures) {
        return Err(bad("watch: a watcher neither takes the slot over nor configures"));
    }
    let replay = after.map(|after| Replay { after, stream });
    Ok(Attach { replay, takeover, features, configures, watches })
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Decodes a value. Percent signs that begin no valid escape stay.
fn decode(value: &str) -> Cow<'_, str> {
    percent_decode_str(value).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::replay::Feature;

    #[test]
    fn the_query_is_parsed() {
        assert_eq!(attach("").unwrap(), Attach::default());
        assert_eq!(
            attach("token=x&after=5&stream=a%62c&takeover=true").unwrap(),
            Attach {
                replay: Some(Replay { after: 5, stream: Some("abc".into()) }),
                takeover: true,
                features: Features::default(),
                configures: false,
                watches: false,
            }
        );
        assert!(attach("configure=true").unwrap().configures);
        assert!(attach("watch=true&after=0").unwrap().watches);
        assert!(!attach("watch=false").unwrap().watches);
        assert_eq!(attach("stream=x").unwrap().replay, None);
        let features = attach("supports=agent_state,%69nput,x").unwrap().features;
        assert!(features.has(Feature::AgentState) && features.has(Feature::Input));
        assert!(!features.has(Feature::Questions));
        for query in [
            "after=",
            "after=-1",
            "after=x",
            "after=1e3",
            "after=99999999999999999999",
            "takeover=maybe",
            "takeover",
            "takeover=",
            "takeover=1",
            "configure",
            "configure=1",
            "watch",
            "watch=1",
            "watch=true&takeover=true",
            "watch=true&configure=true",
        ] {
            assert_eq!(attach(query).unwrap_err().status, StatusCode::BAD_REQUEST, "{query}");
        }
    }

    #[test]
    fn percent_escapes_are_decoded() {
        assert_eq!(decode("a%20b%"), "a b%");
        assert_eq!(decode("%zz%2"), "%zz%2");
    }
}
