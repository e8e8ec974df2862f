//! The result of a turn, gathered from its lines.

use std::time::{Duration, Instant};

use crate::types::message::SdkMessage;
use crate::types::view::{TurnFinished, Usage, View};

/// The result of a turn.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The conversation; give it to `resume` to go on with it another time.
    pub session_id: Option<String>,
    /// The model, as the agent names it.
    pub model: Option<String>,
    /// The agent's last text, as far as it came in a turn that was interrupted;
    /// what went wrong, if the turn failed.
    pub text: String,
    /// The answer in the form that `outputFormat` asked for, as JSON.
    pub structured_output: Option<String>,
    /// True if the turn failed.
    pub is_error: bool,
    /// True if somebody interrupted it.
    pub interrupted: bool,
    /// Failures inside the agent, in its words.
    pub errors: Vec<String>,
    /// The tokens of this turn.
    pub usage: Usage,
    /// The cost of the agent's process so far, in US dollars.
    pub total_cost_usd: Option<f64>,
    /// The number of calls of the model that it took.
    pub num_turns: Option<u64>,
    /// From the sending to the result, as seen from here.
    pub latency: Duration,
    /// The result as it came.
    pub result: Option<SdkMessage>,
}

/// An answer while its turn runs.
#[derive(Debug)]
pub(super) struct AnswerBuilder {
    answer: Answer,
    /// Tokens told before the end of the turn, and in how many calls.
    used: Usage,
    calls: u64,
    /// The pieces of a text that is not whole yet.
    partial: String,
    started: Instant,
}

impl AnswerBuilder {
    pub(super) fn new() -> Self {
        Self {
            answer: Answer::default(),
            used: Usage::default(),
            calls: 0,
            partial: String::new(),
            started: Instant::now(),
        }
    }

    pub(super) fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Begins with another turn and gives what the last one came to. The
    /// conversation and its model stay.
    pub(super) fn take(&mut self) -> Answer {
        let fresh = Answer {
            session_id: self.answer.session_id.clone(),
            model: self.answer.model.clone(),
            ..Answer::default()
        };
        self.used = Usage::default();
        self.calls = 0;
        self.partial.clear();
        std::mem::replace(&mut self.answer, fresh)
    }

    /// Goes back to what a former turn came to.
    pub(super) fn restore(&mut self, answer: Answer) {
        self.answer = answer;
    }

    /// The turn was ended before its result.
    pub(super) fn interrupted(&mut self) {
        self.answer.interrupted = true;
        self.keep_partial();
        self.answer.latency = self.started.elapsed();
    }

    /// Of a text that was cut short the pieces are all there is.
    fn keep_partial(&mut self) {
        if !self.partial.is_empty() {
            self.answer.text = std::mem::take(&mut self.partial);
        }
    }

    /// Adds a line.
    pub(super) fn add(&mut self, message: &SdkMessage) {
        for view in message.views() {
            match view {
                View::SessionStarted(session) => {
                    self.answer.session_id = Some(session.session_id.into_owned());
                    if let Some(model) = session.model {
                        self.answer.model = Some(model.into_owned());
                    }
                }
                View::TextDelta { text, parent: None } => self.partial.push_str(&text),
                View::Text { text, parent: None } => {
                    self.partial.clear();
                    self.answer.text = text.into_owned();
                }
                View::TokensUsed(used) => {
                    self.used.input_tokens += used.input_tokens;
                    self.used.output_tokens += used.output_tokens;
                    self.used.cache_read_input_tokens += used.cache_read_input_tokens;
                    self.used.cache_creation_input_tokens += used.cache_creation_input_tokens;
                    self.calls += 1;
                }
                View::TurnFinished(finished) => {
                    self.finish(&finished);
                    self.answer.result = Some(message.clone());
                }
                _ => {}
            }
        }
    }

    fn finish(&mut self, finished: &TurnFinished<'_>) {
        let used = std::mem::take(&mut self.used);
        let calls = std::mem::take(&mut self.calls);
        let answer = &mut self.answer;
        answer.is_error = finished.is_error;
        answer.interrupted = finished.is_interrupted();
        answer.errors = finished.errors.iter().map(ToString::to_string).collect();
        answer.usage = if calls > 0 { used } else { finished.usage };
        answer.total_cost_usd = finished.total_cost_usd;
        answer.num_turns = finished.num_turns.or((calls > 0).then_some(calls));
        answer.structured_output =
            finished.structured_output.as_ref().map(|value| value.get().to_owned());
        answer.latency = self.started.elapsed();
        if let Some(id) = &finished.session_id {
            answer.session_id = Some(id.to_string());
        }
        match &finished.result {
            Some(result) => answer.text = result.to_string(),
            None if answer.interrupted => self.keep_partial(),
            None => {}
        }
    }
}
