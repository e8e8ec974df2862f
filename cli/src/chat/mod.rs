//! Talking back and forth.

mod commands;
mod input;
mod outcome;
mod session;

use std::path::PathBuf;

use claude_relay_client::Client;

use self::input::Input;
use self::session::Session;
use crate::args::{ChatArgs, ServerArgs};
use crate::connect::{configuration, connect, leave};
use crate::console::{Console, History};
use crate::exit::Exit;
use crate::files::Files;
use crate::person::Person;
use crate::signals::Signals;
use crate::terminal::Terminal;

pub(crate) async fn chat(
    server: &ServerArgs,
    args: ChatArgs,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let configuration = configuration(&args.turn)?;
    // At a terminal there is somebody to ask.
    let asks = args.turn.interactive_approvals || Console::stdin_is_terminal();
    let mut signals = Signals::new()?;
    let connected = connect(server, configuration, asks, terminal, &mut signals).await?;
    let files = Files { workspace: connected.0.workspace(), server, terminal };
    let sent = tokio::select! {
        sent = files.send(&args.turn) => sent,
        signal = signals.next() => Err(signal.exit()),
    };
    // However it goes: a sandbox must not be left behind.
    let exit = match sent {
        Ok(()) => {
            let exit = converse(&connected.0, server, &args, terminal, &mut signals).await;
            let exit = exit.unwrap_or_else(|exit| exit);
            files.fetch(&args.turn, exit, &mut signals).await
        }
        Err(exit) => exit,
    };
    Ok(leave(&connected, server, exit, terminal, &mut signals).await)
}

async fn converse(
    client: &Client,
    server: &ServerArgs,
    args: &ChatArgs,
    terminal: &Terminal,
    signals: &mut Signals,
) -> Result<Exit, Exit> {
    let (person, pipe) = if Console::stdin_is_terminal() {
        let console = Console::terminal(false)
            .map_err(|error| Exit::failed(format!("cannot use the terminal: {error}")))?;
        (Person::at(console), None)
    } else {
        (Person::new(), Some(Console::pipe()))
    };
    let mut input = Input::new(pipe, History::load(history_file(args)));
    let mut session = Session::new(client, args, server, terminal, person);
    let exit = session.run(&mut input, signals).await;
    if let Err((path, error)) = input.history().save() {
        terminal.complain(&format!("the history is not saved in {}: {error}", path.display()));
    }
    Ok(exit)
}

/// The file that keeps what was typed.
#[allow(
    clippy::disallowed_methods,
    reason = "where a user's state belongs is a convention of the system and no setting of ours"
)]
fn history_file(args: &ChatArgs) -> Option<PathBuf> {
    if args.no_history {
        return None;
    }
    if let Some(path) = &args.history {
        return Some(path.clone());
    }
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    let folder = state.join("claude-relay");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
