//! What a `.env` file may set: an allow-list.

use std::collections::BTreeMap;

use claude_relay_protocol::credentials::{CREDENTIALS, Receiver, Redact};

/// Tokens of the relay's own, and settings that give nobody a right and start
/// no program.
const HARMLESS: [&str; 18] = [
    "PORT",
    "RELAY_AUTH_TOKEN",
    "RELAY_CODEX_RETRY_LIMIT",
    "RELAY_CODEX_TOKEN",
    "RELAY_KEY_PROXY",
    "RELAY_LOG",
    "RELAY_LOG_FORMAT",
    "RELAY_ON_WAITING_SECRET",
    "RELAY_PERMISSION_TIMEOUT",
    "RELAY_PING_INTERVAL",
    "RELAY_PONG_TIMEOUT",
    "RELAY_PROBE_TIMEOUT",
    "RELAY_REPLAY_BYTES",
    "RELAY_STOP_GRACE",
    "RELAY_STORE_ACCESS_KEY_ID",
    "RELAY_STORE_SECRET_ACCESS_KEY",
    "RELAY_STORE_SESSION_TOKEN",
    "RELAY_TURN_TIMEOUT",
];

/// Addresses, each with the receiver of the credential that is sent there.
const ADDRESSES: [(&str, Receiver); 6] = [
    ("ANTHROPIC_BASE_URL", Receiver::MessagesApi),
    ("OPENAI_BASE_URL", Receiver::OpenAi),
    ("E2B_API_URL", Receiver::E2b),
    ("E2B_DOMAIN", Receiver::E2b),
    ("E2B_SANDBOX_URL", Receiver::E2b),
    ("E2B_DEBUG", Receiver::E2b),
];

/// The variables of a file, sorted.
#[derive(Debug, Default)]
pub struct Selected {
    /// The variables to use.
    pub variables: BTreeMap<String, String>,
    /// Names of those that the file may not set.
    pub left_out: Vec<String>,
}

/// Sorts the variables of a file. Those that are set in the real environment
/// are not looked at: it wins.
///
/// An address is used when every credential that would be sent there comes
/// from the same file.
#[must_use]
pub fn select(found: BTreeMap<String, String>, is_set: impl Fn(&str) -> bool) -> Selected {
    let credentials_for = |receiver| {
        let of = CREDENTIALS.iter().filter(move |row| row.receiver == receiver);
        of.filter(|row| row.redact != Redact::UserInfo).map(|row| row.variable)
    };
    let has_credential: Vec<Receiver> = [Receiver::MessagesApi, Receiver::OpenAi, Receiver::E2b]
        .into_iter()
        .filter(|receiver| {
            let mut names = credentials_for(*receiver);
            names.clone().any(|name| found.get(name).is_some_and(|value| !value.is_empty()))
                && !names.any(&is_set)
        })
        .collect();
    let may_be_set = |name: &str| {
        let address = ADDRESSES.iter().find(|(address, _)| *address == name);
        match address {
            Some((_, receiver)) => has_credential.contains(receiver),
            None => HARMLESS.contains(&name) || CREDENTIALS.iter().any(|row| row.variable == name),
        }
    };
    let mut selected = Selected::default();
    for (name, value) in found {
        if is_set(&name) {
            continue;
        }
        if may_be_set(&name) {
            selected.variables.insert(name, value);
        } else {
            selected.left_out.push(name);
        }
    }
    selected
}
