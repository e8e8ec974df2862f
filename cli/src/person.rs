//! The person at the terminal who answers the agent's requests.

use std::path::Path;

use claude_relay_client::{Client, SdkMessage, SendError, View};
use serde::Deserialize;
use tokio::task::JoinSet;

use crate::console::{Console, Key};
use crate::dialog::{Answer, Questions, Request};
use crate::terminal::Terminal;

/// The denial that the agent reads when nobody can be asked.
pub(crate) const NOBODY_TO_ASK: &str =
    "denied: claude-relay was started without --interactive-approvals, so nobody can be asked";

/// The denial that the agent reads when there is no terminal to ask on.
const NO_TERMINAL: &str = "denied: there is no terminal to ask on";

/// Asks one question after the other, and sends the answers.
pub(crate) struct Person {
    console: Option<Console>,
    questions: Questions,
    replies: JoinSet<Result<(), SendError>>,
}

/// An event of the terminal or of a reply.
pub(crate) enum Input {
    Key(Key),
    ReplyFailed(SendError),
}

impl Person {
    /// One whose terminal is opened with the first question.
    pub(crate) fn new() -> Self {
        Self { console: None, questions: Questions::default(), replies: JoinSet::new() }
    }

    /// One on a terminal that lines are typed on as well.
    pub(crate) fn at(console: Console) -> Self {
        Self { console: Some(console), ..Self::new() }
    }

    /// The terminal, if it is open.
    pub(crate) fn console(&mut self) -> Option<&mut Console> {
        self.console.as_mut()
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.questions.is_asking()
    }

    /// The next key, unless there is no room for one, or the next reply that
    /// could not be sent. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self, has_room: bool) -> Input {
        loop {
            let key = async {
                match &mut self.console {
                    Some(console) if has_room => console.next().await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                key = key => return Input::Key(key),
                Some(reply) = self.replies.join_next() => {
                    if let Ok(Err(error)) = reply {
                        return Input::ReplyFailed(error);
                    }
                }
            }
        }
    }

    /// Asks, at once or when what is being asked is answered. Keys that were
    /// typed before are no answer and are given back.
    pub(crate) fn ask(
        &mut self,
        request: Request,
        client: &Client,
        terminal: &Terminal,
    ) -> Vec<Key> {
        let console = match &mut self.console {
            Some(console) => console,
            None => match Console::terminal(true) {
                Ok(console) => self.console.insert(console),
                Err(_) => {
                    terminal.complain("denied; there is no terminal to ask on");
                    let answer = request.nobody(NO_TERMINAL);
                    self.reply(request, answer, client);
                    return Vec::new();
                }
            },
        };
        let typed = if self.questions.is_asking() { Vec::new() } else { console.typed() };
        self.questions.add(request);
        self.questions.ask_next(console, terminal);
        typed
    }

    /// Takes a key for the question on the screen. Keys behind the one that
    /// answers it are given back if another question follows.
    pub(crate) fn press(&mut self, key: Key, client: &Client, terminal: &Terminal) -> Vec<Key> {
        let Some(console) = &mut self.console else { return Vec::new() };
        match self.questions.press(key, console, terminal) {
            Some((request, answer)) => {
                self.reply(request, answer, client);
                self.ask_next(terminal)
            }
            None => Vec::new(),
        }
    }

    fn ask_next(&mut self, terminal: &Terminal) -> Vec<Key> {
        let Some(console) = &mut self.console else { return Vec::new() };
        let typed = console.typed();
        self.questions.ask_next(console, terminal);
        typed
    }

    /// The agent withdrew a request.
    pub(crate) fn withdraw(&mut self, id: &str, terminal: &Terminal) -> Vec<Key> {
        let Some(console) = &mut self.console else { return Vec::new() };
        if self.questions.withdraw(id, console, terminal) {
            self.ask_next(terminal)
        } else {
            Vec::new()
        }
    }

    /// Ctrl-C: the question on the screen is answered with the end of the
    /// turn. Returns true if there was one.
    pub(crate) fn stop(&mut self, client: &Client) -> bool {
        let Some(console) = &mut self.console else { return false };
        match self.questions.stop(console) {
            Some((request, answer)) => {
                self.reply(request, answer, client);
                true
            }
            None => false,
        }
    }

    fn reply(&mut self, request: Request, answer: Answer, client: &Client) {
        let client = client.clone();
        self.replies.spawn(async move { request.reply(answer, &client).await });
    }

    /// Takes the question off the screen while something else is written.
    pub(crate) fn hide(&mut self) {
        if let Some(console) = &mut self.console {
            self.questions.erase(console);
        }
    }

    pub(crate) fn show(&mut self) {
        if let Some(console) = &mut self.console {
            self.questions.show(console);
        }
    }

    /// Enters the terminal's mode anew, after the program was stopped.
    pub(crate) fn resume(&mut self) {
        if let Some(console) = &mut self.console {
            console.resume();
            self.questions.redraw(console);
        }
    }

    /// Remembers the plan that the agent writes down, for the request that
    /// asks about it without holding it.
    pub(crate) fn look_at(&mut self, message: &SdkMessage) {
        #[derive(Deserialize)]
        struct Write {
            file_path: String,
            content: String,
        }
        for view in message.views() {
            if let View::ToolUse { name, input, parent: None, .. } = view
                && name == "Write"
                && let Ok(Write { file_path, content }) = serde_json::from_str(input.get())
                && Path::new(&file_path).parent().is_some_and(|folder| folder.ends_with("plans"))
            {
                self.questions.note_plan(&content);
            }
        }
    }
}
