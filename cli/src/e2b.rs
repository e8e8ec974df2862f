//! `claude-relay e2b`: the sandboxes in E2B's cloud.

mod copies;

use std::time::{Duration, SystemTime};

use claude_relay_client::e2b::exec::ExecEvent;
use claude_relay_client::e2b::{
    E2b, Filter, Killed, Paused, Sandbox, SandboxId, SandboxInfo, SandboxState, orphans,
};
use claude_relay_client::{Error, SandboxError};

use crate::args::{E2bCommand, KillArgs, ServerArgs};
use crate::connect::account;
use crate::exit::Exit;
use crate::terminal::{Terminal, printable};

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
        E2bCommand::Resume { ids, lifetime, reboot } => {
            let mut exit = Ok(Exit::OK);
            for id in ids {
                let said = match reboot {
                    true => e2b.reboot(&id, lifetime).await,
                    false => e2b.connect(&id, lifetime).await,
                };
                let said = said.map(|_| format!("{id} runs, for {} more", length(lifetime)));
                tell(said, &mut exit, terminal)?;
            }
            exit
        }
        E2bCommand::Logs { id } => {
            for line in e2b.logs(&id).await.map_err(Error::from)? {
                terminal.print(&format!("{line}\n"))?;
            }
            Ok(Exit::OK)
        }
        E2bCommand::Exec { id, user, dir, command } => {
            exec(&e2b, &id, user, dir, &command, terminal).await
        }
        E2bCommand::Url { id, port, with_headers } => {
            let sandbox = found(&e2b, &id).await?;
            let endpoint = sandbox.endpoint(port).map_err(Error::from)?;
            let mut text = format!("{}\n", endpoint.url);
            for (name, value) in endpoint.headers.iter().filter(|_| with_headers) {
                let value = value.to_str().unwrap_or_default();
                text.push_str(&format!("{name}: {value}\n"));
            }
            terminal.print(&text)
        }
        E2bCommand::Templates => templates(&e2b, terminal).await,
        E2bCommand::Metrics { id } => metrics(&e2b, &id, terminal).await,
        E2bCommand::Fork { id, count, lifetime } => {
            let forks = e2b.fork(&id, count, lifetime).await.map_err(unforked)?;
            copies::tell(server, forks, terminal).await
        }
        E2bCommand::Snapshot { id, name, without_memory } => {
            let snapshot = e2b.snapshot(&id, name.as_deref(), !without_memory).await;
            terminal.print(&format!("{}\n", snapshot.map_err(Error::from)?.id))
        }
    }
}

/// The end of a fork that has failed. Copies that no answer names run on.
fn unforked(error: claude_relay_client::e2b::Error) -> Exit {
    let may_run = error.may_have_had_effect();
    let exit = Exit::from(Error::from(error));
    match exit.message() {
        Some(message) if may_run => Exit::left_running(format!(
            "{message}\ncopies may run until their time is over: see `claude-relay e2b ls`"
        )),
        _ => exit,
    }
}

/// Time that looking a sandbox up gives it, at least. It is never shortened.
const LOOK_UP: Duration = Duration::from_secs(60);

/// A sandbox with what its ports want. One that is paused is not resumed.
async fn found(e2b: &E2b, id: &SandboxId) -> Result<Sandbox, Exit> {
    let info = e2b.info(id).await.map_err(Error::from)?;
    if info.state == SandboxState::Paused {
        return Err(Exit::from(Error::from(SandboxError::Paused { sandbox: id.to_string() })));
    }
    Ok(e2b.connect(id, LOOK_UP).await.map_err(Error::from)?)
}

