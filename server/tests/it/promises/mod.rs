//! The promises of the modes, as a matrix: each way in × each mode, with the
//! real CLI in a hostile repository and a Messages API that plays a model under
//! somebody's influence. A new row is one line in [`rows`].

mod checkout;
mod codex;
mod descriptors;
mod options;
mod restart;
mod rows;
mod subtypes;
mod ways;

use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;
use checkout::{INSTRUCTIONS, OWN_WORDS, PROGRAMS, Places, WORDS, operator_files};
use claude_relay_server::agent::controls;
use claude_relay_testing::messages_api::{MessagesApi, TURN_WITHOUT_TOOLS};
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

/// The longest time for one cell, beside all else that a machine does. With a guard
/// missing some ways leave the CLI waiting.
const CELL_DEADLINE: Duration = Duration::from_secs(20);

/// The gains that a way could have.
const PRIZES: [(&str, &str); 17] = [
    ("address", "reach another address with the key"),
    ("command", "change the operator's own files, run a program"),
    ("configuration", "take a wider ceiling, run a program, send the key elsewhere"),
    ("control request", "run a program, read or write outside, send the key elsewhere"),
    ("environment", "read a secret"),
    ("field of a message", "read outside, act unasked"),
    ("file", "change the operator's own files"),
    ("instructions", "be read, or not"),
    ("mention", "read outside"),
    ("message", "read outside, load a skill"),
    ("new file", "write outside"),
    ("program", "run a program"),
    ("request to the model", "read a secret"),
    ("tool", "read or write outside, act unasked"),
    ("trust", "act unasked later"),
    ("word of the operator", "read the operator's own files"),
    ("word of the repository", "choose the agent's words, model, tools"),
];

/// The cells of one mode and one CLI.
struct Cells {
    title: String,
    all: Vec<(&'static str, String, bool)>,
}

impl Cells {
    /// Waits for what a cell needs. One that never comes fails by its name, and at
    /// once: what follows would wait for the same.
    async fn wait<T>(&self, way: &str, row: &str, needed: impl Future<Output = T>) -> T {
        match tokio::time::timeout(CELL_DEADLINE, needed).await {
            Ok(outcome) => outcome,
            Err(_) => {
                panic!("{}: {}: no end within {CELL_DEADLINE:?}", self.title, named(way, row))
            }
        }
    }

    fn add(&mut self, way: &'static str, row: impl Into<String>, held: bool) {
        self.all.push((way, row.into(), held));
    }

    /// Adds the traces that the repository may not leave: programs of its own that
    /// have run, and its words or the operator's in what was `sent` to the model.
    fn add_traces(&mut self, places: &Places, sent: &str) {
        for program in PROGRAMS {
            self.add("program", *program, !places.ran(program));
        }
        for word in WORDS {
            self.add("word of the repository", *word, !sent.contains(word));
        }
        for word in OWN_WORDS {
            self.add("word of the operator", *word, !sent.contains(word));
        }
    }

    /// Adds the files of the operator, which are as they were `before`.
    fn add_files(&mut self, places: &Places, before: &BTreeMap<PathBuf, Vec<u8>>) {
        let after = operator_files(places);
        for (file, content) in before {
            self.add("file", file.display().to_string(), after.get(file) == Some(content));
        }
        for file in after.keys().filter(|file| !before.contains_key(*file)) {
            self.add("new file", file.display().to_string(), false);
        }
    }

