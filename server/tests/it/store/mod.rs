//! Conversations that outlive their machine. A machine is a relay with a home, a
//! workspace and a directory of the CLI of its own; the store is beside them.

#[cfg(feature = "s3")]
mod bucket;
mod conformance;
mod damaged;
mod down;
mod elsewhere;
mod full;
mod kills;
mod listed;

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::messages_api::{MessagesApi, Request};
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A machine with a real CLI.
struct Machine {
    env: TestEnv,
    api: MessagesApi,
    relay: Relay,
    client: Client,
}

impl Machine {
    /// Starts one with `store` and `config`.
    async fn start(cli: Cli, store: &Path, config: Value) -> Self {
        Self::launched(cli, config, |launch| launch.argument("--store").argument(store)).await
    }

    async fn launched(cli: Cli, config: Value, adjust: impl FnOnce(Launch) -> Launch) -> Self {
        Self::on(TestEnv::new(), cli, config, adjust).await
    }

    async fn on(
        env: TestEnv,
        cli: Cli,
        config: Value,
        adjust: impl FnOnce(Launch) -> Launch,
    ) -> Self {
        let api = MessagesApi::start();
        let relay = adjust(Launch::unrestricted(&env, &cli.path(), &api)).start();
        let answer = http::post(relay.address(), "/config", &config.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let client = Client::open(relay.address(), "/ws?supports=agent_state").await;
        Self { env, api, relay, client }
    }

    /// Starts one that resumes the conversation `id` of the store.
    async fn resuming(cli: Cli, store: &Path, id: &str) -> Self {
        Self::start(cli, store, json!({ "resume": id })).await
    }

    /// One turn: what the client is told at its end.
    async fn turn(&mut self, question: &str, answer: &str) -> Value {
        self.api.script([Reply::text(answer)]);
        self.client.say(question).await;
        let turn = self.client.turn().await;
        assert_eq!(turn.result()["result"], answer, "{turn:#?}");
        turn.result().clone()
    }

    /// Waits until the client has been told so. What the server says of its
    /// store comes when it knows it, before or behind the end of a turn.
    async fn until_told(&mut self, words: &str) {
        if !self.client.frames().iter().any(|frame| frame.contains(words)) {
            self.client.until(|frame| frame.to_string().contains(words)).await;
        }
    }

    /// The power goes.
    fn lose(self) -> (TestEnv, MessagesApi) {
        self.relay.signal(Signal::KILL);
        self.relay.end();
        (self.env, self.api)
    }

    async fn end(self) {
        self.client.close().await;
        self.relay.stop();
    }
}

/// The parts of a conversation in the store, in order. One that is being written has
/// another name.
fn parts(store: &Path, id: &str) -> Vec<PathBuf> {
    let projects = std::fs::read_dir(store).expect("the store");
    let mut folders = projects.map(|project| project.expect("a project").path().join(id));
    let folder = folders.find(|folder| folder.is_dir()).expect("the conversation");
    let parts = std::fs::read_dir(folder).expect("parts").map(|part| part.expect("a part").path());
    let is_part = |part: &PathBuf| part.extension().is_some_and(|extension| extension == "jsonl");
    let mut parts: Vec<PathBuf> = parts.filter(is_part).collect();
    parts.sort();
    parts
}

fn texts(parts: &[PathBuf]) -> String {
    parts.iter().map(|part| std::fs::read_to_string(part).expect("text")).collect()
}

/// The messages of a request as the model sees them: without the marks of what
/// is cached, and with texts as blocks, which the last message has.
fn messages(request: &Request) -> Vec<Value> {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.shift_remove("cache_control");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut messages = request.body["messages"].clone();
    strip(&mut messages);
    for message in messages.as_array_mut().expect("messages") {
        if let Some(text) = message["content"].as_str() {
            message["content"] = json!([{ "type": "text", "text": text }]);
        }
    }
    messages.as_array().expect("messages").clone()
}
