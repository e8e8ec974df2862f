//! Sandboxes of E2B, against a fake of E2B's API that forwards a sandbox's
//! port to a real server.

use std::time::Duration;

use claude_relay_client::e2b::NewSandbox;
use claude_relay_testing::e2b::{API_KEY, Fault};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::cloud::CloudFixture;
use crate::support::program::{run, signal};
use crate::support::soon;
use claude_relay_testing::wait;

#[tokio::test]
async fn a_question_in_a_fresh_sandbox() {
    let fixture = CloudFixture::start().await;
    let stdout = fixture.ok(&["--e2b", "from the cloud"]).await;
    assert!(stdout.contains("“from the cloud”"), "{stdout}");
    assert_eq!(fixture.fake.counts().0, 1);
    assert!(!fixture.configured().contains("sk-ant-made-up"));
    assert!(fixture.configured().contains("placeholder"));
    let rule = json!([{ "transform": { "headers": { "x-api-key": "sk-ant-made-up" } } }]);
    assert_eq!(fixture.network()["rules"]["api.anthropic.com"], rule);
    assert!(fixture.asked("GET", "/health").is_empty(), "nobody has said anything in it");
    fixture.finish();

    let fixture = CloudFixture::start().await;
    fixture.ok(&["--e2b", "--e2b-allow", "github.com,pypi.org", "closed"]).await;
    let network = fixture.network();
    assert_eq!(network["allowOut"], json!(["github.com", "pypi.org", "api.anthropic.com"]));
    assert_eq!(network["denyOut"], json!(["0.0.0.0/0"]));
    fixture.finish();

    let fixture = CloudFixture::start().await;
    fixture.ok(&["--e2b", "--e2b-key-inside", "as before"]).await;
    assert!(fixture.configured().contains("sk-ant-made-up"));
    assert_eq!(fixture.network().get("rules"), None);
    fixture.finish();
}

#[tokio::test]
async fn a_sandbox_gets_a_configuration_and_files_and_gives_files_before_it_ends() {
    let fixture = CloudFixture::start().await;
    let here = fixture.folder.path();
    std::fs::create_dir(here.join("project")).unwrap();
    std::fs::write(here.join("project/a.txt"), "one").unwrap();
    let configuration = json!({ "model": "of-the-file", "maxTurns": 3,
        "mcpServers": { "files": { "command": "uvx", "args": ["files"] } } });
    std::fs::write(here.join("agent.json"), configuration.to_string()).unwrap();
    let options = ["--e2b", "--config", "agent.json", "-m", "mine", "--upload", "project"];
    fixture.ok(&[&options[..], &["--download", "a.txt", "Hello"]].concat()).await;
    assert_eq!(std::fs::read(here.join("a.txt")).unwrap(), b"one");
    let configured: Value = serde_json::from_str(&fixture.configured()).unwrap();
    assert_eq!(configured["model"], "mine");
    assert_eq!(
        (&configured["maxTurns"], &configured["mcpServers"]["files"]["command"]),
        (&json!(3), &json!("uvx"))
    );
    assert!(!fixture.configured().contains("sk-ant-made-up"));
    fixture.finish();
}

#[tokio::test]
async fn an_address_of_this_machine_is_refused_for_a_sandbox() {
    let fixture = CloudFixture::start().await;
    let mut command = fixture.command(&["--e2b", "hi"]);
    let (code, _, stderr) = run(command.env("ANTHROPIC_BASE_URL", "http://localhost:4000")).await;
    assert!(code == 2 && stderr.contains("its own localhost is another one"), "{stderr}");
    assert!(fixture.fake.requests().is_empty());
    fixture.finish();
}

#[tokio::test]
async fn an_option_given_with_attach_keeps_the_key_and_the_conversation() {
    let fixture = CloudFixture::start().await;
    fixture.ok(&["--e2b-template", "mine", "--e2b-key-inside", "--keep", "one"]).await;
    let id = fixture.only_sandbox();
    let stdout = fixture.ok(&["--attach", &id, "--model", "another", "-c", "two"]).await;
    assert!(stdout.contains("“two”") && !stdout.contains("“one”"), "{stdout}");
    assert_eq!(fixture.asked("POST", "/config").len(), 1, "nothing is replaced");
    let (secrets, configuration) = fixture.server_has(&id).await;
    assert_eq!(secrets, ["anthropicApiKey"]);
    assert!(configuration.contains("another"), "{configuration}");
    // Without an option nothing is changed at all.
    fixture.ok(&["--attach", &id, "-c", "three"]).await;
    assert_eq!(fixture.server_has(&id).await.1, configuration);
    fixture.ok(&["e2b", "kill", &id]).await;
    fixture.finish();
}

