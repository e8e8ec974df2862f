//! From arguments to a client whose server runs in a sandbox.

use std::time::Duration;

use claude_relay_client::e2b::E2b;
use claude_relay_client::{
    Client, Configuration, ConnectError, ConnectionError, ConnectionState, SandboxError,
};

use super::{explain, start, with_person, with_settings};
use crate::args::{E2bArgs, ServerArgs};
use crate::exit::{Exit, with_causes};
use crate::signals::Signals;
use crate::terminal::Terminal;

/// How long it is waited for what a failed start has left to clean up: an
/// answer that was lost is looked after for half a minute.
const CLEANUP: Duration = Duration::from_secs(40);

/// How long that takes before it is told.
const TOLD_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn connect(
    args: &ServerArgs,
    configuration: Configuration,
    interactive: bool,
    terminal: &Terminal,
    signals: &mut Signals,
) -> Result<Client, Exit> {
    let e2b = super::account(args)?;
    let E2bArgs { template, keep, attach, e2b_timeout, .. } = &args.e2b;
    let (builder, what) = match attach {
        Some(id) => {
            let builder = Client::attach(id.as_str()).from_now();
            (builder, format!("coming back to the sandbox {id}"))
        }
        None => {
            let pause_it = *keep;
            let builder = Client::builder()
                .template(template.as_deref().unwrap_or_default())
                .key_in_sandbox(args.e2b.e2b_key_inside)
                .configure_sandbox(move |new| new.auto_pause = pause_it);
            let builder = match &args.e2b.e2b_allow {
                Some(hosts) => builder.e2b_allow(hosts),
                None => builder,
            };
            (builder, "starting a sandbox".to_owned())
        }
    };
    let builder = with_settings(builder, args)?
        .e2b(e2b.clone())
        .sandbox_timeout(*e2b_timeout)
        .configuration(configuration);
    let builder = with_person(builder, interactive);
    if args.verbose > 0 {
        terminal.note(&what);
    }
    let started = tokio::select! {
        started = start(builder, args, terminal) => started.map_err(|error| failed(error, args)),
        signal = signals.next() => Err(signal.exit()),
    };
    match started {
        Ok(client) => {
            if args.verbose > 0
                && let Some(sandbox) = client.sandbox()
            {
                terminal.note(&format!("connected to the sandbox {}", sandbox.id()));
            }
            Ok(client)
        }
        Err(exit) => {
            let told = async {
                tokio::time::sleep(TOLD_AFTER).await;
                terminal.note("waiting until no sandbox is left; a signal twice leaves at once");
                std::future::pending().await
            };
            let cleaned_up = tokio::select! {
                done = e2b.wait_for_cleanup(CLEANUP) => done,
                () = insistence(&exit, signals, terminal) => false,
                never = told => never,
            };
            if !cleaned_up {
                terminal.complain(&left(&e2b));
                return Err(exit.and_left_running());
            }
            Err(exit)
        }
    }
}

/// Tells of what a failed start has left, or may have.
fn left(e2b: &E2b) -> String {
    let ids: Vec<String> = e2b.unended().iter().map(ToString::to_string).collect();
    match ids.as_slice() {
        [] => "a sandbox may be left: see `claude-relay e2b ls`".to_owned(),
        ids => format!("left, until its time is over: `claude-relay e2b kill {}`", ids.join(" ")),
    }
}

/// Waits until somebody is in a hurry, which a second signal says. The first may
/// have ended the start or the turn.
async fn insistence(exit: &Exit, signals: &mut Signals, terminal: &Terminal) {
    if !exit.is_by_signal() {
        signals.next().await;
        terminal.note("ending the sandbox first; another signal leaves at once");
    }
    signals.next().await;
}

/// A template that does not exist is what everybody meets first.
fn failed(error: ConnectError, args: &ServerArgs) -> Exit {
    let unknown = matches!(
        &error,
        ConnectError::Sandbox(SandboxError::Api(inner))
            if matches!(**inner, claude_relay_client::e2b::Error::NotFound(_))
    );
    let told = with_causes(&error);
    let exit = explain(error, args);
    match (unknown, &args.e2b.template) {
        (true, None) => exit.saying(format!("{told} (`claude-relay-e2b build` builds it)")),
        _ => exit,
    }
}

/// Ends the sandbox, or leaves it. The exit code tells
/// when neither is certain.
pub(super) async fn leave(
    client: &Client,
    args: &E2bArgs,
    exit: Exit,
    terminal: &Terminal,
    signals: &mut Signals,
) -> Exit {
    if args.keep || args.attach.is_some() {
        match client.detach().await {
            Ok(id) if args.keep => terminal.fact(&format!("SANDBOX_ID={id}")),
            Ok(_) => {}
            Err(error) => terminal.complain(&with_causes(&error)),
        }
        return exit;
    }
    let id = client.sandbox().map(|sandbox| sandbox.id().to_string()).unwrap_or_default();
    let taken = taken_by_others(&client.connection().borrow());
    if let Some(what) = taken {
        client.stop().await;
        terminal.note(&format!("the sandbox {id} was {what}"));
        return exit;
    }
    let why = tokio::select! {
        killed = client.kill() => match killed {
            Ok(()) => return exit,
            Err(error) => with_causes(&error),
        },
        () = insistence(&exit, signals, terminal) => "its end was not waited for".to_owned(),
    };
    terminal.complain(&format!("the sandbox {id} lives until its time is over: {why}"));
    exit.and_left_running()
}

/// Returns what somebody has done on purpose with the sandbox, if that is why the
/// connection has ended: it is theirs then.
fn taken_by_others(connection: &ConnectionState) -> Option<&'static str> {
    match connection {
        ConnectionState::Ended(ConnectionError::Sandbox(SandboxError::Paused { .. })) => {
            Some("paused elsewhere and is left as it is")
        }
        // Busy: taken while this client was away.
        ConnectionState::Ended(ConnectionError::Replaced { .. } | ConnectionError::Busy { .. }) => {
            Some("taken over elsewhere and is left to that client")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_that_somebody_else_has_is_left_to_them() {
        let (message, sandbox) = (String::new(), String::new());
        let taken = |error| taken_by_others(&ConnectionState::Ended(error));
        for theirs in [
            ConnectionError::Replaced { message: message.clone() },
            ConnectionError::Busy { message },
            SandboxError::Paused { sandbox: sandbox.clone() }.into(),
        ] {
            assert!(taken(theirs.clone()).is_some(), "{theirs:?}");
        }
        for ours in [ConnectionError::Stopped, SandboxError::Expired { sandbox }.into()] {
            assert_eq!(taken(ours), None);
        }
        assert_eq!(taken_by_others(&ConnectionState::Connected), None);
    }
}
