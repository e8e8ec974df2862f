//! `claude-relay cp`: files into the server's workspace, and out of it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use claude_relay_client::{Error, FileError, FileType, Workspace};

use crate::args::ServerArgs;
use crate::connect::{builder, explain};
use crate::exit::Exit;
use crate::terminal::Terminal;

/// The most files of one copy, so that no loop of directories is followed for
/// ever.
const MAX_FILES: usize = 100_000;

pub(crate) async fn cp(
    server: &ServerArgs,
    from: &str,
    to: &str,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let workspace = builder(server)?.workspace().map_err(|error| explain(error, server))?;
    let told = |error| match error {
        FileError::Request(error) => explain(error, server),
        error => Error::from(error).into(),
    };
    match (from.strip_prefix(':'), to.strip_prefix(':')) {
        (None, Some(remote)) => upload(&workspace, Path::new(from), remote, &told, terminal).await,
        (Some(remote), None) => download(&workspace, remote, to, &told, terminal).await,
        _ => Err(Exit::usage(
            "one of the two is in the workspace and begins with a colon, as in claude-relay cp a.txt :b.txt",
        )),
    }?;
    Ok(Exit::OK)
}

type Told<'a> = dyn Fn(FileError) -> Exit + 'a;

async fn upload(
    workspace: &Workspace,
    local: &Path,
    remote: &str,
    told: &Told<'_>,
    terminal: &Terminal,
) -> Result<(), Exit> {
    let unreadable = |path: &Path, error| Exit::usage(format!("{}: {error}", path.display()));
    let into = || match local.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(join(remote.trim_end_matches('/'), name)),
        None => Err(Exit::usage(format!("{}: it has no name", local.display()))),
    };
    let metadata = fs::metadata(local).map_err(|error| unreadable(local, error))?;
    let names_directory = remote.is_empty() || remote.ends_with('/');
    let mut open = vec![(
        local.to_owned(),
        if names_directory && metadata.is_file() {
            into()?
        } else {
            remote.trim_end_matches('/').to_owned()
        },
    )];
    let mut copied = 0;
    while let Some((path, target)) = open.pop() {
        let metadata = fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(|error| unreadable(&path, error))? {
                let entry = entry.map_err(|error| unreadable(&path, error))?;
                let Ok(name) = entry.file_name().into_string() else {
                    terminal.complain(&format!("left out: {} (no UTF-8)", entry.path().display()));
                    continue;
                };
                // A link may lead anywhere, and around.
                if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                    terminal.complain(&format!("left out: {} (a link)", entry.path().display()));
                    continue;
                }
                open.push((entry.path(), join(&target, &name)));
            }
        } else if metadata.is_file() {
            let content = fs::read(&path).map_err(|error| unreadable(&path, error))?;
            workspace.write(&target, content).await.map_err(told)?;
            copied += 1;
        } else {
            terminal.complain(&format!("left out: {} (no file)", path.display()));
        }
        if copied > MAX_FILES {
            return Err(Exit::failed(format!("over {MAX_FILES} files: copy less at a time")));
        }
    }
    Ok(())
}

async fn download(
    workspace: &Workspace,
    remote: &str,
    local: &str,
    told: &Told<'_>,
    terminal: &Terminal,
) -> Result<(), Exit> {
    let remote = remote.trim_end_matches('/');
    let listed = match workspace.list(remote).await {
        Ok(entries) => Some(entries),
        // A file is no directory.
        Err(FileError::NotFound { .. }) => None,
        Err(error) => return Err(told(error)),
    };
    if listed.is_none() {
        let content = workspace.read(remote).await.map_err(told)?;
        if local == "-" {
            return terminal
                .answer_bytes(&content)
                .map_err(|error| Exit::failed(format!("cannot write to stdout: {error}")));
        }
        let mut target = PathBuf::from(local);
        if target.is_dir() || local.ends_with('/') {
            target.push(remote.rsplit('/').next().unwrap_or(remote));
        }
        return write(&target, &content);
    }
    if local == "-" {
        return Err(Exit::usage("a directory cannot be printed"));
    }
    let mut open = vec![(remote.to_owned(), PathBuf::from(local))];
    let mut copied = 0;
    while let Some((path, target)) = open.pop() {
        for entry in workspace.list(&path).await.map_err(told)? {
            // The server's names must not lead out of the directory.
            let mut parts = Path::new(&entry.name).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                return Err(Exit::not_understood(format!(
                    "the name {:?} cannot be used",
                    entry.name
                )));
            }
            let (below, place) = (join(&path, &entry.name), target.join(&entry.name));
            match entry.kind {
                FileType::Directory => open.push((below, place)),
                FileType::File => {
                    write(&place, &workspace.read(&below).await.map_err(told)?)?;
                    copied += 1;
                }
                _ => terminal.complain(&format!("left out: {below} (no file)")),
            }
        }
        if copied > MAX_FILES {
            return Err(Exit::failed(format!("over {MAX_FILES} files: copy less at a time")));
        }
    }
    Ok(())
}

fn write(target: &Path, content: &[u8]) -> Result<(), Exit> {
    let failed = |error| Exit::failed(format!("{}: {error}", target.display()));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(target, content).map_err(failed)
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