    /// Prints the table of outcomes and fails by name.
    #[expect(clippy::print_stdout, reason = "the table is what a person wants to see of a run")]
    fn finish(self) {
        let mut ways: Vec<&str> = self.all.iter().map(|(way, _, _)| *way).collect();
        ways.dedup();
        for way in ways {
            let of = self.all.iter().filter(|(other, _, _)| *other == way);
            let held = of.clone().filter(|(_, _, held)| *held).count();
            println!("{:24} {way:24} {held:4} of {:4} held", self.title, of.count());
        }
        let broken = self.all.iter().filter(|(_, _, held)| !held);
        let broken: Vec<_> = broken.map(|(way, row, _)| named(way, row)).collect();
        assert!(broken.is_empty(), "{}: {broken:#?}", self.title);
    }
}

/// A cell by its way, its prize and its row.
fn named(way: &str, row: &str) -> String {
    let prize = PRIZES.iter().find(|(other, _)| *other == way);
    format!("{way} ({}): {row}", prize.map_or("", |(_, prize)| prize))
}

/// Everything that one mode has to hold against.
async fn matrix(cli: Cli, mode: &'static str) {
    let mut cells = Cells { title: format!("{cli:?} {mode}"), all: Vec::new() };
    let (env, api, foreign) = (TestEnv::new(), MessagesApi::start(), MessagesApi::start());
    let places = checkout::lay_out(&env, rows::MENTIONS.len(), foreign.url());
    let before = operator_files(&places);
    let relay = Launch::unrestricted(&env, &cli.path(), &api).mode(mode).start();

    let narrow = mode != "ask";
    let narrow_rows = if narrow { rows::NARROW_CONFIGURATIONS } else { &[] };
    for row in rows::CONFIGURATIONS.iter().chain(narrow_rows) {
        let answer = http::post(relay.address(), "/config", &places.fill(row, 0)).await;
        cells.add("configuration", *row, answer.status == 400);
    }

    let mut client = Client::connect(relay.address()).await;
    if narrow {
        // The start of the CLI is no cell's.
        client.say("Hi").await;
        client.turn().await;
        for (n, row) in rows::MENTIONS.iter().enumerate() {
            client.say(places.fill(row, n)).await;
            cells.wait("mention", row, client.turn()).await;
        }
        let sent = requests(&api);
        for (n, row) in rows::MENTIONS.iter().enumerate() {
            cells.add("mention", *row, !sent.contains(&format!("SECRET-{n}-END")));
        }
        for row in rows::COMMANDS {
            client.say(places.fill(row, 0)).await;
            cells.wait("command", row, client.turn()).await;
            cells.add("command", *row, operator_files(&places) == before);
        }
        for row in rows::FIELDS {
            let mut data: Value = serde_json::from_str(&places.fill(row, 0)).expect("an object");
            data["type"] = json!("user");
            data["message"] = json!({ "role": "user", "content": "Hi" });
            client.send(&json!({ "type": "user_message", "data": data })).await;
            let frames = cells.wait("field of a message", row, client.until(ends_or_refuses)).await;
            let refused = frames.iter().any(|frame| frame["type"] == "error");
            cells.add("field of a message", *row, refused);
        }
    }
    hostile_controls(&mut cells, &mut client, &places, cli).await;
    hostile_tools(&mut cells, &mut client, &api, &places, mode).await;
    client.close().await;
    relay.stop();

    let sent = requests(&api);
    cells.add_traces(&places, &sent);
    let reads = mode != "safe";
    cells.add("instructions", "CLAUDE.md", sent.contains(INSTRUCTIONS) == reads);
    cells.add("address", "of the repository", foreign.requests().is_empty());
    let state = std::fs::read_to_string(places.config.join(".claude.json")).unwrap_or_default();
    cells.add("trust", ".claude.json", !state.contains("hasTrustDialogAccepted\": true"));
    cells.add_files(&places, &before);
    cells.finish();
}

/// Returns true if a message has had its turn, or was refused.
fn ends_or_refuses(frame: &Value) -> bool {
    frame["type"] == "error" || frame["data"]["type"] == "result"
}

/// Every request to the API as one text.
fn requests(api: &MessagesApi) -> String {
    api.requests().iter().map(|request| request.body.to_string()).collect()
}

/// Control requests: each subtype that the CLI knows with everything that
/// could be too much, and those that only look harmless.
async fn hostile_controls(cells: &mut Cells, client: &mut Client, places: &Places, cli: Cli) {
    let arguments: Value =
        serde_json::from_str(&places.fill(rows::HOSTILE_ARGUMENTS, 0)).expect("an object");
    let known = subtypes::of(cli).into_iter().map(|subtype| {
        let mut request = arguments.clone();
        request["subtype"] = json!(subtype);
        (subtype, request)
    });
    let rows = rows::CONTROLS.iter().chain(rows::SERVERS).map(|row| {
        let request = serde_json::from_str(&places.fill(row, 0)).expect("an object");
        ((*row).to_owned(), request)
    });
    for (name, request) in known.chain(rows).collect::<Vec<_>>() {
        let frame = json!({ "type": "control_request", "requestId": name, "request": request });
        client.send(&frame).await;
        let answers = client.until(|frame| frame["type"] == "control_response");
        let answers = cells.wait("control request", &name, answers).await;
        let answer = answers.last().expect("the answer");
        let words = answer["response"]["error"].as_str().unwrap_or_default();
        let refused = answer["requestId"] == *name
            && ["of the server", "the relay itself", "the server's credential"]
                .iter()
                .any(|reason| words.contains(reason));
        cells.add("control request", name, refused);
    }
}

/// One turn of a model that asks for each of the tools in turn; whoever is
/// asked says no.
async fn hostile_tools(
    cells: &mut Cells,
    client: &mut Client,
    api: &MessagesApi,
    places: &Places,
    mode: &str,
) {
    let tools = rows::TOOLS.iter().map(|(tool, input)| {
        let input = serde_json::from_str(&places.fill(input, 0)).expect("an object");
        Reply::tool(tool, input)
    });
    api.script(tools.chain([Reply::text("Well.")]));
    client.say(format!("Go on {TURN_WITHOUT_TOOLS}")).await;
    let (mut results, mut asked) = (Vec::new(), 0);
    loop {
        let row = rows::TOOLS.get(results.len()).map_or("the end", |(tool, _)| tool);
        let frame = cells.wait("tool", row, client.frame()).await;
        if frame["type"] == "permission_request" {
            asked += 1;
            let id = &frame["requestId"];
            let no = json!({ "type": "permission_response", "requestId": id, "approved": false });
            client.send(&no).await;
        }
        let data = &frame["data"];
        let blocks = data["message"]["content"].as_array().into_iter().flatten();
        results.extend(blocks.filter(|block| block["type"] == "tool_result").cloned());
        if data["type"] == "result" {
            break;
        }
    }
    cells.add("tool", "all were tried", results.len() == rows::TOOLS.len());
    for ((tool, input), result) in rows::TOOLS.iter().zip(&results) {
        let told = result["content"].to_string();
        cells.add("tool", format!("{tool} {input}"), !told.contains("SECRET"));
    }
    cells.add("tool", "somebody was asked", (asked > 0) == (mode == "ask"));
}

macro_rules! matrices {
    ($($name:ident: $cli:ident, $mode:literal;)*) => {
        $(#[tokio::test]
        async fn $name() {
            matrix(Cli::$cli, $mode).await;
        })*
    };
}

matrices! {
    safe_holds_with_the_newest_cli: Newest, "safe";
    safe_holds_with_the_oldest_cli: Oldest, "safe";
    agentic_holds_with_the_newest_cli: Newest, "agentic";
    agentic_holds_with_the_oldest_cli: Oldest, "agentic";
    ask_holds_with_the_newest_cli: Newest, "ask";
    ask_holds_with_the_oldest_cli: Oldest, "ask";
}

#[test]
fn every_subtype_of_the_pinned_clis_has_a_decision() {
    for (cli, at_least) in [(Cli::Newest, 100), (Cli::Oldest, 50)] {
        let subtypes = subtypes::of(cli);
        assert!(subtypes.len() >= at_least, "{cli:?}: {subtypes:?}");
        let unknown: Vec<_> =
            subtypes.iter().filter(|subtype| !controls::is_known(subtype)).collect();
        assert!(unknown.is_empty(), "{cli:?} has subtypes without a decision: {unknown:?}");
    }
}

#[tokio::test]
async fn a_trusted_workspace_acts_and_an_untrusted_one_is_told_of() {
    for (argument, trusted) in [(None, false), (Some("--trust-workspace"), true)] {
        let (env, api, foreign) = (TestEnv::new(), MessagesApi::start(), MessagesApi::start());
        let places = checkout::lay_out(&env, 1, foreign.url());
        let launch = Launch::unrestricted(&env, &Cli::Newest.path(), &api).mode("ask");
        let launch = argument.into_iter().fold(launch, Launch::argument);
        let relay = launch.start();
        let mut client = Client::connect(relay.address()).await;
        client.say("Hi").await;
        client.turn().await;
        let health = http::get(relay.address(), "/health").await.json();
        assert_eq!(health["workspace_trusted"], trusted, "{health}");
        let wants = &health["workspace_wants"];
        assert_eq!(wants["mcp_servers"]["names"], json!(["evil"]), "{wants}");
        assert_eq!(wants["hooks"]["count"], 4, "{wants}");
        assert!(wants["helpers"]["names"].to_string().contains("apiKeyHelper"), "{wants}");
        assert_eq!(places.ran("session-start"), trusted);
        client.close().await;
        relay.stop();
    }
}
