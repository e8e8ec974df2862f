//! `claude-relay conversations`: what was said in the server's workspace.

use std::time::SystemTime;

use claude_relay_client::{Conversation, Error, FileError};

use crate::args::ServerArgs;
use crate::connect::{builder, explain};
use crate::exit::Exit;
use crate::terminal::{Terminal, printable};

pub(crate) async fn run(
    server: &ServerArgs,
    id: Option<&str>,
    limit: usize,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let workspace = builder(server)?.workspace().map_err(|error| explain(error, server))?;
    let mut text = String::new();
    if let Some(id) = id {
        let messages = workspace.conversation(id).await.map_err(|error| match error {
            FileError::Request(error) => explain(error, server),
            error => Error::from(error).into(),
        })?;
        for message in messages {
            text.push_str(message.get());
            text.push('\n');
        }
    } else {
        let found = workspace.conversations(limit).await;
        let found = found.map_err(|error| explain(error, server))?;
        if found.is_empty() {
            terminal.note("none");
        }
        let now = SystemTime::now();
        for conversation in &found {
            text.push_str(&row(conversation, now));
        }
    }
    terminal.print(&text)
}

/// A conversation on one line: its id, its age, its turns and its words.
fn row(conversation: &Conversation, now: SystemTime) -> String {
    let age = now.duration_since(conversation.modified).unwrap_or_default().as_secs();
    let age = match age {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    };
    let turns = conversation.turns.map_or_else(|| "-".to_owned(), |turns| turns.to_string());
    let words = conversation.title.as_deref().unwrap_or(&conversation.first_words);

    let words = printable(&words.replace(['\n', '\t'], " "));
    format!("{}  {age:>4}  {turns:>3}  {words}\n", conversation.id)
}
