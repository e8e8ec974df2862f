//! Options of the SDK that the model sees: the request at the Messages API
//! shows each, and is the one that the official SDK causes with the same
//! options.

mod rows;

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::{Client, Turn};
use claude_relay_protocol::config::fields::FIELDS;
use claude_relay_testing::messages_api::{MessagesApi, Request};
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::{self, Cli};
use claude_relay_testing::wait;
use rows::Row;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

/// Traces of a turn.
struct Seen {
    /// Its first request.
    request: Request,
    /// All its requests.
    text: String,
    /// The messages that the client got.
    messages: Vec<Value>,
}

impl Seen {
    fn has_beta(&self, name: &str) -> bool {
        self.request.header("anthropic-beta").split(',').any(|beta| beta == name)
    }

    fn has_tool(&self, name: &str) -> bool {
        self.request.tools().contains(&name)
    }

    fn has_message(&self, fits: impl Fn(&Value) -> bool) -> bool {
        self.messages.iter().any(fits)
    }
}

fn write(env: &TestEnv, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = env.workspace().join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("writable");
        std::fs::write(&path, text).expect("writable");
        if text.starts_with("#!") {
            std::fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a mode");
        }
    }
}

/// The variables of the CLI: programs of the workspace come first.
fn variables(env: &TestEnv, api: &MessagesApi) -> BTreeMap<String, String> {
    let mut variables = env.environment_with(api);
    let path = format!("{}/bin:{}", env.workspace().display(), variables["PATH"]);
    variables.insert("PATH".to_owned(), path);
    variables
}

fn options(row: &Row, env: &TestEnv) -> Value {
    let workspace = env.workspace().display().to_string();
    serde_json::from_str(&row.options.replace("{workspace}", &workspace)).expect("options")
}

/// The traces of a turn, and what was asked at the API.
async fn relayed(row: &Row) -> (Seen, Vec<Value>) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    write(&env, row.files);
    let path = &variables(&env, &api)["PATH"];
    let launch = Launch::unrestricted(&env, &Cli::Newest.path(), &api).variable("PATH", path);
    let relay = launch.start();
    configure(&relay, &options(row, &env)).await;
    api.script((row.replies)());
    let mut client = Client::connect(relay.address()).await;
    client.say(row.prompt).await;
    let turn = client.turn().await;
    client.close().await;
    relay.stop();
    let messages = turn.said().into_iter().cloned().collect();
    let requests = api.turns();
    let asked = requests.iter().map(|request| comparable(request, &env.workspace())).collect();
    let text = requests.iter().map(|request| request.body.to_string()).collect();
    let request = requests.first().expect("a request").clone();
    (Seen { request, text, messages }, asked)
}

async fn configure(relay: &Relay, config: &Value) {
    let answer = http::post(relay.address(), "/config", &config.to_string()).await.json();
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(answer["ignored"], Value::Null, "{answer}");
}

/// The requests that the official SDK causes.
async fn direct(row: &Row) -> Vec<Value> {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    write(&env, row.files);
    api.script((row.replies)());
    let given = json!({
        "options": options(row, &env), "prompt": row.prompt,
        "cwd": env.workspace(), "env": variables(&env, &api),
    });
    let mut node = tokio::process::Command::new("node");
    node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sdk/requests.mjs"));
    node.arg(tools::agent_sdk()).arg(Cli::Newest.path()).arg(given.to_string());
    node.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let status = wait::within("the SDK", node.status()).await.expect("node runs");
    assert!(status.success(), "{status}");
    api.turns().iter().map(|request| comparable(request, &env.workspace())).collect()
}

/// A request without what every run has of its own.
fn comparable(request: &Request, workspace: &Path) -> Value {
    let root = workspace.parent().expect("the place of the test").display().to_string();
    let whole = json!({ "body": request.body, "betas": request.header("anthropic-beta") });
    // The CLI makes names of directories from paths.
    let text =
        whole.to_string().replace(&root, "{root}").replace(&root.replace('/', "-"), "{root}");
    serde_json::from_str(&without_ids(&text)).expect("still JSON")
}

