//! Agents with faults, through real processes and sockets. Each
//! ends in the frames the contract names and in a server that works.

pub(crate) mod agent;
pub(crate) mod checks;
mod ends;
pub(crate) mod proxy;
pub(crate) mod raw;
mod starts;
mod streams;

use crate::support::relay::{Launch, Relay};
use crate::support::ws::{Client, Turn};
use agent::FakeAgent;
use checks::{Before, answers_at_once};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use serde_json::Value;

/// The conversation of a [`FakeAgent`]'s first process.
const SESSION: &str = "00000000-0000-4000-8000-000000000001";

/// An agent with a fault, the server beside it, and a client.
struct Trial {
    client: Client,
    relay: Relay,
    agent: FakeAgent,
    before: Before,
    env: TestEnv,
}

impl Trial {
    /// The agent does what `story` says; see [`FakeAgent::new`].
    async fn of(story: &str) -> Self {
        Self::launched(story, |launch, _| launch).await
    }

    /// The same with a say in how the server is started.
    async fn launched(story: &str, adjust: impl FnOnce(Launch, &TestEnv) -> Launch) -> Self {
        let env = TestEnv::new();
        let agent = FakeAgent::new(&env, story);
        let launch = adjust(agent.launch(&env), &env);
        Self::start(env, agent, launch).await
    }

    /// With a server that may start something else than the agent.
    async fn start(env: TestEnv, agent: FakeAgent, launch: Launch) -> Self {
        let relay = launch.argument("--stop-grace=500ms").start();
        let before = Before::of(&relay);
        let client = Client::connect(relay.address()).await;
        Self { client, relay, agent, before, env }
    }

    /// The checks after every fault.
    async fn over(self) {
        self.client.close().await;
        self.before.check(&self.relay).await;
    }

    /// Says something and sees it through.
    async fn turn(&mut self, text: &str) -> Turn {
        self.client.say(text).await;
        self.client.turn().await
    }

    /// The words of the next error.
    async fn error(&mut self) -> String {
        let frames = self.client.until(|frame| frame["type"] == "error").await;
        frames.last().expect("one")["error"].as_str().expect("a text").to_owned()
    }

    /// The two frames that tell of the agent's end: words, then facts.
    async fn told_of_the_end(&mut self) -> (String, Value) {
        let frames = self.client.until(|frame| frame["type"] == "exit").await;
        let [.., error, exit] = &frames[..] else { panic!("an error before it: {frames:#?}") };
        assert_eq!(error["type"], "error", "{frames:#?}");
        (error["error"].as_str().expect("a text").to_owned(), exit.clone())
    }

    /// The agent's part of `/health`.
    async fn health(&self) -> Value {
        answers_at_once(self.relay.address()).await["agent"].take()
    }

    /// Waits for a field of it.
    async fn agent_is(&self, field: &str, wanted: impl Into<Value>) {
        let wanted = wanted.into();
        wait::until_async(&format!("{field} to be {wanted}"), async || {
            self.health().await[field] == wanted
        })
        .await;
    }
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("message {number}")).collect()
}
