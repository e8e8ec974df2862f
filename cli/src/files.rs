//! Files that go into the server's workspace, and come out of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use claude_relay_client::{Error, FileError, FileType, Workspace};

use crate::args::{ServerArgs, TurnArgs};
use crate::connect::explain;
use crate::exit::Exit;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// The most files of one copy, so that no loop of directories is followed for
/// ever.
const MAX_FILES: usize = 100_000;

/// The directory of the workspace for files that go along with a message.
const ATTACHMENTS: &str = "attachments";

/// The most attachments of one name.
const MAX_SAME_NAME: usize = 1_000;

/// The way into a workspace and out of it.
pub(crate) struct Files<'a> {
    pub(crate) workspace: Workspace,
    pub(crate) server: &'a ServerArgs,
    pub(crate) terminal: &'a Terminal,
}

impl Files<'_> {
    /// Carries out `--upload`: a file keeps its name, and what is in a directory
    /// goes into the workspace itself.
    pub(crate) async fn send(&self, args: &TurnArgs) -> Result<(), Exit> {
        for local in &args.uploads {
            self.upload(local, "").await?;
        }
        Ok(())
    }

    /// Writes a file that goes along with a message beside those of earlier ones.
    /// Returns its path in the workspace.
    pub(crate) async fn attach(&self, name: &str, content: Vec<u8>) -> Result<String, Exit> {
        let content = Bytes::from(content);
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (name, String::new()),
        };
        for number in 1..=MAX_SAME_NAME {
            let path = match number {
                1 => format!("{ATTACHMENTS}/{name}"),
                _ => format!("{ATTACHMENTS}/{stem}-{number}{extension}"),
            };
            match self.workspace.create(&path, content.clone()).await {
                Ok(()) => return Ok(path),
                Err(FileError::Exists { .. }) => {}
                Err(error) => return Err(self.told(error)),
            }
        }
        Err(Exit::failed(format!("{ATTACHMENTS} holds {MAX_SAME_NAME} files named {name}")))
    }

    /// Carries out `--download`. Returns the end of the program, which `exit`
    /// would be: a file that is missing fails a call that went well.
    pub(crate) async fn fetch(&self, args: &TurnArgs, exit: Exit, signals: &mut Signals) -> Exit {
        if exit.is_by_signal() {
            return exit;
        }
        let mut end = exit;
        for remote in &args.downloads {
            let failed = tokio::select! {
                fetched = self.fetch_one(remote) => match fetched {
                    Ok(()) => continue,
                    Err(failed) => failed,
                },
                signal = signals.next() => return signal.exit(),
            };
            let told = failed.message().unwrap_or_default();
            self.terminal.complain(&format!("--download {remote}: {told}"));
            if end.code() == 0 {
                end = failed.silent();
            }
        }
        end
    }

    async fn fetch_one(&self, remote: &str) -> Result<(), Exit> {
        let name = remote.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if matches!(name, "" | "." | "..") {
            return Err(Exit::usage("name a file or a directory of the workspace"));
        }
        self.download(remote, &format!("./{name}")).await
    }

    pub(crate) fn told(&self, error: FileError) -> Exit {
        match error {
            FileError::Request(error) => explain(error, self.server),
            error => Error::from(error).into(),
        }
    }

    /// Copies a file, or what is in a directory, into the workspace.
    pub(crate) async fn upload(&self, local: &Path, remote: &str) -> Result<(), Exit> {
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
        let (mut copied, mut refused) = (0, None);
        let mut left_out: BTreeMap<PathBuf, u32> = BTreeMap::new();
        while let Some((path, target)) = open.pop() {
            let metadata = fs::metadata(&path).map_err(|error| unreadable(&path, error))?;
            if metadata.is_dir() {
                for entry in fs::read_dir(&path).map_err(|error| unreadable(&path, error))? {
                    let entry = entry.map_err(|error| unreadable(&path, error))?;
                    let Ok(name) = entry.file_name().into_string() else {
                        self.terminal
                            .complain(&format!("left out: {} (no UTF-8)", entry.path().display()));
                        continue;
                    };
                    // A link may lead anywhere, and around.
                    if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                        self.terminal
                            .complain(&format!("left out: {} (a link)", entry.path().display()));
                        continue;
                    }
                    open.push((entry.path(), join(&target, &name)));
                }
            } else if metadata.is_file() {
                let content = fs::read(&path).map_err(|error| unreadable(&path, error))?;
                match self.workspace.write(&target, content).await {
                    Ok(()) => copied += 1,
                    // The rest of a directory is of use without what configures the
                    // agent.
                    Err(error @ FileError::Refused { status: 403, .. }) if path != local => {
                        let files = left_out.entry(hidden_part(local, &path)).or_default();
                        if *files == 0 {
                            self.terminal
                                .complain(&format!("left out: {} ({error})", path.display()));
                        }
                        *files += 1;
                        refused = Some(error);
                    }
                    Err(error) => return Err(self.told(error)),
                }
            } else {
                self.terminal.complain(&format!("left out: {} (no file)", path.display()));
            }
            if copied > MAX_FILES {
                return Err(Exit::failed(format!("over {MAX_FILES} files: copy less at a time")));
            }
        }
        for (part, files) in left_out.into_iter().filter(|(_, files)| *files > 1) {
            let more = files - 1;
            self.terminal.complain(&format!("left out: {more} more below {}", part.display()));
        }
        match refused {
            Some(error) if copied == 0 => Err(self.told(error)),
            _ => Ok(()),
        }
    }

    /// Copies a file or a directory out of the workspace.
    pub(crate) async fn download(&self, remote: &str, local: &str) -> Result<(), Exit> {
        let remote = remote.trim_end_matches('/');
        let listed = match self.workspace.list(remote).await {
            Ok(entries) => Some(entries),
            // A file is no directory.
            Err(FileError::NotFound { .. }) => None,
            Err(error) => return Err(self.told(error)),
        };
        if listed.is_none() {
            let content = self.workspace.read(remote).await.map_err(|error| self.told(error))?;
            if local == "-" {
                let written = self.terminal.answer_bytes(&content);
                return written.map_err(|error| Exit::unwritten(&error));
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
            for entry in self.workspace.list(&path).await.map_err(|error| self.told(error))? {
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
                        write(
                            &place,
                            &self.workspace.read(&below).await.map_err(|error| self.told(error))?,
                        )?;
                        copied += 1;
                    }
                    _ => self.terminal.complain(&format!("left out: {below} (no file)")),
                }
            }
            if copied > MAX_FILES {
                return Err(Exit::failed(format!("over {MAX_FILES} files: copy less at a time")));
            }
        }
        Ok(())
    }
}

/// Returns the outermost hidden directory below `root` that `path` is in, such as
/// `.git`; or else `path`.
fn hidden_part(root: &Path, path: &Path) -> PathBuf {
    let is_hidden = |part: &&Path| {
        part.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let below = path.strip_prefix(root).unwrap_or(path);
    let hidden = below.ancestors().filter(is_hidden).last();
    hidden.map_or_else(|| path.to_owned(), |hidden| root.join(hidden))
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
