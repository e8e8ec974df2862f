//! `claude-relay e2b`: the sandboxes in E2B's cloud.

use std::time::{Duration, SystemTime};

use claude_relay_client::Error;
use claude_relay_client::e2b::{E2b, Filter, Killed, Paused, SandboxId, SandboxInfo, orphans};

use crate::args::{E2bCommand, KillArgs, ServerArgs};
use crate::connect::account;
use crate::exit::Exit;
use crate::terminal::Terminal;

pub(crate) async fn run(
    server: &ServerArgs,
    command: E2bCommand,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let e2b = account(server)?;
    match command {
        E2bCommand::Ls { all } => ls(&e2b, all, terminal).await,
        E2bCommand::Kill(args) => kill(&e2b, args, terminal).await,
        E2bCommand::Pause { ids } => {
            let mut exit = Ok(Exit::OK);
            for id in ids {
                let said = match e2b.pause(&id).await {
                    Ok(Paused::Now) => Ok(format!("{id} is paused")),
                    Ok(Paused::Already) => Ok(format!("{id} was paused already")),
                    Err(error) => Err(error),
                };
                tell(said, &mut exit, terminal)?;
            }
            exit
        }
        E2bCommand::Resume { ids, lifetime } => {
            let mut exit = Ok(Exit::OK);
            for id in ids {
                let said = e2b.connect(&id, lifetime).await;
                let said = said.map(|_| format!("{id} runs, for {} more", length(lifetime)));
                tell(said, &mut exit, terminal)?;
            }
            exit
        }
        E2bCommand::Logs { id } => {
            for line in e2b.logs(&id).await.map_err(Error::from)? {
                print(&format!("{line}\n"), terminal)?;
            }
            Ok(Exit::OK)
        }
    }
}

/// The filter for `ls` and `kill --all`: sandboxes that claude-relay has
/// started, or every one of the account.
fn filter(everybodys: bool) -> Filter {
    if everybodys { Filter::default() } else { orphans::owned(None) }
}

async fn ls(e2b: &E2b, everybodys: bool, terminal: &Terminal) -> Result<Exit, Exit> {
    let mut found = e2b.list(&filter(everybodys)).await.map_err(Error::from)?;
    found.sort_by_key(|info| info.started_at);
    if found.is_empty() {
        terminal.note("none");
        return Ok(Exit::OK);
    }
    let now = SystemTime::now();
    let mut table = format!("{:24} {:8} {:>6} {:>6} TEMPLATE\n", "ID", "STATE", "AGE", "LEFT");
    for info in &found {
        table.push_str(&row(info, now));
    }
    print(&table, terminal)
}

fn row(info: &SandboxInfo, now: SystemTime) -> String {
    let age = now.duration_since(info.started_at).unwrap_or_default();
    let left = info.end_at.duration_since(now).unwrap_or_default();
    // The time of a paused one stands still.
    let left = if info.state.word() == "paused" { "-".to_owned() } else { length(left) };
    let template = info.alias.as_deref().unwrap_or(&info.template);
    let (id, state) = (info.id.as_str(), info.state.word());
    format!("{id:24} {state:8} {:>6} {left:>6} {template}\n", length(age))
}

async fn kill(e2b: &E2b, args: KillArgs, terminal: &Terminal) -> Result<Exit, Exit> {
    let ids: Vec<SandboxId> = if args.all {
        let age = args.older_than.unwrap_or_default();
        let found = e2b.list_older_than(&filter(false), age).await.map_err(Error::from)?;
        found.into_iter().map(|info| info.id).collect()
    } else {
        args.ids
    };
    if ids.is_empty() {
        terminal.note("none");
    }
    let mut exit = Ok(Exit::OK);
    for (id, killed) in e2b.kill_all(ids).await {
        let said = killed.map(|killed| match killed {
            Killed::Now => format!("{id} is ended"),
            Killed::AlreadyGone => format!("{id} was gone already"),
        });
        tell(said, &mut exit, terminal)?;
    }
    exit
}

/// Says what became of one of several; the first failure is the program's end.
fn tell(
    said: Result<String, claude_relay_client::e2b::Error>,
    exit: &mut Result<Exit, Exit>,
    terminal: &Terminal,
) -> Result<(), Exit> {
    match said {
        Ok(said) => {
            print(&format!("{said}\n"), terminal)?;
        }
        Err(error) => {
            let failed = Exit::from(Error::from(error));
            terminal.complain(failed.message().unwrap_or_default());
            if exit.is_ok() {
                *exit = Err(failed.silent());
            }
        }
    }
    Ok(())
}

fn print(text: &str, terminal: &Terminal) -> Result<Exit, Exit> {
    match terminal.answer(text) {
        Ok(()) => Ok(Exit::OK),
        Err(error) => Err(Exit::failed(format!("cannot write to stdout: {error}"))),
    }
}

/// A time in its largest whole unit.
fn length(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_its_largest_whole_unit() {
        for (seconds, said) in
            [(0, "0s"), (59, "59s"), (119, "1m"), (7199, "1h"), (90_000, "25h"), (172_800, "2d")]
        {
            assert_eq!(length(Duration::from_secs(seconds)), said);
        }
    }
}