/// Runs a command, and ends as it ends.
async fn exec(
    e2b: &E2b,
    id: &SandboxId,
    user: Option<String>,
    dir: Option<String>,
    command: &[String],
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let sandbox = found(e2b, id).await?;
    let mut files = sandbox.files().map_err(Error::from)?;
    if let Some(user) = user {
        files = files.as_user(&user);
    }
    // One word is a command line; several are words.
    let line = match command {
        [line] => line.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    let mut running = files.exec(&line, dir.as_deref()).await.map_err(Error::from)?;
    let mut code = None;
    while let Some(event) = running.next().await.map_err(Error::from)? {
        match event {
            ExecEvent::Stdout(bytes) => write(&mut std::io::stdout(), &bytes)?,
            ExecEvent::Stderr(bytes) => write(&mut std::io::stderr(), &bytes)?,
            ExecEvent::Ended { code: ended, status } => {
                if ended < 0 {
                    terminal.complain(&format!("the command has ended: {status}"));
                }
                code = Some(ended);
            }
            ExecEvent::Started { .. } => {}
        }
    }
    match code {
        Some(code) => Ok(Exit::of_command(u8::try_from(code).unwrap_or(1))),
        None => Err(Exit::not_understood("the command's end was not told")),
    }
}

fn write(to: &mut impl std::io::Write, bytes: &[u8]) -> Result<(), Exit> {
    to.write_all(bytes).and_then(|()| to.flush()).map_err(|error| Exit::unwritten(&error))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:@%+,".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

async fn metrics(e2b: &E2b, id: &SandboxId, terminal: &Terminal) -> Result<Exit, Exit> {
    let metrics = e2b.metrics(id).await.map_err(Error::from)?;
    let Some(now) = metrics.last() else {
        terminal.note("none yet");
        return Ok(Exit::OK);
    };
    let mib = |bytes: u64| bytes >> 20;
    let text = format!(
        "processor {:.0} % of {}\nmemory    {} of {} MiB\ndisk      {} of {} MiB\n",
        now.cpu_used_pct,
        now.cpu_count,
        mib(now.mem_used),
        mib(now.mem_total),
        mib(now.disk_used),
        mib(now.disk_total),
    );
    terminal.print(&text)
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
    terminal.print(&table)
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

async fn templates(e2b: &E2b, terminal: &Terminal) -> Result<Exit, Exit> {
    let mut found = e2b.templates().await.map_err(Error::from)?;
    found.sort_by(|one, other| one.names.cmp(&other.names));
    if found.is_empty() {
        terminal.note("none; `claude-relay-e2b build` makes one");
        return Ok(Exit::OK);
    }
    let now = SystemTime::now();
    let mut table =
        format!("{:>4} {:>6} {:8} {:>6} {:20} NAME\n", "CPUS", "MIB", "BUILD", "AGE", "ID");
    for template in &found {
        let age = length(now.duration_since(template.updated_at).unwrap_or_default());
        let (cpus, memory, id) = (template.cpus, template.memory_mb, &template.id);
        let (build, names) = (&template.build_status, template.names.join(" "));
        table.push_str(&format!("{cpus:>4} {memory:>6} {build:8} {age:>6} {id:20} {names}\n"));
    }
    terminal.print(&printable(&table))
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
    // What could not be ended lives on.
    exit.map_err(|_: Exit| Exit::left_running("").silent())
}

/// Says what became of one of several; the first failure is the program's end.
fn tell(
    said: Result<String, claude_relay_client::e2b::Error>,
    exit: &mut Result<Exit, Exit>,
    terminal: &Terminal,
) -> Result<(), Exit> {
    match said {
        Ok(said) => {
            terminal.print(&format!("{said}\n"))?;
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
    fn words_reach_the_shell_as_they_are() {
        for (word, quoted_word) in [
            ("ls", "ls"),
            ("a b", "'a b'"),
            ("", "''"),
            ("it's", "'it'\\''s'"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(word), quoted_word);
        }
    }

    #[test]
    fn a_time_is_told_in_its_largest_whole_unit() {
        for (seconds, said) in
            [(0, "0s"), (59, "59s"), (119, "1m"), (7199, "1h"), (90_000, "25h"), (172_800, "2d")]
        {
            assert_eq!(length(Duration::from_secs(seconds)), said);
        }
    }
}