/// Takes out UUIDs, hashes, the random part of the CLI's name for itself and the
/// name of the file of a plan.
fn without_ids(text: &str) -> String {
    let is_id = |part: &str| {
        let hex = part.bytes().filter(u8::is_ascii_hexdigit).count();
        let dashes = part.bytes().filter(|byte| *byte == b'-').count();
        part.len() == 36 && (hex, dashes) == (32, 4) || part.len() == 64 && hex == 64
    };
    let splits = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_');
    let version = format!("{}.", Cli::Newest.version());
    let (mut result, mut before) = (String::with_capacity(text.len()), "");
    for part in text.split_inclusive(splits) {
        let word = part.trim_end_matches(splits);
        let end = &part[word.len()..];
        match word {
            _ if is_id(word) => result.push_str("{id}"),
            _ if word.starts_with(&version) => result.push_str("{version}"),
            _ if before == "plans/" => result.push_str("{plan}"),
            _ => result.push_str(word),
        }
        result.push_str(end);
        before = part;
    }
    result
}

/// The first place where two values differ.
fn difference(ours: &Value, theirs: &Value, path: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            names
                .into_iter()
                .find_map(|name| difference(&ours[name], &theirs[name], &format!("{path}/{name}")))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.into_iter().find_map(|(at, (a, b))| difference(a, b, &format!("{path}/{at}")))
        }
        _ if ours == theirs => None,
        _ => Some(format!("{path}\n ours   {ours}\n theirs {theirs}")),
    }
}

async fn reaches_the_model(row: &Row) {
    let ((seen, ours), theirs) = tokio::join!(relayed(row), direct(row));
    for (option, shows) in row.seen {
        assert!(shows(&seen), "{option} is not seen: {} {:#?}", seen.text, seen.messages);
    }
    let first = |requests: Vec<Value>| requests.into_iter().take(row.alike).collect();
    let difference = difference(&first(ours), &first(theirs), "");
    assert!(difference.is_none(), "{}", difference.unwrap_or_default());
}

macro_rules! rows {
    ($($name:ident: $row:ident;)*) => {
        const ROWS: &[&Row] = &[$(&rows::$row),*];
        $(#[tokio::test]
        async fn $name() {
            reaches_the_model(&rows::$row).await;
        })*
    };
}

rows! {
    model_betas_budgets_and_title_reach_the_model: LIMITS;
    effort_and_rules_reach_the_model: EFFORT;
    a_limit_of_thinking_reaches_the_model: MAX_THINKING;
    thinking_is_switched_off: NO_THINKING;
    the_agent_of_the_main_conversation_reaches_the_model: AGENT;
    plugins_reach_the_model: PLUGINS;
    plugins_of_the_first_request_reach_the_model: PLUGINS_LATER;
    named_skills_reach_the_model: SKILLS_BY_NAME;
    an_extra_flag_reaches_the_model: NO_SKILLS;
    settings_and_directories_reach_the_model: SETTINGS;
    the_id_of_the_conversation_and_the_second_model_reach_the_api: SESSION;
    steps_of_plan_mode_reach_the_model: PLAN;
    verbatim_prompts_reach_the_model: VERBATIM;
    a_form_of_the_answer_reaches_the_model: OUTPUT;
    settings_of_single_tools_reach_the_model: QUESTIONS;
    hooks_of_settings_and_denied_prompts_are_seen: HOOKS;
    the_text_of_sub_agents_is_forwarded: SUB_AGENT;
    servers_and_aliases_of_tools_reach_the_model: SERVERS;
    a_limit_of_turns_ends_the_turn: TURNS;
    the_sandbox_of_commands_reaches_the_model: SANDBOX;
}

#[test]
fn every_field_has_a_row_or_is_known_to_have_none() {
    let seen = ROWS.iter().flat_map(|row| row.seen).map(|(name, _)| *name);
    let elsewhere = rows::ELSEWHERE.iter().flat_map(|(names, _)| names.iter().copied());
    let named: BTreeSet<_> = seen.chain(elsewhere).collect();
    let fields: BTreeSet<_> = FIELDS.iter().map(|field| field.name).collect();
    let differ: Vec<_> = fields.symmetric_difference(&named).collect();
    assert!(differ.is_empty(), "fields without a row, or rows without a field: {differ:?}");
}

/// Otherwise a row would show nothing.
#[tokio::test]
async fn nothing_of_it_is_seen_without_the_options() {
    let (seen, _) = relayed(&rows::ROW).await;
    for (option, shows) in ROWS.iter().flat_map(|row| row.seen) {
        assert!(!shows(&seen), "{option} is seen without the option");
    }
}

