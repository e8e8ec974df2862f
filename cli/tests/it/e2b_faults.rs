//! Sandboxes of E2B's cloud when something goes wrong, or somebody stops it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use claude_relay_client::e2b::NewSandbox;
use claude_relay_testing::e2b::Fault;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::cloud::CloudFixture;
use crate::support::program::{piped, run, signal, told, wait_for_line};
use crate::support::soon;

const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

const KILL: &str = "DELETE /sandboxes/{sandboxID}";

/// Answer of the sandbox proxy to a request between pause and resume.
fn in_transition(id: &str) -> Fault {
    let message = "The sandbox is still transitioning. Try again in a moment.";
    let body = json!({ "sandboxId": id, "message": message, "code": 409 });
    Fault::Refuse { status: 409, body, headers: vec![] }
}

impl CloudFixture {
    /// A sandbox that was left, with the key in it.
    async fn kept(&self) -> String {
        self.ok(&["--e2b-template", "mine", "--e2b-key-inside", "--keep", "one"]).await;
        self.only_sandbox()
    }

    fn file(&self, name: &str, content: &Value) {
        std::fs::write(self.folder.path().join(name), content.to_string()).unwrap();
    }

    async fn secrets(&self, id: &str) -> Vec<String> {
        let (mut secrets, _) = self.server_has(id).await;
        secrets.sort_unstable();
        secrets
    }

    async fn kill(self, id: &str) {
        self.ok(&["e2b", "kill", id]).await;
        self.finish();
    }
}

#[tokio::test]
async fn a_file_of_options_with_attach_is_laid_over_what_is_there() {
    let fixture = CloudFixture::start().await;
    let first = json!({ "env": { "A": "secret" }, "anthropicApiKey": "sk-ant-of-file" });
    fixture.file("first.json", &first);
    let first = ["--e2b", "--e2b-key-inside", "--config", "first.json", "--keep", "one"];
    fixture.ok(&first).await;
    let id = fixture.only_sandbox();
    assert_eq!(fixture.secrets(&id).await, ["anthropicApiKey", "env.A"]);
    fixture.file("second.json", &json!({ "env": { "B": "2" }, "model": "another" }));
    fixture.ok(&["--attach", &id, "--config", "second.json", "-c", "two"]).await;
    assert_eq!(fixture.secrets(&id).await, ["anthropicApiKey", "env.A", "env.B"]);
    // One that is paused, and a refused option.
    fixture.ok(&["e2b", "pause", &id]).await;
    fixture.ok(&["--attach", &id, "-m", "third", "-c", "three"]).await;
    let before = fixture.server_has(&id).await;
    assert!(before.0.len() == 3 && before.1.contains("third"), "{before:?}");
    fixture.file("refused.json", &json!({ "model": "x", "cwd": "/nowhere/at/all" }));
    let (code, _, stderr) = fixture.run(&["--attach", &id, "--config", "refused.json", "4"]).await;
    assert!(code == 2 && stderr.contains("outside the workspace"), "{stderr}");
    assert_eq!(fixture.server_has(&id).await, before);
    // A chat, in whose environment there is another key.
    let mut chat = fixture.command(&["chat", "--attach", &id, "-m", "fourth", "--no-history"]);
    let told = piped(chat.env("ANTHROPIC_API_KEY", "sk-ant-other"), b"five\n").await;
    assert!(told.0 == 0 && told.1.contains("“five”"), "{told:?}");
    assert_eq!(fixture.server_has(&id).await.0.len(), 3);
    assert_eq!(fixture.asked("POST", "/config").len(), 1, "nothing is replaced");
    fixture.kill(&id).await;
}

#[tokio::test]
async fn a_client_that_is_refused_in_a_sandbox_is_told_what_to_do_and_may_wait() {
    let fixture = CloudFixture::start().await;
    let id = fixture.kept().await;
    let mut first = fixture.command(&["chat", "--attach", &id, "--no-history"]);
    let mut first = first.stdin(Stdio::piped()).spawn().unwrap();
    wait::until("it", || (fixture.asked("GET", "/ws").len() == 2).then_some(())).await;
    let refused = || async { fixture.run(&["--attach", &id, "-c", "two"]).await };
    let (code, _, stderr) = refused().await;
    assert!(code == 3 && stderr.contains("--wait 5m waits for its end"), "{code} {stderr}");
    let mut waiting = fixture.command(&["--attach", &id, "--wait", "1m", "-c", "two"]);
    let mut waiting = waiting.spawn().unwrap();
    wait_for_line(&mut waiting, "another client is connected").await;
    drop(first.stdin.take());
    assert!(soon(first.wait()).await.unwrap().success());
    let (code, stdout, stderr) = told(soon(waiting.wait_with_output()).await.unwrap());
    assert!(code == 0 && stdout.contains("“two”"), "{code} {stderr}");
    fixture.kill(&id).await;
}

