//! Advice on errors of the connection.

use claude_relay_client::{ConnectError, ConnectionError, Error, RequestError};

use crate::args::ServerArgs;
use crate::exit::Exit;

const TAKEN_OVER: &str = "another client has taken over";
const UNAUTHORIZED: &str = "the server wants another token (401)";

/// The end of the program by the end of its connection, with what to do.
pub(crate) fn explain_end(error: ConnectionError) -> Exit {
    let advice = match &error {
        ConnectionError::Replaced { .. } => {
            Some("--takeover takes the slot back, -c goes on with the conversation")
        }
        ConnectionError::ReconnectFailed { .. } => {
            Some("`claude-relay health` tells when the server is there again")
        }
        _ => None,
    };
    let words = matches!(error, ConnectionError::Replaced { .. }).then(|| TAKEN_OVER.to_owned());
    let exit = Exit::from(Error::from(error));
    let exit = match words {
        Some(words) => exit.saying(words),
        None => exit,
    };
    with_advice(exit, advice)
}

/// The end of the program by an error of the connection, with what to do.
pub(crate) fn explain(error: impl Into<ConnectError>, args: &ServerArgs) -> Exit {
    let error = error.into();
    let hint = hint(&error, args);
    let wants_token = matches!(error, ConnectError::Request(RequestError::Unauthorized { .. }));
    let exit = Exit::from(error);
    // The server's words are for those who write the request themselves.
    let exit =
        if wants_token && hint.is_some() { exit.saying(UNAUTHORIZED.to_owned()) } else { exit };
    with_advice(exit, hint.as_deref())
}

fn with_advice(exit: Exit, advice: Option<&str>) -> Exit {
    match (advice, exit.message()) {
        (Some(advice), Some(message)) => {
            let message = format!("{message}\n{advice}");
            exit.saying(message)
        }
        _ => exit,
    }
}

fn hint(error: &ConnectError, args: &ServerArgs) -> Option<String> {
    if let Some(hint) = hint_anywhere(error) {
        return Some(hint);
    }
    if args.e2b.is_wanted() {
        return None;
    }
    let has_token = args.token.as_deref().is_some_and(|token| !token.is_empty());
    Some(match error {
        ConnectError::Request(RequestError::Connect { .. } | RequestError::NotARelay { .. }) => {
            format!(
                "Is a server there? Start claude-relay-server, or name its address with --url or CLAUDE_RELAY_URL (now {})",
                args.url
            )
        }
        ConnectError::Request(RequestError::Unauthorized { .. }) if has_token => {
            "The token of --token or CLAUDE_RELAY_TOKEN is wrong: it is the server's --auth-token"
                .to_owned()
        }
        ConnectError::Request(RequestError::Unauthorized { .. }) => {
            "The server wants a token: set CLAUDE_RELAY_TOKEN to its --auth-token".to_owned()
        }
        ConnectError::Request(RequestError::InsecureTransport { .. }) => {
            "Use an https address; --allow-plaintext sends it all the same".to_owned()
        }
        _ => return None,
    })
}

/// The advice that holds for any server, also for one in a sandbox.
fn hint_anywhere(error: &ConnectError) -> Option<String> {
    Some(match error {
        ConnectError::Request(RequestError::Proxy { variable, .. }) => {
            format!("{variable} names the proxy; NO_PROXY=HOST goes past it")
        }
        ConnectError::Request(RequestError::Tls { .. }) => {
            "A certificate of your own is trusted with --ca-certificate FILE".to_owned()
        }
        ConnectError::Busy { .. } => {
            "--wait 5m waits for its end, --takeover takes the other client's place".to_owned()
        }
        _ => return None,
    })
}
