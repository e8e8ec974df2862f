//! What keeps a sandbox from getting new time, told while somebody can act on it.

use claude_relay_client::Client;

/// Tells of a failure to give the sandbox new time, once until it is over.
#[derive(Default)]
pub(crate) struct Trouble {
    is_told: bool,
}

impl Trouble {
    /// Returns the sentence to tell now, if any.
    pub(crate) fn describe(&mut self, client: &Client) -> Option<String> {
        // A client of an address has no sandbox.
        let trouble = client.sandbox_trouble().ok().flatten();
        let was_told = std::mem::replace(&mut self.is_told, trouble.is_some());
        match trouble {
            Some(error) if !was_told => {
                Some(format!("the sandbox gets no new time and may end: {error}"))
            }
            None if was_told => Some("the sandbox gets new time again".to_owned()),
            _ => None,
        }
    }
}