#[tokio::test]
async fn a_sandbox_that_another_client_has_taken_over_is_left_to_it() {
    let fixture = CloudFixture::start().await;
    let script = r#"{"sleep_ms":60000}"#;
    let first = fixture.command(&["--e2b", "--ndjson-file", "trace", script]).spawn().unwrap();
    let trace = fixture.folder.path().join("trace");
    let has_begun =
        || std::fs::read_to_string(&trace).is_ok_and(|text| text.contains("init")).then_some(());
    wait::until("the turn", has_begun).await;
    let id = fixture.only_sandbox();
    let second = ["chat", "--attach", &id, "--takeover", "-c", "--no-history"];
    let second = fixture.command(&second).stdin(Stdio::piped()).spawn().unwrap();
    let (code, _, stderr) = told(soon(first.wait_with_output()).await.unwrap());
    let is_told = stderr.contains("taken over") && stderr.contains(&id);
    assert!(code == 3 && is_told, "{code} {stderr}");
    assert_eq!(fixture.only_sandbox(), id);
    let (code, _, stderr) = told(soon(second.wait_with_output()).await.unwrap());
    assert_eq!(code, 0, "{stderr}");
    fixture.kill(&id).await;
}

#[tokio::test]
async fn a_signal_in_a_chat_ends_the_sandbox() {
    for (number, code) in SIGNALS {
        for script in [None, Some("{\"sleep_ms\":60000}\n")] {
            let fixture = CloudFixture::start().await;
            let arguments = ["chat", "--e2b", "--no-history", "--ndjson-file", "trace"];
            let mut child = fixture.command(&arguments).stdin(Stdio::piped()).spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(script.unwrap_or_default().as_bytes()).await.unwrap();
            let trace = fixture.folder.path().join("trace");
            let reads =
                |text: &str| std::fs::read_to_string(&trace).is_ok_and(|t| t.contains(text));
            let has_begun = || match script {
                Some(_) => reads("\"init\""),
                None => !fixture.asked("GET", "/ws").is_empty(),
            };
            wait::until("the chat", || has_begun().then_some(())).await;
            signal(&child, number);
            if script.is_some() && number == Signal::INT {
                // The first one ends the turn alone.
                wait_for_line(&mut child, "interrupting").await;
                wait::until("its end", || reads("\"result\"").then_some(())).await;
                signal(&child, number);
            }
            let (ended, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
            assert_eq!(ended, code, "{number:?} {script:?}: {stderr}");
            drop(stdin);
            fixture.finish();
        }
    }
}

#[tokio::test]
async fn a_signal_while_files_are_copied_ends_the_sandbox() {
    for (number, code) in SIGNALS {
        for (method, option) in [("PUT", "--upload"), ("GET", "--download")] {
            let fixture = CloudFixture::start().await;
            std::fs::write(fixture.folder.path().join("f"), "x").unwrap();
            fixture.fake.fail(&format!("{method} 3000/files/f"), Fault::Hang);
            let child = fixture.command(&["--e2b", option, "f", "hi"]).spawn().unwrap();
            let is_asked = || (!fixture.asked(method, "/files/f").is_empty()).then_some(());
            wait::until(option, is_asked).await;
            signal(&child, number);
            let (ended, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
            assert_eq!(ended, code, "{option} {number:?}: {stderr}");
            fixture.finish();
        }
    }
}

#[tokio::test]
async fn a_reader_that_goes_leaves_no_sandbox() {
    let fixture = CloudFixture::start().await;
    let mut child = fixture.command(&["--e2b", r#"{"n":20000,"size":300}"#]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_u8().await.unwrap();
    drop(stdout);
    soon(child.wait()).await.unwrap();
    fixture.finish();
}

#[tokio::test]
async fn sandboxes_of_others_live_on_whatever_the_server_lists() {
    let fixture = CloudFixture::start().await;
    let e2b = &fixture.account();
    let mine = e2b.create_guarded(&NewSandbox::new("base")).await.unwrap().keep().unwrap();
    let others = e2b.create(&NewSandbox::new("base")).await.unwrap();
    fixture.fake.age(others.id().as_str(), std::time::Duration::from_secs(7200));
    fixture.fake.ignore_filters();
    fixture.fake.page_size(1);
    fixture.ok(&["e2b", "kill", "--all", "--older-than", "1h"]).await;
    assert_eq!(fixture.fake.alive(), [mine.id().as_str(), others.id().as_str()]);
    fixture.ok(&["e2b", "kill", "--all"]).await;
    assert_eq!(fixture.fake.alive(), [others.id().as_str()]);
    // The search for a sandbox whose creation was not answered.
    fixture.fake.fail_times(4, "POST /sandboxes", &Fault::Garbage);
    let (code, ..) = fixture.run(&["--e2b", "hi"]).await;
    assert_eq!((code, fixture.fake.alive()), (3, vec![others.id().to_string()]));
    others.kill().await.unwrap();
    fixture.finish();
}

#[tokio::test]
async fn what_is_worth_another_attempt_gets_one() {
    let fixture = CloudFixture::start().await;
    fixture.fake.fail("POST /files", Fault::refuse(502, "bad gateway"));
    let id = fixture.kept().await;
    assert_eq!(fixture.fake.counts().0, 1, "the start was not lost");
    for route in [
        "POST /sandboxes/{sandboxID}/connect",
        "GET /files",
        "GET 3000/health",
        "GET 3000/ws",
        "PATCH 3000/config",
    ] {
        fixture.fake.fail_times(2, route, &in_transition(&id));
        let (code, stdout, stderr) = fixture.run(&["--attach", &id, "-m", "x", "-c", "two"]).await;
        assert!(code == 0 && stdout.contains("“two”"), "{route}: {code} {stderr}");
    }
    fixture.fake.fail_times(3, KILL, &Fault::refuse(429, "slow down"));
    fixture.kill(&id).await;
}

#[tokio::test]
async fn a_sandbox_that_a_failed_start_could_not_end_is_named() {
    let refused = Fault::refuse(403, "not yours");
    let fixture = CloudFixture::start().await;
    fixture.fake.fail("POST 3000/config", Fault::refuse(400, "not like this"));
    fixture.fake.fail_times(50, KILL, &refused);
    let (code, _, stderr) = fixture.run(&["--e2b", "hi"]).await;
    let advice = format!("claude-relay e2b kill {}", fixture.only_sandbox());
    assert!(code == 2 && stderr.contains(&advice), "a failure keeps its code: {code} {stderr}");

    for (number, _) in SIGNALS {
        let fixture = CloudFixture::start().await;
        fixture.fake.fail("POST 3000/config", Fault::Hang);
        fixture.fake.fail_times(50, KILL, &refused);
        let child = fixture.command(&["--e2b", "hi"]).spawn().unwrap();
        let is_asked = || (!fixture.asked("POST", "/config").is_empty()).then_some(());
        wait::until("the configuration", is_asked).await;
        signal(&child, number);
        let (code, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
        let advice = format!("claude-relay e2b kill {}", fixture.only_sandbox());
        assert!(code == 6 && stderr.contains(&advice), "{number:?}: {code} {stderr}");
    }
}

#[tokio::test]
async fn a_sandbox_that_may_have_been_made_and_cannot_be_looked_for_is_told() {
    let fixture = CloudFixture::start().await;
    fixture.fake.fail_times(4, "POST /sandboxes", &Fault::Garbage);
    fixture.fake.fail_times(50, "GET /v2/sandboxes", &Fault::refuse(403, "no list for you"));
    let (code, _, stderr) = fixture.run(&["--e2b", "hi"]).await;
    assert!(code == 3 && stderr.contains("a sandbox may be left"), "{code} {stderr}");
    fixture.only_sandbox();
}

#[tokio::test]
async fn copies_that_no_answer_names_have_an_exit_code() {
    let fixture = CloudFixture::start().await;
    let id = fixture.kept().await;
    let route = "POST /sandboxes/{sandboxID}/fork";
    for fault in [Fault::CutAfter, Fault::Garbage, Fault::refuse(500, "oh")] {
        fixture.fake.fail(route, fault);
        let (code, _, stderr) = fixture.run(&["e2b", "fork", &id]).await;
        assert!(code == 6 && stderr.contains("copies may run"), "{code} {stderr}");
    }
    fixture.fake.fail(route, Fault::refuse(403, "not yours"));
    let (code, _, stderr) = fixture.run(&["e2b", "fork", &id]).await;
    assert!(code == 3 && !stderr.contains("may run"), "nothing was made: {code} {stderr}");
    for id in fixture.fake.alive() {
        fixture.ok(&["e2b", "kill", &id]).await;
    }
    fixture.finish();
}

#[tokio::test]
async fn a_sandbox_that_gets_no_new_time_is_told_of() {
    for arguments in [&["chat", "--no-history"][..], &[r#"{"sleep_ms":60000}"#]] {
        let fixture = CloudFixture::start().await;
        let refused = Fault::refuse(403, "no time for you");
        fixture.fake.fail_times(9, "POST /sandboxes/{sandboxID}/timeout", &refused);
        let mut command = fixture.command(arguments);
        command.args(["--e2b", "--e2b-timeout", "20s"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let line = "claude-relay: the sandbox gets no new time and may end";
        wait_for_line(&mut child, line).await;
        // The end of its input would end a chat, too.
        let input = child.stdin.take();
        signal(&child, Signal::TERM);
        let (code, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
        drop(input);
        assert_eq!(code, 143, "{stderr}");
        fixture.finish();
    }
}

#[tokio::test]
async fn a_trace_that_others_could_read_is_closed_to_them() {
    let fixture = CloudFixture::start().await;
    let trace = fixture.folder.path().join("trace");
    std::fs::write(&trace, "").unwrap();
    std::fs::set_permissions(&trace, std::fs::Permissions::from_mode(0o644)).unwrap();
    fixture.ok(&["--e2b", "--ndjson-file", "trace", "hi"]).await;
    let mode = std::fs::metadata(&trace).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fixture.finish();
}

#[tokio::test]
async fn every_name_of_this_machine_is_refused_for_a_sandbox() {
    let fixture = CloudFixture::start().await;
    for host in ["127.0.0.1", "[::1]", "LOCALHOST", "localhost.", "0.0.0.0", "[::]", "127.1.2.3"] {
        let mut command = fixture.command(&["--e2b", "hi"]);
        command.env("ANTHROPIC_BASE_URL", format!("http://{host}:4000/v1"));
        let (code, _, stderr) = run(&mut command).await;
        let is_told = stderr.contains("its own localhost is another one");
        assert!(code == 2 && is_told, "{host}: {code} {stderr}");
    }
    assert!(fixture.fake.requests().is_empty());
    fixture.finish();
}

#[tokio::test]
async fn the_rest_of_an_unfinished_turn_is_not_taken_for_the_answer() {
    for goes_on in [true, false] {
        let fixture = CloudFixture::start().await;
        let script = r#"{"sleep_ms":1500,"echo":true,"n":5,"size":300,"note":"unfinished"}"#;
        let arguments = ["--e2b-template", "mine", "--keep", "--ndjson-file", "trace", script];
        let mut child = fixture.command(&arguments).spawn().unwrap();
        let trace = fixture.folder.path().join("trace");
        let has_begun = || {
            std::fs::read_to_string(&trace).is_ok_and(|text| text.contains("init")).then_some(())
        };
        wait::until("the turn", has_begun).await;
        child.start_kill().unwrap();
        soon(child.wait()).await.unwrap();
        let id = fixture.only_sandbox();
        let arguments = if goes_on { &["-c", "two"][..] } else { &["two"] };
        let stdout = fixture.ok(&[&["--attach", &id], arguments].concat()).await;
        let rest = ["unfinished", "000000"].into_iter().find(|text| stdout.contains(text));
        assert!(stdout.contains("“two”") && rest.is_none(), "{stdout}");
        fixture.kill(&id).await;
    }
}

#[tokio::test]
async fn a_signal_after_a_failed_creation_is_heard() {
    for (number, _) in SIGNALS {
        let fixture = CloudFixture::start().await;
        fixture.fake.fail_times(9, "POST /sandboxes", &Fault::refuse(500, "oh"));
        let mut child = fixture.command(&["--e2b", "hi"]).spawn().unwrap();
        wait_for_line(&mut child, "waiting until no sandbox is left").await;
        signal(&child, number);
        wait_for_line(&mut child, "ending the sandbox first").await;
        // The search takes half a minute; this does not wait for it.
        signal(&child, number);
        let (code, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
        assert!(code == 3 && stderr.contains("a sandbox may be left"), "{code} {stderr}");
    }
}
