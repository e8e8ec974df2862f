//! Agents that cannot be started, or find surroundings that fail them.

use super::agent::FakeAgent;
use super::checks::{descriptors, virtual_bytes};
use super::{Trial, texts};
use crate::support::http;
use crate::support::relay::Launch;
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use rustix::process::{Uid, geteuid};
use serde_json::{Value, json};
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

/// Each way in which there may be no program where one should be, told with
/// its path and the system's words; the next message finds it mended.
#[tokio::test]
async fn missing_program_is_named_and_started_again_later() {
    let elf_of_another_machine = {
        let mut head = [0_u8; 64];
        head[..7].copy_from_slice(b"\x7fELF\x01\x02\x01");
        head[16..20].copy_from_slice(&[0, 2, 0, 8]);
        head
    };
    for fault in ["missing", "not executable", "directory", "wrong machine", "bad shebang"] {
        let env = TestEnv::new();
        let path = env.file("broken-agent");
        let reason = match fault {
            "missing" => "not found",
            "not executable" => {
                std::fs::write(&path, "#!/bin/sh\n").expect("a file");
                "ermission denied"
            }
            "directory" => {
                std::fs::create_dir(&path).expect("a directory");
                "ermission denied"
            }
            "wrong machine" => {
                executable(&path, elf_of_another_machine);
                "Exec format error"
            }
            _ => {
                executable(&path, "#!/no/such/interpreter\n");
                "No such file or directory"
            }
        };
        let agent = FakeAgent::new(&env, "work()");
        let launch = Launch::new(&env).argument("--claude-path").argument(&path);
        let mut trial = Trial::start(env, agent, launch).await;
        let told = trial.error().await;
        assert!(told.contains(path.to_str().expect("UTF-8")), "{fault}: {told}");
        assert!(
            told.contains(reason) || fault == "not executable" || fault == "directory",
            "{fault}: {told}"
        );
        trial.client.say("handed back").await;
        let told = trial.error().await;
        assert!(told.contains("was not taken"), "{fault}: {told}");
        // Mended: the next message starts it.
        if path.is_dir() {
            std::fs::remove_dir(&path).expect("an empty directory");
        }
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(trial.agent.path(), &path).expect("a link");
        trial.turn("again").await;
        assert_eq!(trial.agent.heard(), ["again"], "{fault}");
        trial.over().await;
    }
}

/// Ends before it has read anything: what waited for it goes to the next one.
#[tokio::test]
async fn early_exit_is_reported_with_code_and_stderr() {
    for code in [0, 1] {
        let mut trial = Trial::of(&format!(
            "if RUN == 1:\n    gate('go')\n    err('line one\\nlast output\\n')\n    sys.exit({code})\nwork()"
        ))
        .await;
        trial.client.say("first").await;
        trial.agent.open("go");
        let (words, exit) = trial.told_of_the_end().await;
        assert!(words.contains(&format!("exited with code {code}")), "{words}");
        assert!(words.contains("last output"), "{words}");
        assert_eq!(
            exit,
            json!({"type": "exit", "code": code, "signal": null, "stderr": "line one\nlast output\n"})
        );
        trial.client.turn().await;
        assert_eq!(trial.agent.heard(), ["first"]);
        trial.over().await;
    }
}

#[tokio::test]
async fn messages_wait_while_a_failing_agent_backs_off() {
    let env = TestEnv::new();
    let agent = FakeAgent::new(&env, "");
    let launch = Launch::new(&env).argument("--claude-path=/bin/false");
    let mut trial = Trial::start(env, agent, launch).await;
    for text in texts(0..20) {
        trial.client.say(text).await;
    }
    let (words, _) = trial.told_of_the_end().await;
    assert!(words.contains("exited with code 1"), "{words}");
    let (words, _) = trial.told_of_the_end().await;
    assert!(words.contains("not started again before 1 s"), "{words}");
    trial.agent_is("waiting_messages", 20).await;
    trial.agent_is("state", "backing_off").await;
}

