//! `claude-relay-e2b`: builds the E2B template of claude-relay.

mod command;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use command::Failure;
use command::args::{Arguments, Command};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    let done = match arguments.command {
        Command::Build(arguments) => command::build::run(&arguments).await,
        Command::Rehearse(arguments) => command::rehearse::run(&arguments).await,
        Command::Completions { shell } => completions(shell),
        Command::Man { command } => man(command.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = claude_relay_e2b::strip_ansi::strip_ansi(failure.text());
            // Nothing can be done if stderr is closed.
            let _ = writeln!(std::io::stderr(), "claude-relay-e2b: {text}");
            ExitCode::from(failure.code())
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "claude-relay-e2b", &mut text);
    Ok(std::io::stdout().write_all(&text)?)
}

/// Each command has its own page, as its parent's page refers to it.
fn man(name: Option<&str>) -> Result<(), Failure> {
    let mut root = Arguments::command();
    root.build();
    let page = match name {
        None => root,
        Some(name) => root
            .find_subcommand(name)
            .ok_or_else(|| Failure::Usage(format!("there is no command {name:?}")))?
            .clone(),
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text)?;
    Ok(std::io::stdout().write_all(&text)?)
}