#[tokio::test]
async fn a_trace_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let fixture = CloudFixture::start().await;
    fixture.ok(&["--e2b", "--ndjson-file", "trace", "hi"]).await;
    let mode = std::fs::metadata(fixture.folder.path().join("trace")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fixture.finish();
}

#[tokio::test]
async fn a_sandbox_that_is_paused_elsewhere_is_left_to_who_has_paused_it() {
    let fixture = CloudFixture::start().await;
    let question = ["--e2b", "--ndjson-file", "trace", r#"{"sleep_ms":60000}"#];
    let child = fixture.command(&question).spawn().unwrap();
    let trace = fixture.folder.path().join("trace");
    let has_begun =
        || std::fs::read_to_string(&trace).is_ok_and(|text| text.contains("init")).then_some(());
    wait::until("the turn", has_begun).await;
    let id: claude_relay_client::e2b::SandboxId = fixture.only_sandbox().parse().unwrap();
    fixture.account().pause(&id).await.unwrap();
    let output = soon(child.wait_with_output()).await.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && stderr.contains("paused elsewhere"), "{stderr}");
    assert_eq!(fixture.only_sandbox(), id.to_string());
    fixture.ok(&["e2b", "kill", id.as_str()]).await;
    fixture.finish();
}

#[tokio::test]
async fn each_signal_at_each_stage_leaves_no_sandbox() {
    let stages = [
        ("POST /sandboxes", "POST", "/sandboxes"),
        ("POST /files", "POST", "/files"),
        ("POST 3000/config", "POST", "/config"),
        ("GET 3000/ws", "GET", "/ws"),
        ("DELETE /sandboxes/{sandboxID}", "DELETE", ""),
    ];
    for (number, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for (route, method, path) in stages {
            let fixture = CloudFixture::start().await;
            // Of the creation and of the end the answer is late; the others never come.
            let slow = matches!(method, "DELETE") || path == "/sandboxes";
            match slow {
                true => fixture.fake.delay(route, Duration::from_millis(300)),
                false => fixture.fake.fail(route, Fault::Hang),
            }
            let child = fixture.command(&["--e2b", "hi"]).spawn().unwrap();
            wait::until(route, || (!fixture.asked(method, path).is_empty()).then_some(())).await;
            signal(&child, number);
            let output = soon(child.wait_with_output()).await.unwrap();
            let expected = if method == "DELETE" { 0 } else { code };
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(expected), "{route} {number:?}: {stderr}");
            fixture.finish();
        }
    }
}

#[tokio::test]
async fn missing_settings_are_reported_before_a_sandbox_is_created() {
    let fixture = CloudFixture::start().await;
    for (variable, says) in [("E2B_API_KEY", "E2B API key"), ("ANTHROPIC_API_KEY", "credential")] {
        let (code, _, stderr) = run(fixture.command(&["--e2b", "hi"]).env_remove(variable)).await;
        assert!(code == 2 && stderr.contains(says), "{stderr}");
    }
    for arguments in [
        &["--e2b", "health"][..],
        &["--keep", "hi"],
        &["--attach", "i1", "--e2b", "hi"],
        &["--attach", "not an id", "hi"],
        &["e2b", "kill"],
        &["e2b", "kill", "--older-than", "1h"],
    ] {
        let (code, _, stderr) = fixture.run(arguments).await;
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
    }
    assert!(fixture.fake.requests().is_empty());

    // A file of variables is as good.
    let file = format!("E2B_API_KEY={API_KEY}\nANTHROPIC_API_KEY=sk-ant-of-the-file\n");
    std::fs::write(fixture.folder.path().join(".env"), file).unwrap();
    let mut command = fixture.command(&["--e2b", "hi"]);
    let (code, _, stderr) =
        run(command.env_remove("E2B_API_KEY").env_remove("ANTHROPIC_API_KEY")).await;
    assert_eq!(code, 0, "{stderr}");
    fixture.finish();
}