/// An agent that has ended, and a server of `user` that cannot start another
/// one while it may have no more than `most` of `resource`, asked when nothing
/// of the first one is left.
async fn refused(
    mut trial: Trial,
    user: Uid,
    resource: &str,
    most: impl FnOnce(i32) -> u64,
    words: &str,
) {
    trial.told_of_the_end().await;
    let server = trial.relay.pid();
    let before = limit(server, user, resource, &most(server).to_string());
    trial.client.say("one").await;
    let told = trial.error().await;
    assert!(told.contains("could not be started") && told.contains(words), "{told}");
    assert!(told.contains("kept and handed over"), "{told}");
    // Everything else is as it was.
    trial.agent_is("waiting_messages", 1).await;
    trial.client.send(&json!({ "type": "capabilities" })).await;
    trial.client.until(|frame| frame["type"] == "capabilities").await;
    limit(server, user, resource, &before);
    trial.turn("two").await;
    trial.client.turn().await;
    assert_eq!(trial.agent.heard(), ["one", "two"]);
    trial.over().await;
}

/// Sets the soft limit of a process and gives the one before. Its own user may
/// do that, and root only where it has all its rights.
#[expect(clippy::disallowed_methods, reason = "no child of the server")]
fn limit(pid: i32, user: Uid, resource: &str, most: &str) -> String {
    let prlimit = |arguments: &[&str]| {
        let mut command = std::process::Command::new("prlimit");
        command.uid(user.as_raw()).arg(format!("--pid={pid}")).args(arguments);
        let output = command.output().expect("util-linux is installed");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("a number").trim().to_owned()
    };
    let before = prlimit(&[&format!("--{resource}"), "--output=SOFT", "--noheadings"]);
    prlimit(&[&format!("--{resource}={most}:")]);
    before
}

const ENDS_ONCE: &str = "if RUN == 1: sys.exit(1)\nwork()";

#[tokio::test]
async fn exhausted_descriptors_are_reported_and_the_start_is_retried() {
    let trial = Trial::of(ENDS_ONCE).await;
    // Room for a connection, and not for the pipes of an agent.
    let most = |server| descriptors(server) as u64 + 2;
    refused(trial, geteuid(), "nofile", most, "Too many open files").await;
}

#[tokio::test]
async fn process_limit_is_reported_and_the_start_is_retried() {
    let mut user = geteuid();
    let trial = Trial::launched(ENDS_ONCE, |launch, env| {
        user = env.give_to_nobody();
        launch.user(user.as_raw())
    })
    .await;
    refused(trial, user, "nproc", |_| 0, "Resource temporarily unavailable").await;
}

#[tokio::test]
async fn exhausted_memory_is_reported_and_the_start_is_retried() {
    let trial = Trial::of(ENDS_ONCE).await;
    refused(trial, geteuid(), "as", virtual_bytes, "Cannot allocate memory").await;
}

/// Variables that would break the agent or tell it too much are not in its environment;
/// everything else is.
#[tokio::test]
async fn agent_inherits_only_allowed_variables_and_descriptors() {
    const KEPT_BACK: [&str; 11] = [
        "CLAUDECODE",
        "CLAUDE_CODE_SSE_PORT",
        "NODE_OPTIONS",
        "BUN_OPTIONS",
        "BUN_INSPECT_BRK",
        "VSCODE_INSPECTOR_OPTIONS",
        "DEBUG",
        "E2B_API_KEY",
        "E2B_ACCESS_TOKEN",
        "RELAY_ALLOW_HOST",
        "NOTIFY_SOCKET",
    ];
    let story = "note('environment', json.dumps(dict(os.environ)))\nwork()";
    let mut trial = Trial::launched(story, |launch, _| {
        let launch =
            KEPT_BACK.iter().fold(launch, |launch, name| launch.variable(name, "kept.back"));
        launch.variable("OF_THE_USER", "passed on")
    })
    .await;
    trial.turn("Hello").await;
    let environment: Value =
        serde_json::from_str(&trial.agent.noted("environment")[0]).expect("JSON");
    assert_eq!(environment["OF_THE_USER"], "passed on");
    for name in KEPT_BACK {
        assert_eq!(environment[name], Value::Null, "{name}");
    }
    trial.over().await;
}

