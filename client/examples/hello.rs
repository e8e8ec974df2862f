//! The smallest program: one question, one answer.
//!
//! `cargo run --example hello -- http://localhost:3000`

use std::error::Error;
use std::io::Write as _;

use claude_relay_client::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or("http://localhost:3000".to_owned());
    let client = Client::builder().connection_url(url).start().await?;
    let answer = client.ask("Hello! Who are you?").await?;
    writeln!(std::io::stdout(), "{}", answer.text)?;
    client.stop().await;
    Ok(())
}
