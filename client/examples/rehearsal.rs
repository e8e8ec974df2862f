//! The turn of `scripts/rehearse`: a conversation in a sandbox, through this
//! crate, with the server that the rehearsed template has started and the real
//! Claude Code CLI behind it.
//!
//! It runs inside the rehearsal's root, where no network is. So it is also
//! what stands around a sandbox in the cloud: E2B's API and edge (the fake of
//! the tests, which checks every request) and the model (a Messages API that
//! says what it is told to).
//!
//! Run with `RELAY_URL=http://127.0.0.1:3000`, against a server that nobody
//! has claimed yet.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use claude_relay_client::e2b::{E2b, Options};
use claude_relay_client::{Client, RequestError};
use claude_relay_testing::e2b::{API_KEY, FakeE2b};

use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::Reply;

type Failure = Box<dyn std::error::Error>;

/// Longest time of a turn of the CLI on a busy machine.
const TURN_TIMEOUT: Duration = Duration::from_secs(300);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    #[allow(clippy::disallowed_methods, reason = "the rehearsal says the address this way")]
    let relay = std::env::var("RELAY_URL")?;
    let fake = FakeE2b::start().await;
    fake.forward(3000, relay.trim_start_matches("http://").parse()?);
    let variables = [("E2B_API_URL", fake.url()), ("E2B_SANDBOX_URL", fake.url())];
    let variables: BTreeMap<_, _> = variables
        .into_iter()
        .chain([("E2B_API_KEY", API_KEY.to_owned())])
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    let e2b = E2b::new(Options::default().resolve_with(&variables)?)?;
    let model = MessagesApi::start();
    model.script([Reply::text("The rehearsal went well."), Reply::text("And so did the rest.")]);

    let client = Client::builder()
        .template("")
        .e2b(e2b.clone())
        .environment(false)
        .configure(|configuration| {
            configuration.anthropic_api_key = Some("sk-ant-rehearsal".into());
            configuration.anthropic_base_url = Some(model.url());
        })
        .start()
        .await?;
    say("connected", &format!("{client:?}"))?;

    // The server is claimed: the address alone is not enough.
    let direct = Client::builder().connection_url(&relay).environment(false);
    let refused = direct.get_configuration().await;
    expect(
        "a client without the token is refused",
        matches!(refused, Err(RequestError::Unauthorized { .. })),
    )?;
    say("configuration", client.configuration().await?.get())?;
    expect("no secret is in it", !client.configuration().await?.get().contains("sk-ant"))?;

    let first = ask(&client, "How did it go?").await?;
    expect("the first answer", first.text == "The rehearsal went well." && !first.is_error)?;
    say("model", first.model.as_deref().unwrap_or_default())?;

    let id = client.detach().await?;
    let client = Client::attach(&id).e2b(e2b.clone()).start().await?;
    let second = ask(&client, "And then?").await?;
    expect("the second answer", second.text == "And so did the rest.")?;
    expect("in the same conversation", first.session_id == second.session_id)?;
    client.kill().await?;
    expect("all is cleaned up", e2b.wait_for_cleanup(TURN_TIMEOUT).await)?;
    fake.finish();
    Ok(())
}

async fn ask(client: &Client, question: &str) -> Result<claude_relay_client::Answer, Failure> {
    let answer = tokio::time::timeout(TURN_TIMEOUT, client.ask(question)).await??;
    say(question, &answer.text)?;
    Ok(answer)
}

fn expect(what: &str, holds: bool) -> Result<(), Failure> {
    say(what, if holds { "yes" } else { "no" })?;
    if holds { Ok(()) } else { Err(format!("not so: {what}").into()) }
}

fn say(what: &str, said: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{what}: {said}")?)
}
