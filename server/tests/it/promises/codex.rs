//! The promises with the real Codex in the same hostile repository: each way in
//! × each mode, with its own sandbox and within `--sandbox`.

use super::checkout::{self, CODEX_INSTRUCTIONS, Places, WORDS, operator_files};
use super::{Cells, rows};
use crate::support::codex::{configure, launch, prepare_home, rest};
use crate::support::http;
use crate::support::relay::Relay;
use crate::support::ws::Client;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::responses_api::{Reply, ResponsesApi};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools;
use serde_json::{Value, json};

/// A server with the real Codex.
fn start(env: &TestEnv, mode: &str, arguments: &[&str]) -> Relay {
    let launch = launch(env, mode).argument("--codex-path").argument(tools::codex());
    // Within the workspace Codex would keep its helpers in sight.
    let launch = launch.variable("TMPDIR", env.file("temp").to_str().expect("a path"));
    std::fs::create_dir(env.file("temp")).expect("a directory");
    arguments.iter().fold(launch, |launch, argument| launch.argument(argument)).start()
}

fn requests(api: &ResponsesApi) -> String {
    api.requests().iter().map(|request| request.body.to_string()).collect()
}

async fn matrix(mode: &'static str, arguments: &[&str]) {
    let title = format!("Codex {mode} {}", arguments.first().copied().unwrap_or_default());
    let mut cells = Cells { title, all: Vec::new() };
    let (env, api, foreign) =
        (TestEnv::outside_of_tmp(), ResponsesApi::start(), MessagesApi::start());
    prepare_home(&env, &api.url());
    let places = checkout::lay_out(&env, 1, foreign.url());
    std::fs::write(places.home.join("own-file"), "SECRET-CREDENTIALS").expect("a file");
    let before = operator_files(&places);
    let relay = start(&env, mode, arguments);

    let narrow = mode != "ask";
    let narrow_rows = if narrow { rows::NARROW_CONFIGURATIONS } else { &[] };
    for row in rows::CONFIGURATIONS.iter().chain(narrow_rows) {
        let mut config: Value = serde_json::from_str(&places.fill(row, 0)).expect("an object");
        config["provider"] = json!("codex");
        let answer = http::post(relay.address(), "/config", &config.to_string()).await;
        cells.add("configuration", *row, answer.status == 400);
    }
    configure(&relay, json!({})).await;
    let mut client = Client::connect(relay.address()).await;
    // The start of Codex is no cell's.
    api.script([Reply::text("Well.")]);
    client.say("Hi").await;
    rest(&mut client).await;
    if narrow {
        for row in rows::CODEX_MESSAGES {
            let sent = api.requests().len();
            api.script([Reply::text("Well.")]);
            client.say(places.fill(row, 0)).await;
            let turn = async {
                rest(&mut client).await;
                api.request(sent + 1).await.body.to_string()
            };
            let request = cells.wait("message", row, turn).await;
            let held = !request.contains("SECRET-0") && !WORDS.iter().any(|w| request.contains(w));
            cells.add("message", *row, held);
        }
    }
    for row in rows::CODEX_CONTROLS {
        let request: Value = serde_json::from_str(&places.fill(row, 0)).expect("an object");
        let frame = json!({ "type": "control_request", "requestId": row, "request": request });
        client.send(&frame).await;
        let answers = client.until(|frame| frame["type"] == "control_response");
        let answers = cells.wait("control request", row, answers).await;
        let answer = answers.last().expect("the answer");
        cells.add("control request", *row, answer["response"]["subtype"] == "error");
    }
    let open: &[&str] = match (mode, arguments.is_empty()) {
        ("agentic", false) => rows::OPEN_IN_THE_SANDBOX,
        _ => &[],
    };
    hostile_commands(&mut cells, &mut client, &api, &places, open, mode).await;
    client.close().await;
    relay.stop();

    let sent = requests(&api);
    cells.add_traces(&places, &sent);
    cells.add("instructions", "AGENTS.md", sent.contains(CODEX_INSTRUCTIONS) == (mode != "safe"));
    cells.add("address", "of the repository", foreign.requests().is_empty());
    let after = operator_files(&places);
    for (file, content) in &before {
        cells.add("file", file.display().to_string(), after.get(file) == Some(content));
    }
    for file in after.keys().filter(|file| !before.contains_key(*file)) {
        cells.add("new file", file.display().to_string(), false);
    }
    for name in [".claude/settings.json", "made-by-codex"] {
        let is_there = places.workspace.join(name).exists();
        let expected = name.starts_with(".claude") || mode == "agentic";
        cells.add("workspace", name, is_there == expected);
    }
    cells.finish();
}

/// Turns of a model that runs each of the commands; whoever is asked says no.
async fn hostile_commands(
    cells: &mut Cells,
    client: &mut Client,
    api: &ResponsesApi,
    places: &Places,
    open: &[&str],
    mode: &str,
) {
    let port = places.foreign.rsplit(':').next().expect("a port").to_owned();
    let mut asked = 0;
    let ordinary = "echo x > made-by-codex; cat made-by-codex";
    for row in rows::CODEX_COMMANDS.iter().chain([&ordinary]) {
        let command = places.fill(row, 0).replace("{port}", &port);
        let sent = api.requests().len();
        api.script([Reply::command(&command), Reply::text("Well.")]);
        client.say("Go on").await;
        loop {
            let frame = cells.wait("tool", row, client.frame()).await;
            if frame["type"] == "permission_request" {
                asked += 1;
                let id = &frame["requestId"];
                let no =
                    json!({ "type": "permission_response", "requestId": id, "approved": false });
                client.send(&no).await;
            }
            if frame["data"]["method"] == "turn/completed" {
                break;
            }
        }
        let output = cells.wait("tool", row, api.request(sent + 2)).await.tool_output();
        cells.add("tool", *row, output.contains("GOT IT\\n") == open.contains(row));
    }
    cells.add("tool", "somebody was asked", (asked > 0) == (mode == "ask"));
}

