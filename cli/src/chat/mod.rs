//! Talking back and forth.

use std::path::PathBuf;

use claude_relay_client::{Client, ConnectionState, Error, UserMessage};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::args::{ChatArgs, ServerArgs};
use crate::connect::{connect, leave};
use crate::exit::Exit;
use crate::render::Renderer;
use crate::terminal::Terminal;
use crate::turn::{self, report};

const HELP: &str = "/new          begin another conversation
/session      show the conversation's id
/model [NAME] show or change the model
/mode NAME    change the permission mode
/config       show the server's configuration
/interrupt    stop what the agent is doing
/exit         leave (also /quit, or the end of input)
Any other /command goes to the agent. Ctrl-C stops a turn; twice leaves.";

/// How many lines are remembered.
const HISTORY_LINES: usize = 1000;

struct Chat<'a> {
    client: Client,
    server: &'a ServerArgs,
    args: &'a ChatArgs,
    terminal: &'a Terminal,
    session_id: Option<String>,
    model: Option<String>,
}

/// What to do after a line.
enum Next {
    Go,
    Leave(Exit),
}

pub(crate) async fn chat(
    server: &ServerArgs,
    args: ChatArgs,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let configuration = args.turn.configuration();
    let interactive = args.turn.interactive_approvals;
    let client = connect(server, configuration, interactive, terminal).await?;
    let exit = converse(&client, server, &args, terminal).await;
    // However it went: a sandbox must not be left behind.
    leave(&client, server, terminal).await;
    exit
}

async fn converse(
    client: &Client,
    server: &ServerArgs,
    args: &ChatArgs,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let client = client.clone();
    let mut chat = Chat { client, server, args, terminal, session_id: None, model: None };
    let history = history_file(args);
    let mut editor = editor(history.as_ref())
        .map_err(|error| Exit::failed(format!("cannot use the terminal: {error}")))?;
    let exit = loop {
        let (line, returned) = read_line(editor).await?;
        editor = returned;
        match line {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                if let Next::Leave(exit) = chat.line(line.trim()).await {
                    break exit;
                }
            }
            // With nothing to stop, Ctrl-C only drops the line.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break Exit::OK,
            Err(error) => break Exit::failed(format!("cannot read from the terminal: {error}")),
        }
    };
    if let Some(path) = &history
        && let Err(error) = editor.save_history(path)
    {
        terminal.complain(&format!("the history is not saved in {}: {error}", path.display()));
    }
    Ok(exit)
}

impl Chat<'_> {
    async fn line(&mut self, line: &str) -> Next {
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let done = match (command, rest) {
            ("/exit" | "/quit", "") => return Next::Leave(Exit::OK),
            ("/help", "") => {
                self.terminal.fact(HELP);
                Ok(())
            }
            ("/session", "") => {
                self.terminal.fact(self.session_id.as_deref().unwrap_or("no conversation yet"));
                Ok(())
            }
            ("/model", "") => {
                self.terminal.fact(self.model.as_deref().unwrap_or("not known before a turn"));
                Ok(())
            }
            ("/model", model) => {
                let set = self.client.set_model(Some(model)).await;
                if set.is_ok() {
                    self.model = Some(model.to_owned());
                }
                set
            }
            ("/mode", mode) if !mode.is_empty() => self.client.set_permission_mode(mode).await,
            ("/config", "") => match self.client.configuration().await {
                Ok(config) => {
                    self.terminal.fact(config.get());
                    Ok(())
                }
                Err(error) => Err(error),
            },
            ("/interrupt", "") => self.client.interrupt().await,
            ("/new", "") => match self.provider().await {
                Ok(Some(provider)) if provider == "codex" => self.begin_anew().await,
                // The agent's own way to begin anew in the same process.
                Ok(_) => return self.turn("/clear").await,
                Err(error) => Err(error),
            },
            _ => return self.turn(line).await,
        };
        match done {
            Ok(()) => Next::Go,
            Err(error) => self.failed(Exit::from(error)),
        }
    }

    /// Which agent is configured.
    async fn provider(&self) -> Result<Option<String>, Error> {
        #[derive(serde::Deserialize)]
        struct Config {
            provider: Option<String>,
        }
        let config = self.client.configuration().await?;
        Ok(config.parse::<Config>().ok().and_then(|config| config.provider))
    }

    async fn begin_anew(&mut self) -> Result<(), Error> {
        self.client.new_conversation().await?;
        self.session_id = None;
        self.terminal.note("another conversation begins with the next message");
        Ok(())
    }

    async fn turn(&mut self, text: &str) -> Next {
        let args = &self.args.turn;
        let mut renderer = Renderer::new(self.terminal, true, self.server.verbose > 0);
        let message = UserMessage::text(text);
        let ended =
            turn::run(&self.client, message, args, None, &mut renderer, self.terminal).await;
        if !renderer.printed && ended.exit.message().is_none() {
            // An answer that is only in the result, such as that of a command.
            let _ = self.terminal.answer(&ended.answer.text);
        }
        let _ = self.terminal.end_line();
        report(&ended, args, self.terminal);
        if let Some(id) = &ended.answer.session_id {
            self.session_id = Some(id.clone());
        }
        if let Some(model) = &ended.answer.model {
            self.model = Some(model.clone());
        }
        if ended.leave { Next::Leave(ended.exit) } else { self.failed(ended.exit) }
    }

    /// A failed turn is no reason to leave; the end of the client is.
    fn failed(&self, exit: Exit) -> Next {
        if matches!(*self.client.connection().borrow(), ConnectionState::Ended(_)) {
            return Next::Leave(exit);
        }
        if let Some(message) = exit.message() {
            self.terminal.complain(message);
        }
        Next::Go
    }
}

type Read = (Result<String, ReadlineError>, DefaultEditor);

/// Reads a line in a thread, because a terminal cannot be waited for otherwise.
async fn read_line(mut editor: DefaultEditor) -> Result<Read, Exit> {
    tokio::task::spawn_blocking(move || {
        let line = editor.readline("> ");
        (line, editor)
    })
    .await
    .map_err(|error| Exit::failed(format!("reading from the terminal failed: {error}")))
}

fn editor(history: Option<&PathBuf>) -> rustyline::Result<DefaultEditor> {
    let config = rustyline::Config::builder().max_history_size(HISTORY_LINES)?.build();
    let mut editor = DefaultEditor::with_config(config)?;
    if let Some(path) = history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    Ok(editor)
}

/// Where what was typed is kept.
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
