//! The prompt: from the command line, a file, a pipe, images.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use claude_relay_client::{Block, UserMessage};

use crate::args::AskArgs;
use crate::exit::Exit;
use crate::files::Files;
use crate::terminal::Terminal;

/// The largest prompt; a server takes no larger message.
const MAX_BYTES: u64 = 64 << 20;

/// How long to wait for the first byte of stdin when there is a prompt without
/// it: a service manager may have left a pipe open that nobody writes to.
const STDIN_TIMEOUT: Duration = Duration::from_secs(3);

/// The most files that go along with a message.
const MAX_FILES: usize = 100;

/// A message that has been read, and is yet to be sent.
pub(crate) struct Prompt {
    text: String,
    attachments: Vec<Attachment>,
}

enum Attachment {
    /// A part of the message.
    Block(Block),
    /// A file of no kind that a message can hold: the workspace does.
    File { name: String, content: Vec<u8> },
}

impl Prompt {
    /// Returns the message, once the files that it cannot hold lie in the
    /// workspace.
    pub(crate) async fn message(self, files: &Files<'_>) -> Result<UserMessage, Exit> {
        if self.attachments.is_empty() {
            return Ok(UserMessage::text(&self.text));
        }
        let mut blocks = Vec::new();
        for attachment in self.attachments {
            blocks.push(match attachment {
                Attachment::Block(block) => block,
                Attachment::File { name, content } => {
                    let path = files.attach(&name, content).await?;
                    Block::text(&format!("The file {name} is in the workspace as {path}."))
                }
            });
        }
        blocks.push(Block::text(&self.text));
        Ok(UserMessage::from(blocks))
    }
}

pub(crate) fn prompt(args: &AskArgs, terminal: &Terminal) -> Result<Prompt, Exit> {
    let prompt = match (args.prompt(), &args.prompt_file) {
        (Some(prompt), _) => Some(prompt.to_owned()),
        (None, Some(file)) if file.as_os_str() == "-" => None,
        (None, Some(file)) => Some(text(read_file(file, "--prompt-file")?, "--prompt-file")?),
        (None, None) => None,
    };
    let piped = piped(prompt.is_some(), terminal)?;
    let prompt = prompt.filter(|prompt| piped.is_none() || !prompt.trim().is_empty());
    let text = match (prompt, piped) {
        (Some(prompt), Some(piped)) => format!("{prompt}\n\n{piped}"),
        (Some(text), None) | (None, Some(text)) => text,
        (None, None) => {
            return Err(Exit::usage("nothing to ask: give a prompt, see --help"));
        }
    };
    if text.trim().is_empty() {
        return Err(Exit::usage("the prompt is empty: say what to ask, see --help"));
    }
    if args.images.len() + args.files.len() > MAX_FILES {
        return Err(Exit::usage(format!(
            "over {MAX_FILES} files: --upload copies a directory into the workspace"
        )));
    }
    let mut attachments = Vec::new();
    for path in &args.images {
        let bytes = read_file(path, "--image")?;
        let image = Block::image(&bytes)
            .map_err(|error| Exit::usage(format!("--image {}: {error}", path.display())))?;
        attachments.push(Attachment::Block(image));
    }
    for path in &args.files {
        attachments.push(attachment(path)?);
    }
    Ok(Prompt { text, attachments })
}

/// Reads a file that goes along with a message.
fn attachment(path: &Path) -> Result<Attachment, Exit> {
    let bytes = read_file(path, "--file")?;
    if let Ok(image) = Block::image(&bytes) {
        return Ok(Attachment::Block(image));
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    if bytes.starts_with(b"%PDF-") {
        return Ok(Attachment::Block(Block::pdf(&bytes, &name)));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Attachment::Block(Block::text(&format!("The file {name}:\n\n{text}"))),
        Err(error) => Attachment::File { name: name.into_owned(), content: error.into_bytes() },
    })
}

/// Returns the text that is piped in; `None` for no text.
fn piped(have_prompt: bool, terminal: &Terminal) -> Result<Option<String>, Exit> {
    if io::stdin().is_terminal() {
        return Ok(None);
    }
    let (sender, receiver) = mpsc::channel();
    // In a thread, because reading from a pipe cannot be given up.
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut first = [0];
        let read = stdin.read(&mut first).and_then(|count| {
            let _ = sender.send(Ok(None));
            let mut bytes = first[..count].to_vec();
            stdin.take(MAX_BYTES).read_to_end(&mut bytes)?;
            Ok(Some(bytes))
        });
        let _ = sender.send(read);
    });
    let failed = |error: io::Error| Exit::usage(format!("cannot read stdin: {error}"));
    if have_prompt {
        match receiver.recv_timeout(STDIN_TIMEOUT) {
            Ok(first) => drop(first.map_err(failed)?),
            Err(_) => {
                terminal.complain("nothing came from stdin in 3 s: going on without it");
                return Ok(None);
            }
        }
    }
    for message in receiver {
        if let Some(bytes) = message.map_err(failed)? {
            let text = text(bounded(bytes, "stdin")?, "stdin")?;
            return Ok(Some(text).filter(|text| !text.trim().is_empty()));
        }
    }
    Ok(None)
}

pub(crate) fn read_file(path: &Path, flag: &str) -> Result<Vec<u8>, Exit> {
    let failed =
        |error: io::Error| Exit::usage(format!("{flag}: cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    bounded(bytes, flag)
}

fn bounded(bytes: Vec<u8>, what: &str) -> Result<Vec<u8>, Exit> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Exit::usage(format!("{what}: it is over 64 MiB")));
    }
    Ok(bytes)
}

/// UTF-8, without the mark that some editors put first.
fn text(bytes: Vec<u8>, what: &str) -> Result<String, Exit> {
    let text = String::from_utf8(bytes)
        .map_err(|_| Exit::not_understood(format!("{what}: it is not UTF-8")))?;
    Ok(text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned))
}