/// One turn with a server of its own; the last request at `api`.
async fn one_turn(env: &TestEnv, api: &MessagesApi, config: Value, text: &str) -> (Turn, String) {
    let relay = Launch::unrestricted(env, &Cli::Newest.path(), api).start();
    configure(&relay, &config).await;
    let mut client = Client::connect(relay.address()).await;
    client.say(text).await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["is_error"], false, "{:?}", turn.result());
    client.close().await;
    relay.stop();
    (turn, api.turns().last().expect("a request").body.to_string())
}

#[tokio::test]
async fn conversations_go_on_where_the_options_say() {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    api.script(["FIRST", "SECOND", "THIRD"].map(Reply::text));
    let (first, _) = one_turn(&env, &api, json!({}), "one").await;
    let (_, request) = one_turn(&env, &api, json!({ "continue": true }), "two").await;
    assert!(request.contains("FIRST"), "{request}");

    let at = first.said().into_iter().find(|message| message["type"] == "assistant");
    let config = json!({
        "resume": first.result()["session_id"], "resumeSessionAt": at.expect("an answer")["uuid"],
        "forkSession": true,
    });
    let (forked, request) = one_turn(&env, &api, config, "three").await;
    assert!(request.contains("FIRST") && !request.contains("SECOND"), "{request}");
    assert_ne!(forked.result()["session_id"], first.result()["session_id"]);
}

#[tokio::test]
async fn a_conversation_that_is_not_kept_leaves_no_file() {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    api.script(["FIRST", "SECOND"].map(Reply::text));
    let sessions = env.file("claude/projects");
    let conversations = || {
        let workspaces = std::fs::read_dir(&sessions).expect("kept conversations").flatten();
        workspaces.flat_map(|one| std::fs::read_dir(one.path()).expect("readable")).count()
    };
    one_turn(&env, &api, json!({}), "one").await;
    let before = conversations();
    assert!(before >= 1);
    one_turn(&env, &api, json!({ "persistSession": false }), "two").await;
    assert_eq!(conversations(), before);
}

/// What is dropped has to be the turn that is named, and nothing else.
#[tokio::test]
async fn a_turn_is_dropped_where_the_options_say() {
    const TURN: &str = "7f9619ff-8b86-4011-b42d-00cf4fc964ff";
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    api.script(["FIRST", "SECOND", "THIRD"].map(Reply::text));
    let (first, _) = one_turn(&env, &api, json!({}), "one").await;
    let session = &first.result()["session_id"];
    let at = first.said().into_iter().find(|message| message["type"] == "assistant");
    let at = &at.expect("an answer")["uuid"];

    let relay = Launch::unrestricted(&env, &Cli::Newest.path(), &api).start();
    configure(&relay, &json!({ "resume": session })).await;
    let mut client = Client::connect(relay.address()).await;
    let message = json!({ "role": "user", "content": "two" });
    let data = json!({ "type": "user", "uuid": TURN, "message": message });
    client.send(&json!({ "type": "user_message", "data": data })).await;
    client.turn().await;
    client.close().await;
    relay.stop();

    let drops =
        |turn: &str| json!({ "resume": session, "resumeSessionAt": at, "resumeDropsTurn": turn });
    let relay = Launch::unrestricted(&env, &Cli::Newest.path(), &api).start();
    configure(&relay, &drops("8f9619ff-8b86-4011-b42d-00cf4fc964ff")).await;
    let mut client = Client::connect(relay.address()).await;
    client.say("three").await;
    client.until(|frame| frame.to_string().contains("resume-drops-turn")).await;
    assert_eq!(api.turns().len(), 2, "nothing has run");
    client.close().await;
    relay.stop();

    let (_, request) = one_turn(&env, &api, drops(TURN), "four").await;
    assert!(request.contains("FIRST") && !request.contains("SECOND"), "{request}");
}

/// Never of the first turn.
#[tokio::test]
async fn a_next_prompt_is_suggested() {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let relay = Launch::unrestricted(&env, &Cli::Newest.path(), &api)
        .variable("CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION", "true")
        .start();
    configure(&relay, &json!({ "promptSuggestions": true })).await;
    api.script(["One.", "Two.", "run the tests"].map(Reply::text));
    let mut client = Client::connect(relay.address()).await;
    for text in ["First", "Second"] {
        client.say(text).await;
        client.turn().await;
    }
    let is_it = |frame: &Value| frame["data"]["type"] == "prompt_suggestion";
    let suggested = client.until(is_it).await.pop().expect("it");
    assert_eq!(suggested["data"]["suggestion"], "run the tests");
    let asked = api.turn(3).await.body.to_string();
    assert!(asked.contains("Second"), "{asked}");
    client.close().await;
    relay.stop();
}
