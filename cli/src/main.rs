//! `claude-relay`: talks to an agent behind a relay from a terminal or a script.
//!
//! Answers go to stdout, everything else to stderr.

mod agent;
mod args;
mod ask;
mod chat;
mod connect;
mod console;
mod conversations;
mod cp;
mod dialog;
mod e2b;
mod exit;
mod files;
mod health;
mod inspect;
mod markdown;
mod person;
mod private;
mod render;
mod server_errors;
mod signals;
mod terminal;
mod trace;
mod turn;
mod watch;

use std::process::ExitCode;

use crate::args::{Args, Color, Command};
use crate::exit::Exit;
use crate::terminal::Terminal;

fn main() -> ExitCode {
    if let Some(args) = agent::arguments(std::env::args_os()) {
        return agent::run(args);
    }
    let (terminal, exit) = match Args::read() {
        Ok(args) => {
            let terminal = Terminal::new(args.server.color);
            let exit = run(args, &terminal).unwrap_or_else(|exit| exit);
            (terminal, exit)
        }
        Err(exit) => (Terminal::new(Color::Auto), exit),
    };
    if let Some(message) = exit.message() {
        terminal.complain(message);
    }
    ExitCode::from(exit.code())
}

/// `Ok` and `Err` are both ends of the program; `?` leads to one at once.
fn run(args: Args, terminal: &Terminal) -> Result<Exit, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Exit::failed(format!("cannot start: {error}")))?;
    let server = args.server;
    let exit = match args.command {
        None => runtime.block_on(ask::ask(&server, args.ask, terminal)),
        Some(Command::Ask(ask)) => runtime.block_on(ask::ask(&server, ask, terminal)),
        Some(Command::Chat(chat)) => runtime.block_on(chat::chat(&server, chat, terminal)),
        Some(Command::Cp { from, to }) => runtime.block_on(cp::cp(&server, &from, &to, terminal)),
        Some(Command::Watch { json }) => runtime.block_on(watch::watch(&server, json, terminal)),
        Some(Command::Conversations { id, limit }) => {
            runtime.block_on(conversations::run(&server, id.as_deref(), limit, terminal))
        }
        Some(Command::Config { command }) => {
            runtime.block_on(inspect::config(&server, command, terminal))
        }
        Some(Command::E2b { command }) => runtime.block_on(e2b::run(&server, command, terminal)),
        Some(Command::Health { json }) => {
            runtime.block_on(inspect::health(&server, json, terminal))
        }
        Some(Command::Completions { shell }) => inspect::completions(shell, terminal),
        Some(Command::Man { subcommand }) => inspect::man(subcommand.as_deref(), terminal),
        Some(Command::Skill) => inspect::skill(terminal),
    };
    // A line that is still being read from the terminal is no reason to stay.
    runtime.shutdown_background();
    exit
}
