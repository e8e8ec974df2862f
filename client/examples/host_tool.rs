//! The agent, wherever it runs, gets a tool of this program.
//!
//! `cargo run --example host_tool -- http://localhost:3000 "How much is 17 and 25?"`

use std::error::Error;
use std::io::Write as _;

use claude_relay_client::Client;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
struct Sum {
    a: i64,
    b: i64,
}

async fn add(Sum { a, b }: Sum) -> Result<i64, &'static str> {
    a.checked_add(b).ok_or("the sum is too large")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or("http://localhost:3000".to_owned());
    let question = arguments.next().unwrap_or("How much is 17 and 25?".to_owned());

    let client = Client::builder()
        .connection_url(url)
        .tool("add", "Adds two numbers", add)
        .allowed_tools(["mcp__host__add"])
        .start()
        .await?;
    writeln!(std::io::stdout(), "{}", client.ask(question).await?.text)?;
    client.stop().await;
    Ok(())
}
