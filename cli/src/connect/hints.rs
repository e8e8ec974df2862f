//! Advice on errors of the connection.

use claude_relay_client::Error;

use crate::args::ServerArgs;
use crate::exit::{Exit, innermost};

/// The end of the program by an error of the connection, with what to do.
pub(crate) fn explain(error: Error, args: &ServerArgs) -> Exit {
    let hint = hint(innermost(&error), args);
    let exit = Exit::from(error);
    match (hint, exit.message()) {
        (Some(hint), Some(message)) => {
            let message = format!("{message}\n{hint}");
            exit.saying(message)
        }
        _ => exit,
    }
}

fn hint(error: &Error, args: &ServerArgs) -> Option<String> {
    if args.e2b.is_wanted() {
        return None;
    }
    let has_token = args.token.as_deref().is_some_and(|token| !token.is_empty());
    Some(match error {
        Error::Connect { .. } | Error::NotARelay { .. } => format!(
            "Is a server there? Start claude-relay-server, or name its address with --url or CLAUDE_RELAY_URL (now {})",
            args.url
        ),
        Error::Proxy { variable, .. } => {
            format!("{variable} names the proxy; NO_PROXY=HOST goes past it")
        }
        Error::Unauthorized { .. } if has_token => {
            "The token of --token or CLAUDE_RELAY_TOKEN is wrong: it is the server's --auth-token"
                .to_owned()
        }
        Error::Unauthorized { .. } => {
            "The server wants a token: set CLAUDE_RELAY_TOKEN to its --auth-token".to_owned()
        }
        Error::Tls { .. } => {
            "A certificate of your own is trusted with --ca-certificate FILE".to_owned()
        }
        Error::InsecureTransport { .. } => {
            "Use an https address; --allow-plaintext sends it all the same".to_owned()
        }
        Error::Busy { .. } => "--takeover takes the other client's place".to_owned(),
        _ => return None,
    })
}
