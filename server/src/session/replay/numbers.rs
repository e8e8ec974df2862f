//! The places of `input` frames in the replay buffer, and the numbers that
//! clients see.
//!
//! A client that asked for `input` counts all frames. To others these frames do
//! not exist: their numbers leave them out, whenever somebody asks for them.

use std::collections::VecDeque;

/// The places of the inputs, oldest first.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// Number of inputs before the oldest frame that is kept.
    evicted: u64,
    kept: VecDeque<u64>,
}

impl Inputs {
    /// Adds the input at `place`, the newest frame.
    pub(super) fn push(&mut self, place: u64) {
        self.kept.push_back(place);
    }

    /// Removes the inputs before `first`.
    pub(super) fn evict(&mut self, first: u64) {
        while self.kept.front().is_some_and(|place| *place < first) {
            self.kept.pop_front();
            self.evicted += 1;
        }
    }

    /// Returns the number of the frame at `place`, or of the next one after an
    /// input, without inputs.
    pub(super) fn number(&self, place: u64) -> u64 {
        let before = self.kept.partition_point(|input| *input < place) as u64;
        place - self.evicted - before
    }

    /// Returns the place of the frame `number` of such numbers.
    pub(super) fn place(&self, number: u64) -> u64 {
        // Among the inputs are so many before it as there are with no more
        // frames before them than it has.
        let (mut low, mut high) = (0, self.kept.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.number(self.kept[middle]) <= number {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        number + self.evicted + low as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_without_inputs_have_no_holes(
            frames in proptest::collection::vec(any::<bool>(), 1..60),
            first in 1u64..60,
        ) {
            let mut inputs = Inputs::default();
            for (at, is_input) in frames.iter().enumerate() {
                if *is_input {
                    inputs.push(at as u64 + 1);
                }
            }
            let first = first.min(frames.len() as u64);
            inputs.evict(first);
            let mut number = 0;
            for (at, is_input) in frames.iter().enumerate() {
                let place = at as u64 + 1;
                if !is_input {
                    number += 1;
                    if place >= first {
                        prop_assert_eq!(inputs.number(place), number);
                        prop_assert_eq!(inputs.place(number), place);
                    }
                }
            }
        }
    }
}
