//! The real Codex, a scripted Responses API, a server and one client: what
//! every scenario with the real Codex begins with and ends with.

use super::http;
use super::relay::{Launch, Relay};
use super::ws::Client;
use claude_relay_testing::codex_home::variables;
pub(crate) use claude_relay_testing::codex_home::{CODEX_KEY, Home, KEY_VARIABLE, prepare_home};
use claude_relay_testing::responses_api::ResponsesApi;
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::{tools, wait};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The actors of one scenario.
pub(crate) struct CodexFixture {
    pub(crate) env: TestEnv,
    pub(crate) api: ResponsesApi,
    pub(crate) relay: Relay,
    pub(crate) client: Client,
}

impl CodexFixture {
    /// A Codex that may do everything, and `config` beside the provider.
    pub(crate) async fn start(config: Value) -> Self {
        Self::launched("unrestricted", config, |launch, _| launch).await
    }

    /// The same in another mode, with a say in how the server is started.
    pub(crate) async fn launched(
        mode: &str,
        config: Value,
        adjust: impl FnOnce(Launch, &ResponsesApi) -> Launch,
    ) -> Self {
        Self::at_home(Home::default(), mode, config, adjust).await
    }

    /// The same with more in Codex's own configuration.
    pub(crate) async fn at_home(
        home: Home<'_>,
        mode: &str,
        config: Value,
        adjust: impl FnOnce(Launch, &ResponsesApi) -> Launch,
    ) -> Self {
        let (env, api) = (TestEnv::new(), ResponsesApi::start());
        home.prepare(&env, &api.url());
        let launch = launch(&env, mode).argument("--codex-path").argument(teed(&env));
        let relay = adjust(launch, &api).start();
        configure(&relay, config).await;
        let client = Client::connect(relay.address()).await;
        Self { env, api, relay, client }
    }

    /// One message, and the frames to the end of its turn.
    pub(crate) async fn turn(&mut self, text: &str) -> Turn {
        self.client.say(text).await;
        self.rest().await
    }

    /// The frames to the end of the turn that runs.
    pub(crate) async fn rest(&mut self) -> Turn {
        rest(&mut self.client).await
    }

    /// The next question.
    pub(crate) async fn question(&mut self) -> Value {
        let is_question = |frame: &Value| frame["type"] == "permission_request";
        self.client.until(is_question).await.pop().expect("until gives at least one")
    }

    /// The agent's part of `/health`.
    pub(crate) async fn agent(&self) -> Value {
        http::get(self.relay.address(), "/health").await.json()["agent"].take()
    }

    /// Its process id.
    pub(crate) async fn pid(&self) -> i32 {
        let agent = self.agent().await;
        let pid = agent["pid"].as_i64().unwrap_or_else(|| panic!("a running agent, not {agent}"));
        i32::try_from(pid).expect("a process id fits")
    }

    /// Every scenario's end over stdio: the client has got what Codex wrote,
    /// byte for byte, and the server goes without leaving anything.
    pub(crate) async fn end(mut self) {
        let expected = || {
            let lines = std::fs::read_to_string(self.env.file("codex-stdout"));
            let lines = lines.expect("Codex writes UTF-8");
            lines
                .split_terminator('\n')
                .filter(|line| is_relayed(line))
                .map(str::to_owned)
                .collect()
        };
        let lines: Vec<String> = expected();
        while self.client.data().len() < lines.len() {
            self.client.frame().await;
        }
        let seen = self.client.data().len();
        let lines: Vec<String> = wait::until("the file to hold what the client has seen", || {
            Some(expected()).filter(|lines: &Vec<String>| lines.len() >= seen)
        })
        .await;
        assert!(!lines.is_empty(), "the comparison has something to compare");
        for (number, (seen, expected)) in self.client.data().iter().zip(&lines).enumerate() {
            assert!(
                *seen == expected,
                "message {number}:\nsaid {expected:.2000}\nseen {seen:.2000}"
            );
        }
        assert_eq!(seen, lines.len());
        self.end_unchecked().await;
    }

    /// The end of a scenario that has had several clients or processes.
    pub(crate) async fn end_unchecked(self) {
        self.client.close().await;
        self.relay.stop();
    }
}

/// Notifications are for the client; answers and questions are between Codex
/// and the relay.
fn is_relayed(line: &str) -> bool {
    let line: Value = serde_json::from_str(line).expect("Codex writes JSON");
    line.get("id").is_none() && line["method"] != "serverRequest/resolved"
}

/// The frames of one turn.
#[derive(Debug)]
pub(crate) struct Turn(pub(crate) Vec<Value>);

/// The frames to the end of the turn that runs.
pub(crate) async fn rest(client: &mut Client) -> Turn {
    Turn(client.until(|frame| frame["data"]["method"] == "turn/completed").await)
}

impl Turn {
    /// `completed`, `interrupted` or `failed`.
    pub(crate) fn status(&self) -> &Value {
        &self.0.last().expect("a turn has frames")["data"]["params"]["turn"]["status"]
    }

    /// The notifications of one method.
    pub(crate) fn of<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Value> {
        let is_it = move |frame: &&Value| frame["data"]["method"] == method;
        self.0.iter().filter(is_it).map(|frame| &frame["data"]["params"])
    }

    /// Items of one type that were completed.
    pub(crate) fn items(&self, kind: &str) -> Vec<&Value> {
        self.of("item/completed")
            .map(|params| &params["item"])
            .filter(|item| item["type"] == kind)
            .collect()
    }

    /// The agent's whole texts.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.items("agentMessage").iter().filter_map(|item| item["text"].as_str()).collect()
    }

    /// The texts of the relay's own `error` frames.
    pub(crate) fn errors(&self) -> Vec<&str> {
        let errors = self.0.iter().filter(|frame| frame["type"] == "error");
        errors.filter_map(|frame| frame["error"].as_str()).collect()
    }
}

/// Posts a configuration for Codex and gives the answer.
pub(crate) async fn configure(relay: &Relay, mut config: Value) -> Value {
    config["provider"] = json!("codex");
    let answer = http::post(relay.address(), "/config", &config.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A server in `mode` whose environment leads Codex to the test's provider.
pub(crate) fn launch(env: &TestEnv, mode: &str) -> Launch {
    let launch = Launch::new(env).argument("--mode").argument(mode);
    variables(env).iter().fold(launch, |launch, (name, value)| launch.variable(name, value))
}

/// A Codex whose stdout is also kept in a file, but for its version.
fn teed(env: &TestEnv) -> PathBuf {
    let (script, lines) = (env.file("codex-teed"), env.file("codex-stdout"));
    let text = format!(
        "#!/bin/bash\n[[ $1 == --version ]] && exec '{codex}' --version\n\
         exec '{codex}' \"$@\" > >(trap '' HUP INT TERM; exec tee -a '{lines}')\n",
        codex = tools::codex().display(),
        lines = lines.display(),
    );
    executable(&script, text);
    script
}
