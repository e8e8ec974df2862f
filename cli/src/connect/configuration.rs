//! The configuration of a call, from its options and a file.

use std::path::Path;

use claude_relay_client::Configuration;

use crate::args::TurnArgs;
use crate::ask::prompt::read_file;
use crate::exit::Exit;

/// Returns the configuration that a call asks for; empty if it asks for none.
/// Options win over the file of `--config`.
pub(crate) fn configuration(args: &TurnArgs) -> Result<Configuration, Exit> {
    let Some(path) = &args.config else { return Ok(args.configuration()) };
    let file = from_file(path)?;
    let mut options = args.configuration();
    if options.is_empty() && !file.is_empty() {
        options.include_partial_messages = Some(file.include_partial_messages.unwrap_or(true));
    }
    Ok(file.overlaid_with(options))
}

fn from_file(path: &Path) -> Result<Configuration, Exit> {
    let told = |reason: &str| format!("--config {}: {reason}", path.display());
    let bytes = read_file(path, "--config")?;
    let text = str::from_utf8(&bytes).map_err(|_| Exit::not_understood(told("it is not UTF-8")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let configuration = Configuration::from_json(text)
        .map_err(|error| Exit::not_understood(told(&error.to_string())))?;
    if configuration.auth_token.is_some() {
        return Err(Exit::usage(told(
            "authToken claims a server for good: give its token by --token",
        )));
    }
    Ok(configuration)
}
