//! Options of one call: they hold for it, and for nobody after it.

use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::codex::CodexFixture;
use crate::support::program::{command, run, signal, told, wait_for_line};
use crate::support::soon;
use claude_relay_client::{Client, RawJson};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::real_cli::CliFixture;
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::responses_api;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;

for_both_clis! {
    the_working_directory_is_that_of_the_call,
    an_ephemeral_conversation_leaves_no_file,
}

async fn configuration(url: &str) -> Value {
    let (code, stdout, stderr) = run(command(url).args(["config", "get"])).await;
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[tokio::test]
async fn the_configuration_is_afterwards_what_it_was() {
    let relay = RelayProcess::demo(&[]).await;
    let set = ["config", "set", "model=kept", "maxTurns=7", "anthropicApiKey=sk-of-the-server"];
    assert_eq!(run(command(&relay.url).args(set)).await.0, 0);
    let before = configuration(&relay.url).await;
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("schema");
    std::fs::write(&schema, r#"{"type":"object"}"#).unwrap();
    let schema = ["--output-schema", schema.to_str().unwrap()];
    for options in [
        &["--model", "other"][..],
        &["--system-prompt", "Be brief."],
        &["--cwd", "."],
        &["--ephemeral"],
        &["--partial"],
        &["--resume", "6f9619ff-8b86-4011-b42d-00cf4fc964ff"],
        &schema,
    ] {
        run(command(&relay.url).args(options).arg("hi").env("ANTHROPIC_API_KEY", "sk-other")).await;
        assert_eq!(configuration(&relay.url).await, before, "{options:?}");
    }
    // A failure, and a signal.
    let failed = run(command(&relay.url).args(["--model", "other", r#"{"exit":3}"#])).await;
    assert_eq!(failed.0, 1, "{failed:?}");
    assert_eq!(configuration(&relay.url).await, before);
    let mut child = command(&relay.url)
        .args(["-v", "-m", "other", "-s", "Be brief.", r#"{"n":100000,"size":300,"rate":20}"#])
        .spawn()
        .unwrap();
    wait_for_line(&mut child, "connected").await;
    let meanwhile = configuration(&relay.url).await;
    assert_eq!(
        (&meanwhile["model"], &meanwhile["systemPrompt"]),
        (&"other".into(), &"Be brief.".into())
    );
    assert_eq!(meanwhile["maxTurns"], 7, "what the options do not name stays");
    signal(&child, Signal::TERM);
    let (code, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!(code, 143, "{stderr}");
    assert_eq!(configuration(&relay.url).await, before);
}

#[tokio::test]
async fn a_call_that_finds_the_place_taken_changes_nothing() {
    let relay = RelayProcess::demo(&[]).await;
    let mut first =
        command(&relay.url).args(["-v", r#"{"n":100000,"size":300,"rate":20}"#]).spawn().unwrap();
    wait_for_line(&mut first, "connected").await;
    let (code, _, stderr) = run(command(&relay.url).args(["--model", "other", "hi"])).await;
    assert_eq!(code, 3, "{stderr}");
    assert_eq!(configuration(&relay.url).await, json!({}));
    signal(&first, Signal::TERM);
    soon(first.wait()).await.unwrap();
}

#[tokio::test]
async fn the_key_of_the_caller_goes_to_a_server_without_one_and_does_not_stay() {
    let relay = RelayProcess::demo(&[]).await;
    let call = ["--model", "other", "hi"];
    let asked = run(command(&relay.url).args(call).env("ANTHROPIC_API_KEY", "sk-caller")).await;
    assert_eq!(asked.0, 0, "{asked:?}");
    let builder = Client::builder().connection_url(&relay.url);
    let configured = builder.patch_configuration(RawJson::new("{}").unwrap()).await.unwrap();
    assert_eq!(configured.secrets, Vec::<String>::new());
}

async fn the_working_directory_is_that_of_the_call(cli: Cli) {
    let fixture = CliFixture::start(cli, "unrestricted").await;
    let url = &fixture.relay.url;
    std::fs::create_dir(fixture.relay.workspace().join("sub")).unwrap();
    let touch = || Reply::tool("Bash", json!({ "command": "touch made", "description": "x" }));
    fixture.api.script([touch(), Reply::text("There."), touch(), Reply::text("Here.")]);
    let there = run(command(url).args(["--cwd", "sub", "Where?"])).await;
    assert_eq!((there.0, there.1.as_str()), (0, "There.\n"), "{}", there.2);
    assert!(fixture.relay.workspace().join("sub/made").exists());
    assert!(!fixture.relay.workspace().join("made").exists());
    let here = run(command(url).arg("Where?")).await;
    assert_eq!((here.0, here.1.as_str()), (0, "Here.\n"), "{}", here.2);
    assert!(fixture.relay.workspace().join("made").exists());
    let (code, _, stderr) = run(command(url).args(["--cwd", "missing", "Where?"])).await;
    assert!(code != 0 && stderr.contains("cwd: "), "{code}: {stderr}");
}

#[tokio::test]
async fn a_conversation_that_is_not_known_and_a_missing_key_are_told_in_words() {
    let env = TestEnv::new();
    let path = Cli::Newest.path();
    let arguments = ["--claude-path", path.to_str().unwrap()];
    let environment = env.environment();
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let relay = RelayProcess::start(&arguments, &environment).await;
    let (code, _, stderr) = run(command(&relay.url).arg("Hi")).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("set ANTHROPIC_API_KEY or"), "{stderr}");
    relay.stop().await;

    let fixture = CliFixture::start(Cli::Newest, "ask").await;
    let unknown = ["--resume", "6f9619ff-8b86-4011-b42d-00cf4fc964ff", "Hi"];
    let (code, _, stderr) = run(command(&fixture.relay.url).args(unknown)).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains("No conversation found") && !stderr.contains("interrupted"),
        "{stderr}"
    );
}

fn files_below(directory: &Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

async fn an_ephemeral_conversation_leaves_no_file(cli: Cli) {
    let fixture = CliFixture::start(cli, "unrestricted").await;
    let url = &fixture.relay.url;
    let sessions = fixture.env.file("claude/projects");
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    let first = run(command(url).args(["--ephemeral", "Hi"])).await;
    assert_eq!((first.0, first.1.as_str()), (0, "One.\n"), "{}", first.2);
    // The next call ends the agent of the first.
    let second = run(command(url).arg("Hi")).await;
    assert_eq!((second.0, second.1.as_str()), (0, "Two.\n"), "{}", second.2);
    fixture.env.session_holds("Two.").await;
    assert_eq!(files_below(&sessions), 1);
}

#[tokio::test]
async fn an_ephemeral_conversation_with_codex_leaves_no_file() {
    let fixture = CodexFixture::start("unrestricted").await;
    let replies = ["One.", "Two."].map(responses_api::Reply::text);
    fixture.api.script(replies);
    let sessions = fixture.home().join("sessions");
    let (code, stdout, stderr) = fixture.run(&["--ephemeral", "Hi"]).await;
    assert_eq!((code, stdout.as_str()), (0, "One.\n"), "{stderr}");
    assert_eq!(files_below(&sessions), 0);
    let (code, stdout, stderr) = fixture.run(&["Hi"]).await;
    assert_eq!((code, stdout.as_str()), (0, "Two.\n"), "{stderr}");
    assert_eq!(files_below(&sessions), 1);
    fixture.relay.stop().await;
}
