//! `claude-relay watch`: reads along beside the client that holds the slot.

use std::io;

use claude_relay_client::{SdkMessage, ServerMessage, View};
use serde_json::Value;

use crate::args::ServerArgs;
use crate::connect::{builder, explain};
use crate::exit::{Exit, with_causes};
use crate::render::Renderer;
use crate::signals::Signals;
use crate::terminal::{Terminal, printable};

pub(crate) async fn watch(
    server: &ServerArgs,
    json: bool,
    terminal: &Terminal,
) -> Result<Exit, Exit> {
    let mut signals = Signals::new()?;
    let builder = builder(server)?.watch(true).from_beginning();
    let client = tokio::select! {
        client = builder.start() => client.map_err(|error| explain(error, server))?,
        signal = signals.next() => return Err(signal.exit()),
    };
    let mut renderer = Renderer::drawing(terminal, server.verbose > 0);
    let mut messages = client.messages();
    let exit = loop {
        let message = tokio::select! {
            message = messages.next() => message,
            signal = signals.next() => break signal.exit(),
        };
        let shown = match message {
            None => break Exit::OK,
            Some(Err(error)) => break Exit::failed(with_causes(&error)),
            Some(Ok(message)) if json => print(&message, terminal),
            Some(Ok(message)) => show(&message, &mut renderer, terminal),
        };
        if let Err(error) = shown {
            break Exit::unwritten(&error);
        }
    };
    client.stop().await;
    Ok(exit)
}

/// Prints a message of the agent as a line of JSON.
fn print(message: &ServerMessage, terminal: &Terminal) -> io::Result<()> {
    match message {
        ServerMessage::Sdk(message) => match message.json() {
            Ok(line) => terminal.answer(&format!("{}\n", line.get())),
            // Another line of the agent than JSON comes as something else.
            Err(_) => Ok(()),
        },
        ServerMessage::Gap(_) => {
            terminal.complain("some messages are missing here");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Shows a message as a chat does.
fn show(
    message: &ServerMessage,
    renderer: &mut Renderer<'_>,
    terminal: &Terminal,
) -> io::Result<()> {
    match message {
        ServerMessage::Input(data) => {
            renderer.end_line()?;
            let said = data.parse::<Value>().map(|data| words(&data)).unwrap_or_default();
            terminal.answer(&format!("> {}\n", printable(&said).replace('\n', "\n  ")))
        }
        ServerMessage::Sdk(message) => {
            renderer.show(&ServerMessage::Sdk(message.clone()))?;
            if ends_turn(message) { renderer.end_line() } else { Ok(()) }
        }
        message => renderer.show(message),
    }
}

fn ends_turn(message: &SdkMessage) -> bool {
    message.views().iter().any(|view| matches!(view, View::TurnFinished(_)))
}

/// The text of a user message; what is no text is named.
fn words(data: &Value) -> String {
    let content = &data["message"]["content"];
    let Some(blocks) = content.as_array() else {
        return content.as_str().unwrap_or_default().to_owned();
    };
    let word = |block: &Value| match block["text"].as_str() {
        Some(text) => text.to_owned(),
        None => format!("[{}]", block["type"].as_str().unwrap_or("something")),
    };
    blocks.iter().map(word).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_words_of_a_message_are_its_texts() {
        let of = |content: Value| words(&json!({ "message": { "content": content } }));
        assert_eq!(of(json!("Hi")), "Hi");
        let blocks = json!([{ "type": "text", "text": "a" }, { "type": "image", "source": {} }]);
        assert_eq!(of(blocks), "a\n[image]");
        assert_eq!(of(json!(7)), "");
    }
}