#[tokio::test]
async fn a_sandbox_is_kept_attached_to_and_managed() {
    let fixture = CloudFixture::start().await;
    let (code, _, stderr) = fixture.run(&["--e2b-template", "mine", "--keep", "one"]).await;
    assert_eq!(code, 0, "{stderr}");
    let id = fixture.only_sandbox();
    assert!(stderr.contains(&format!("SANDBOX_ID={id}\n")), "{stderr}");
    let created = String::from_utf8(fixture.asked("POST", "/sandboxes")[0].body.clone()).unwrap();
    assert!(created.contains(r#""autoPause":true"#) && created.contains(r#""mine""#), "{created}");

    let stdout = fixture.ok(&["--attach", &id, "two"]).await;
    assert!(stdout.contains("“two”") && !stdout.contains("“one”"), "{stdout}");
    let listed = fixture.ok(&["e2b", "ls"]).await;
    let row = listed.lines().nth(1).unwrap_or_default();
    assert!(row.starts_with(&id) && row.contains("running") && row.ends_with("mine"), "{listed}");
    fixture.ok(&["e2b", "pause", &id]).await;
    assert!(fixture.ok(&["e2b", "pause", &id]).await.contains("already"));
    assert!(fixture.ok(&["e2b", "ls"]).await.contains("paused"));
    fixture.ok(&["e2b", "resume", &id, "--for", "10m"]).await;
    assert!(fixture.fake.seconds_left(&id).unwrap() > 500);
    assert!(fixture.ok(&["e2b", "logs", &id]).await.contains("info  sandbox started"));
    assert!(fixture.ok(&["e2b", "kill", &id]).await.contains("is ended"));
    assert!(fixture.ok(&["e2b", "kill", &id]).await.contains("gone already"));
    for arguments in [&["--attach", &id, "three"][..], &["e2b", "pause", &id]] {
        let (code, _, stderr) = fixture.run(arguments).await;
        assert!(code == 3 && stderr.contains(&id), "{stderr}");
    }
    fixture.finish();
}

#[tokio::test]
async fn a_sandbox_is_worked_in_measured_and_kept() {
    let fixture = CloudFixture::start().await;
    fixture.ok(&["--e2b-template", "mine", "--keep", "one"]).await;
    let id = fixture.only_sandbox();
    let (code, stdout, stderr) =
        fixture.run(&["e2b", "exec", &id, "echo out; echo err >&2; exit 3"]).await;
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (3, "out\n", "err\n"));
    assert_eq!(fixture.ok(&["e2b", "exec", &id, "printf", "%s.", "a b", "$X"]).await, "a b.$X.");

    let url = fixture.ok(&["e2b", "url", &id, "8080"]).await;
    assert!(url.starts_with("http") && !url.contains("token"), "{url}");
    let url = fixture.ok(&["e2b", "url", "--headers", &id, "8080"]).await;
    assert!(url.contains("e2b-traffic-access-token: traffic-token-of-"), "{url}");
    let metrics = fixture.ok(&["e2b", "metrics", &id]).await;
    assert!(metrics.contains("of 2\n") && metrics.contains("512 of 2048 MiB"), "{metrics}");

    let snapshot = fixture.ok(&["e2b", "snapshot", "--name", "kept", &id]).await;
    assert_eq!(snapshot, "team/kept:default\n");
    fixture.ok(&["e2b", "pause", &id]).await;
    let (code, _, stderr) = fixture.run(&["e2b", "exec", &id, "true"]).await;
    assert!(code == 3 && stderr.contains("paused"), "{code}: {stderr}");
    fixture.ok(&["e2b", "resume", "--reboot", &id]).await;

    let refused = Fault::refuse(403, "not now");
    fixture.fake.fail_times(9, "DELETE /sandboxes/{sandboxID}", &refused);
    let (code, _, stderr) = fixture.run(&["e2b", "kill", &id]).await;
    assert!(code == 6 && stderr.contains("not now"), "what lives on has a code: {code} {stderr}");
    for _ in 0..9 {
        let (code, ..) = fixture.run(&["e2b", "kill", "--all"]).await;
        if code == 0 {
            break;
        }
    }
    fixture.finish();
}

#[tokio::test]
async fn the_templates_of_the_account_are_listed() {
    let fixture = CloudFixture::start().await;
    let (code, stdout, stderr) = fixture.run(&["e2b", "templates"]).await;
    assert!(code == 0 && stdout.is_empty() && stderr.contains("claude-relay-e2b build"));
    fixture.fake.has_template("mine");
    let listed = fixture.ok(&["e2b", "templates"]).await;
    let row: Vec<_> = listed.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..3], ["2", "2048", "ready"], "{listed}");
    assert_eq!(row[4..], ["template-mine", "team/mine"], "{listed}");
    fixture.finish();
}

