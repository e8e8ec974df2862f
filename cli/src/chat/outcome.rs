//! The outcomes of a chat's commands, and what holds in it now.

use claude_relay_client::{AgentState, Error, ModelInfo};

use super::commands::{Done, Remote};
use super::session::Session;
use crate::connect::fresh::Begun;
use crate::exit::Exit;
use crate::health::State;

impl Session<'_> {
    pub(super) fn command_done(&mut self, done: Result<Done, Error>) {
        self.command = None;
        match done {
            Ok(Done::Model(model)) => {
                self.terminal.note(&format!("the model is {model} from the next message on"));
                self.model = Some(model);
            }
            Ok(Done::Mode(mode)) => {
                self.terminal.note(&format!("the permission mode is {mode}"));
                self.permission_mode = Some(mode);
            }
            Ok(Done::Models { state, models }) => self.show_models(&state, &models),
            Ok(Done::Modes(state)) => self.show_modes(&state),
            Ok(Done::Status(status)) => {
                let (state, health) = *status;
                self.terminal.fact(state.table(&health, self.url).trim_end());
            }
            Ok(Done::Greeting(status)) => {
                let (state, health) = *status;
                let model = self.model.as_deref();
                self.terminal.note(&state.greeting(&health, self.url, model));
            }
            Ok(Done::Config(config)) => self.terminal.fact(&config),
            Ok(Done::Conversation(Begun::Yes)) => {
                self.session_id = None;
                self.cost = None;
                self.terminal.note("a new conversation begins with the next message");
            }
            Ok(Done::Conversation(Begun::ByClear)) => self.turn("/clear"),
            Ok(Done::Conversation(Begun::No)) => {
                self.terminal.complain("this server is too old to begin another conversation");
            }
            Ok(Done::Nothing) => {}
            Err(error) => self.failed(Exit::from(error)),
        }
    }

    /// Remembers what holds now.
    pub(super) fn note_state(&mut self, state: &AgentState) {
        if let Some(conversation) = &state.conversation {
            self.session_id = Some(conversation.clone());
        }
        if let Some(model) = &state.model {
            self.model = Some(model.clone());
        }
        if let Some(mode) = &state.permission_mode {
            self.permission_mode = Some(mode.clone());
        }
    }

    /// Tells where the person is.
    pub(super) async fn greet(&mut self) {
        self.model.clone_from(&self.args.turn.model);
        // A server that does not answer is told of by what follows.
        if let Ok(done) = Remote::Greet.run(self.client.clone()).await {
            self.command_done(Ok(done));
        }
    }

    fn show_models(&self, state: &State, models: &[ModelInfo]) {
        let model = self.model.as_deref().or(state.agent_state.model.as_deref());
        self.terminal
            .fact(model.unwrap_or("the agent's own choice; it names it in its first turn"));
        for ModelInfo { value, display_name, .. } in models {
            self.terminal.note(&format!("  {value:<20} {display_name}"));
        }
    }

    fn show_modes(&self, state: &State) {
        let mode = self.permission_mode.as_deref();
        let mode = mode.or(state.agent_state.permission_mode.as_deref());
        self.terminal.fact(mode.unwrap_or("default"));
        if let Some(ceiling) = &state.mode {
            let allowed = state.permission_modes.join(", ");
            self.terminal
                .note(&format!("  the server's mode is {ceiling}, which allows {allowed}"));
        }
    }
}
