//! `claude-relay watch`: reads along beside the client that holds the slot.

use claude_relay_client::ServerMessage;

use crate::args::ServerArgs;
use crate::connect::{builder, explain};
use crate::exit::{Exit, with_causes};
use crate::signals::Signals;
use crate::terminal::Terminal;

pub(crate) async fn watch(server: &ServerArgs, terminal: &Terminal) -> Result<Exit, Exit> {
    let mut signals = Signals::new()?;
    let builder = builder(server)?.watch(true).from_beginning();
    let client = tokio::select! {
        client = builder.start() => client.map_err(|error| explain(error, server))?,
        signal = signals.next() => return Err(signal.exit()),
    };
    let mut messages = client.messages();
    let exit = loop {
        let message = tokio::select! {
            message = messages.next() => message,
            signal = signals.next() => break signal.exit(),
        };
        match message {
            None => break Exit::OK,
            Some(Err(error)) => break Exit::failed(with_causes(&error)),
            Some(Ok(ServerMessage::Sdk(message))) => {
                let Ok(line) = message.json() else { continue };
                if let Err(error) = terminal.answer(&format!("{}\n", line.get())) {
                    break Exit::unwritten(&error);
                }
            }
            Some(Ok(ServerMessage::Gap(_))) => terminal.complain("some messages are missing here"),
            Some(Ok(_)) => {}
        }
    };
    client.stop().await;
    Ok(exit)
}