#[tokio::test]
async fn orphans_are_killed_by_their_age_and_those_of_others_left_alone() {
    let fixture = CloudFixture::start().await;
    let e2b = &fixture.account();
    let (old, new) = (NewSandbox::new("base"), NewSandbox::new("base"));
    let old = e2b.create_guarded(&old).await.unwrap().keep().unwrap();
    let new = e2b.create_guarded(&new).await.unwrap().keep().unwrap();
    let others = e2b.create(&NewSandbox::new("base")).await.unwrap();
    fixture.fake.age(old.id().as_str(), Duration::from_secs(7200));
    fixture.ok(&["e2b", "kill", "--all", "--older-than", "1h"]).await;
    assert_eq!(fixture.fake.alive(), [new.id().as_str(), others.id().as_str()]);
    assert!(fixture.ok(&["e2b", "ls", "--all"]).await.contains(others.id().as_str()));
    assert!(!fixture.ok(&["e2b", "ls"]).await.contains(others.id().as_str()));
    fixture.ok(&["e2b", "kill", "--all"]).await;
    assert_eq!(fixture.fake.alive(), [others.id().as_str()]);
    others.kill().await.unwrap();
    fixture.finish();
}

#[tokio::test]
async fn nothing_is_left_when_the_program_ends_early() {
    // Refused.
    let fixture = CloudFixture::start().await;
    fixture.fake.fail("POST 3000/config", Fault::refuse(400, "not like this"));
    let (code, _, stderr) = fixture.run(&["--e2b", "hi"]).await;
    assert!(code == 2 && stderr.contains("not like this"), "{stderr}");
    assert!(fixture.fake.alive().is_empty());

    // There is no such template.
    fixture
        .fake
        .fail("POST /sandboxes", Fault::refuse(404, "template 'claude-agent-server' not found"));
    let (code, _, stderr) = fixture.run(&["--e2b", "hi"]).await;
    assert!(code == 3 && stderr.contains("claude-relay-e2b build"), "{stderr}");

    // Its creation was not answered: it is looked for.
    fixture.fake.fail("POST /sandboxes", Fault::Garbage);
    let (code, _, stderr) = fixture.run(&["--e2b", "hi"]).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(fixture.fake.alive().is_empty());

    // Interrupted while it starts.
    fixture.fake.fail("POST 3000/config", Fault::Hang);
    let before = fixture.asked("POST", "/config").len();
    let child = fixture.command(&["--e2b", "hi"]).spawn().unwrap();
    wait::until("the start", || (fixture.asked("POST", "/config").len() > before).then_some(()))
        .await;
    signal(&child, Signal::INT);
    assert_eq!(soon(child.wait_with_output()).await.unwrap().status.code(), Some(130));
    assert!(fixture.fake.alive().is_empty());
    fixture.finish();
}

#[tokio::test]
async fn a_sandbox_that_may_be_left_is_named_and_has_an_exit_code() {
    let fixture = CloudFixture::start().await;
    let refused = Fault::refuse(403, "not now");
    fixture.fake.fail_times(50, "DELETE /sandboxes/{sandboxID}", &refused);
    let (code, stdout, stderr) = fixture.run(&["--e2b", "hi"]).await;
    assert!(stdout.contains("“hi”"), "{stdout}");
    let id = fixture.only_sandbox();
    assert!(code == 6 && stderr.contains(&id), "{code}: {stderr}");
}

#[tokio::test]
async fn a_signal_in_the_middle_of_a_turn_ends_the_sandbox() {
    for (number, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let fixture = CloudFixture::start().await;
        let child = fixture.command(&["--e2b", r#"{"sleep_ms":60000}"#]).spawn().unwrap();
        wait::until("the turn", || (!fixture.asked("GET", "/ws").is_empty()).then_some(())).await;
        signal(&child, number);
        let status = soon(child.wait_with_output()).await.unwrap().status;
        assert_eq!(status.code(), Some(code), "{number:?}");
        assert!(fixture.fake.alive().is_empty());
        fixture.finish();
    }
}