/// The server's own words where it knows beforehand, the CLI's where it does
/// not.
#[tokio::test]
async fn refusal_to_run_as_root_is_reported_with_its_reason() {
    const REFUSAL: &str = "--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons";
    let mut trial =
        Trial::of(&format!("if RUN == 1:\n    err('{REFUSAL}\\n')\n    sys.exit(1)\nwork()")).await;
    let (words, exit) = trial.told_of_the_end().await;
    assert!(words.contains(REFUSAL) && words.contains("exited with code 1"), "{words}");
    assert_eq!(exit["stderr"], format!("{REFUSAL}\n"));
    trial.over().await;

    let trial = Trial::launched("work()", |launch, _| {
        launch.mode("unrestricted").without_variable("IS_SANDBOX")
    });
    let mut trial = trial.await;
    trial.client.say("Hello").await;
    if geteuid().is_root() {
        let told = trial.error().await;
        assert!(told.contains("refuses to run without permission checks as root"), "{told}");
        assert!(told.contains("--mode ask") && told.contains("IS_SANDBOX=1"), "{told}");
        assert_eq!(trial.agent.runs(), [""; 0]);
    } else {
        trial.over().await;
    }
}

#[tokio::test]
async fn vanished_workspace_is_named() {
    let mut trial = Trial::of("if RUN == 1:\n    hear()\n    sys.exit(1)\nwork()").await;
    let workspace = trial.env.workspace();
    trial.agent.notes("runs", "(new)").await;
    std::fs::remove_dir(&workspace).expect("an empty workspace");
    trial.client.say("one").await;
    trial.told_of_the_end().await;
    trial.client.say("two").await;
    let told = trial.error().await;
    assert!(told.contains(workspace.to_str().expect("UTF-8")), "{told}");
    std::fs::create_dir(&workspace).expect("a workspace");
    trial.turn("three").await;
    assert_eq!(trial.agent.heard(), ["one", "three"]);
    trial.over().await;
}

#[tokio::test]
async fn closed_or_deleted_directory_is_named() {
    let mut user = geteuid();
    let story = "if RUN == 1:\n    hear()\n    sys.exit(1)\nwork()";
    let mut trial = Trial::launched(story, |launch, env| {
        std::fs::create_dir(env.workspace().join("inside")).expect("a directory");
        user = env.give_to_nobody();
        launch.user(user.as_raw())
    })
    .await;
    let inside = trial.env.workspace().join("inside");
    trial.agent.notes("runs", "(new)").await;
    let configured = http::post(trial.relay.address(), "/config", r#"{"cwd":"inside"}"#).await;
    assert_eq!(configured.status, 200, "{configured:?}");
    trial.client.say("one").await;
    trial.told_of_the_end().await;
    set_permissions(&inside, Permissions::from_mode(0o000)).expect("a directory of ours");
    // Neither heals by waiting: the messages are handed back.
    for (text, reason) in [("two", "Permission denied"), ("three", "No such file or directory")] {
        trial.client.say(text).await;
        let told = trial.error().await;
        assert!(told.contains(inside.to_str().expect("UTF-8")) && told.contains(reason), "{told}");
        if inside.exists() {
            std::fs::remove_dir(&inside).expect("an empty directory");
        }
    }
    std::fs::create_dir(&inside).expect("a directory");
    trial.turn("four").await;
    assert_eq!(trial.agent.heard(), ["one", "four"]);
    trial.over().await;
}

/// The server needs nothing of its home while it has a workspace.
#[tokio::test]
async fn read_only_home_stops_nothing() {
    let mut trial = Trial::launched("work()", |launch, env| {
        let user = env.give_to_nobody().as_raw();
        set_permissions(env.home(), Permissions::from_mode(0o555)).expect("a mode for our own");
        launch.user(user)
    })
    .await;
    trial.turn("Hello").await;
    trial.over().await;
}
