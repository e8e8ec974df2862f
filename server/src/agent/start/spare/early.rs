//! Output of a spare before its use, kept for the session that will use it.

use std::collections::VecDeque;

use crate::agent::claude;
use crate::agent::protocol::Route;
use crate::process::lines::{Block, Line};
use crate::process::{Output, ProcessEvent};

/// Most bytes of output that a spare may write before it is used.
const OUTPUT_BYTES: usize = 4 << 20;

/// Most events of a spare that are kept.
const EVENTS: usize = 64;

/// What a process has said before it was used.
#[derive(Debug, Default)]
pub struct Early {
    /// Its output.
    pub output: VecDeque<Output>,
    /// Its other events.
    pub events: VecDeque<ProcessEvent>,
    bytes: usize,
}

impl Early {
    /// Keeps lines. Returns true if the answer to the request `probe` is one of
    /// them.
    pub(super) fn keep_lines(&mut self, block: Block, probe: &str) -> bool {
        let mut answered = false;
        for line in block.lines() {
            if let Line::Whole(line) = line {
                self.bytes += line.len();
                answered |=
                    matches!(claude::classify(line), Route::Answer { id, .. } if id == probe);
            }
        }
        self.output.push_back(Output::Lines(block));
        answered
    }

    pub(super) fn is_within_bounds(&self) -> bool {
        self.bytes <= OUTPUT_BYTES && self.events.len() <= EVENTS
    }
}
