//! Variables that look like settings and are none.

use std::ffi::OsString;

use clap::CommandFactory as _;
use claude_relay_protocol::nearest::nearest;
use claude_relay_protocol::text::cut;

use super::Args;

const PREFIX: &str = "RELAY_";

/// Variables of the command line `claude-relay`, which may run on the same
/// machine.
const OF_THE_CLIENT: [&str; 3] = ["RELAY_HISTORY", "RELAY_TOKEN", "RELAY_URL"];

/// Most names that are told.
const MAX_NAMES: usize = 16;

/// Longest part of a name that is told, in characters.
const MAX_NAME_CHARS: usize = 60;

/// Returns a sentence for each variable with the prefix of the settings that
/// is no setting. It holds no value.
pub(super) fn warnings<'a>(names: impl Iterator<Item = &'a OsString>) -> Vec<String> {
    let known = known();
    names
        .map(|name| name.to_string_lossy())
        .filter(|name| name.starts_with(PREFIX) && !OF_THE_CLIENT.contains(&&**name))
        .filter(|name| !known.iter().any(|known| known == name))
        .take(MAX_NAMES)
        .map(|name| {
            let told = cut(&name, MAX_NAME_CHARS).escape_debug().to_string();
            // The prefix alone makes names alike.
            let rest = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
            let rests: Vec<_> = known.iter().map(|known| rest(known)).collect();
            match nearest(&rest(&name), rests.iter().map(String::as_str)) {
                Some(near) => {
                    format!("{told} is no setting of this server: did you mean {PREFIX}{near}?")
                }
                None => format!("{told} is no setting of this server, and has no effect"),
            }
        })
        .collect()
}

/// The variables that the help of the flags names.
fn known() -> Vec<String> {
    let command = Args::command();
    let help = |arg: &clap::Arg| {
        arg.get_long_help().or_else(|| arg.get_help()).map(|help| help.to_string())
    };
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let texts: Vec<_> = command.get_arguments().filter_map(help).collect();
    texts
        .iter()
        .flat_map(|text| text.split(|c| !is_name(c)))
        .filter(|word| word.starts_with(PREFIX))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_variables_are_named_with_the_nearest_setting() {
        let names: Vec<OsString> = [
            "RELAY_MODE",
            "RELAY_CODEX_TOKEN",
            "RELAY_MDOE",
            "RELAY_TOKEN",
            "RELAY_AUTH_TOKN",
            "RELAY_SOMETHING_ELSE",
            "HOST",
            "PATH",
        ]
        .map(OsString::from)
        .into();
        assert_eq!(
            warnings(names.iter()),
            [
                "RELAY_MDOE is no setting of this server: did you mean RELAY_MODE?",
                "RELAY_AUTH_TOKN is no setting of this server: did you mean RELAY_AUTH_TOKEN?",
                "RELAY_SOMETHING_ELSE is no setting of this server, and has no effect",
            ]
        );
        let many: Vec<OsString> = (0..100).map(|n| format!("RELAY_X{n}").into()).collect();
        assert_eq!(warnings(many.iter()).len(), MAX_NAMES);
    }

    #[test]
    fn every_variable_that_is_read_is_known() {
        let source = [include_str!("flags.rs"), include_str!("source.rs")].concat();
        let is_name = |word: &&str| {
            word.starts_with(PREFIX) && word.bytes().all(|b| b == b'_' || b.is_ascii_uppercase())
        };
        let known = known();
        for name in source.split('"').filter(is_name) {
            assert!(known.iter().any(|known| known == name), "no help names {name}");
        }
    }
}