macro_rules! matrices {
    ($($name:ident: $mode:literal, $arguments:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            matrix($mode, &$arguments).await;
        })*
    };
}

matrices! {
    safe_holds_with_codex: "safe", [];
    agentic_holds_with_codex: "agentic", [];
    ask_holds_with_codex: "ask", [];
    safe_holds_with_codex_in_the_sandbox: "safe", ["--sandbox=bwrap", "--no-auth"];
    agentic_holds_with_codex_in_the_sandbox: "agentic", ["--sandbox=bwrap", "--no-auth"];
    ask_holds_with_codex_in_the_sandbox: "ask", ["--sandbox=bwrap", "--no-auth"];
}

/// The same repository acts where the operator says so, and the directory that
/// Codex has stored as trusted does not make it act.
#[tokio::test]
async fn codex_follows_a_trusted_workspace_alone_and_stores_no_trust() {
    for (mode, arguments, stored, acts) in [
        ("ask", &[][..], true, false),
        ("ask", &["--trust-workspace"], false, true),
        ("unrestricted", &[], false, true),
    ] {
        let (env, api, foreign) =
            (TestEnv::outside_of_tmp(), ResponsesApi::start(), MessagesApi::start());
        prepare_home(&env, &api.url());
        let places = checkout::lay_out(&env, 1, foreign.url());
        let config = places.codex.join("config.toml");
        if stored {
            let trusted = format!(
                "{}\n[projects.\"{}\"]\ntrust_level = \"trusted\"\n",
                std::fs::read_to_string(&config).expect("Codex's configuration"),
                places.workspace.display()
            );
            std::fs::write(&config, trusted).expect("a file of the test");
        }
        let before = std::fs::read(&config).expect("Codex's configuration");
        let relay = start(&env, mode, arguments);
        configure(&relay, json!({})).await;
        let mut client = Client::connect(relay.address()).await;
        api.script([Reply::text("Well.")]);
        client.say("Hi").await;
        rest(&mut client).await;
        client.close().await;
        relay.stop();
        let request = api.request(1).await.body.to_string();
        assert_eq!(request.contains("EVIL-INSTRUCTIONS"), acts, "{mode} {arguments:?}");
        assert_eq!(request.contains("EVIL-CODEX-SKILL"), acts, "{mode} {arguments:?}");
        assert_eq!(places.ran("codex-mcp"), acts, "{mode} {arguments:?}");
        assert!(request.contains(CODEX_INSTRUCTIONS), "{mode} {arguments:?}");
        assert_eq!(std::fs::read(&config).expect("it is there"), before, "{mode} {arguments:?}");
    }
}

/// The key of OpenAI's API, with its address, behind the key proxy: Codex works
/// and its commands find no key.
#[tokio::test]
async fn the_key_proxy_keeps_the_key_of_codex() {
    const KEY: &str = "sk-openai-key-of-the-test";
    const LOGIN: &str = "sk-openai-login-of-the-test";
    for arguments in
        [&["--key-proxy", "--no-auth"][..], &["--key-proxy", "--no-auth", "--sandbox=bwrap"]]
    {
        let (env, api, elsewhere) =
            (TestEnv::outside_of_tmp(), ResponsesApi::start(), MessagesApi::start());
        // Its own provider has no say.
        prepare_home(&env, &elsewhere.url());
        let login = env.file("codex-home").join("auth.json");
        std::fs::write(&login, format!(r#"{{"OPENAI_API_KEY":"{LOGIN}"}}"#)).expect("a file");
        let launch = launch(&env, "unrestricted")
            .argument("--codex-path")
            .argument(tools::codex())
            .variable("OPENAI_API_KEY", KEY)
            .variable("OPENAI_BASE_URL", &api.url());
        let launch = arguments.iter().fold(launch, |launch, argument| launch.argument(argument));
        let relay = launch.start();
        configure(&relay, json!({})).await;
        let mut client = Client::connect(relay.address()).await;
        api.script([
            Reply::command(&format!(
                "cat {}; env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'",
                login.display()
            )),
            Reply::text("Well."),
        ]);
        client.say("Hi").await;
        let turn = rest(&mut client).await;
        assert_eq!(turn.texts(), ["Well."], "{turn:#?}");
        let request = api.request(2).await;
        assert_eq!(request.headers["authorization"], format!("Bearer {KEY}"));
        // The tests run as root, which reads the server's own environment.
        let found = request.tool_output();
        assert!(!found.contains(KEY) || !arguments.contains(&"--sandbox=bwrap"), "{found}");
        assert!(!found.contains(LOGIN) || !arguments.contains(&"--sandbox=bwrap"), "{found}");
        assert!(elsewhere.requests().is_empty());
        client.close().await;
        relay.stop();
    }
}
