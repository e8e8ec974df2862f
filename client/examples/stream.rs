//! The answer as it is being written, and what the agent does meanwhile.
//!
//! `cargo run --example stream -- http://localhost:3000 "What is here?"`

use std::error::Error;
use std::io::Write as _;

use claude_relay_client::{Client, ServerMessage, View};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or("http://localhost:3000".to_owned());
    let question = arguments.next().unwrap_or("Use a tool, please.".to_owned());
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());

    let client = Client::builder()
        .connection_url(url)
        .configure(|configuration| configuration.include_partial_messages = Some(true))
        .start()
        .await?;
    let mut turn = client.turn(question).await?;
    while let Some(message) = turn.next().await {
        let ServerMessage::Sdk(message) = message? else { continue };
        for view in message.views() {
            match view {
                View::TextDelta { text, parent: None } => {
                    write!(stdout, "{text}")?;
                    stdout.flush()?;
                }
                View::ToolUse { name, input, .. } => writeln!(stderr, "[{name} {input}]")?,
                View::TurnFinished(finished) => {
                    writeln!(stdout)?;
                    writeln!(stderr, "[{:?}, {:?}]", finished.duration, finished.usage)?;
                }
                _ => {}
            }
        }
    }
    client.stop().await;
    Ok(())
}
