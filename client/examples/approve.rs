//! The agent asks before it uses a tool, and this program decides: it allows
//! what only reads and denies the rest.
//!
//! `cargo run --example approve -- http://localhost:3000 "Tidy up here."`

use std::error::Error;
use std::io::Write as _;

use claude_relay_client::{Client, Decision, PermissionRequest};

async fn decide(request: PermissionRequest) -> Decision {
    match request.tool.as_str() {
        "Read" | "Glob" | "Grep" => Decision::allow(),
        tool => Decision::deny(format!("{tool} is not allowed here; only look, do not touch")),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or("http://localhost:3000".to_owned());
    let question = arguments.next().unwrap_or(r#"{"permission":"Bash"}"#.to_owned());

    let client = Client::builder().connection_url(url).on_permission(decide).start().await?;
    let answer = client.ask(question).await?;
    writeln!(std::io::stdout(), "{}", answer.text)?;
    client.stop().await;
    Ok(())
}
