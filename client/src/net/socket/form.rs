//! Form in which long messages are written.

/// The longest part of a message that is written as one frame. With an answer to
/// each within the default 10 s of a heartbeat, 26 KB a second are enough.
pub(crate) const PART_BYTES: usize = 256 << 10;

/// Form of the messages of over 256 KiB, for one connection after another: in
/// parts with a ping behind each, or whole.
///
/// The answers to the pings show that the server reads, however slow the way to it
/// is. But a connection that breaks after so many frames takes no message of more
/// parts: after one over which nothing came through, the next has the other form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageForm {
    is_whole: bool,
}

impl MessageForm {
    /// Records the end of a connection: `progressed` if something came through.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut form = claude_relay_client::MessageForm::default();
    /// form.connection_ended(false);
    /// assert_ne!(form, claude_relay_client::MessageForm::default());
    /// ```
    pub fn connection_ended(&mut self, progressed: bool) {
        self.is_whole = !progressed && !self.is_whole;
    }

    /// Returns the bytes of one frame of a message of so many bytes.
    pub(super) fn part_bytes(self, message_bytes: usize) -> usize {
        if self.is_whole { message_bytes } else { PART_BYTES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_take_turns_until_something_comes_through() {
        let mut form = MessageForm::default();
        let mut whole = |progressed| {
            form.connection_ended(progressed);
            form.part_bytes(1 << 20) == 1 << 20
        };
        assert_eq!([false, false, false].map(&mut whole), [true, false, true]);
        assert_eq!([true, true, false].map(&mut whole), [false, false, true]);
    }
}
