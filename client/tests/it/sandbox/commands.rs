//! The command line with sandboxes.

use std::process::Stdio;

use tokio::process::Command;

use super::*;

struct Line {
    cloud: Cloud,
    folder: tempfile::TempDir,
}

type Told = (i32, String, String);

impl Line {
    async fn start() -> Self {
        Self { cloud: Cloud::start().await, folder: tempfile::tempdir().unwrap() }
    }

    /// The program, with what leads to the fake and nothing else.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-relay"));
        command
            .args(arguments)
            .env_clear()
            .envs(variables(&self.cloud.fake))
            .env("ANTHROPIC_API_KEY", "sk-ant-made-up")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Told {
        told(&mut self.command(arguments)).await
    }

    /// The same, which has to go well; what it printed.
    async fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        stdout
    }
}

async fn told(command: &mut Command) -> Told {
    let output = soon(command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_question_in_a_fresh_sandbox() {
    let line = Line::start().await;
    let stdout = line.ok(&["--sandbox", "from the cloud"]).await;
    assert!(stdout.contains("“from the cloud”"), "{stdout}");
    assert_eq!(line.cloud.fake.counts().0, 1);
    let configured = String::from_utf8(line.cloud.asked("POST", "/config")[0].body.clone());
    assert!(configured.unwrap().contains("sk-ant-made-up"));
    line.cloud.finish().await;
}

#[tokio::test]
async fn what_is_missing_is_said_before_anything_is_created() {
    let line = Line::start().await;
    for (variable, says) in [("E2B_API_KEY", "E2B API key"), ("ANTHROPIC_API_KEY", "credential")] {
        let (code, _, stderr) = told(line.command(&["--sandbox", "hi"]).env_remove(variable)).await;
        assert!(code == 2 && stderr.contains(says), "{stderr}");
    }
    for arguments in [
        &["--sandbox", "health"][..],
        &["--keep", "hi"],
        &["--attach", "i1", "--sandbox", "hi"],
        &["--attach", "not an id", "hi"],
        &["sandbox", "kill"],
        &["sandbox", "kill", "--older-than", "1h"],
    ] {
        let (code, _, stderr) = line.run(arguments).await;
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
    }
    assert!(line.cloud.fake.requests().is_empty());

    // A file of variables is as good.
    let file = format!("E2B_API_KEY={API_KEY}\nANTHROPIC_API_KEY=sk-ant-of-the-file\n");
    std::fs::write(line.folder.path().join(".env"), file).unwrap();
    let mut command = line.command(&["--sandbox", "hi"]);
    let (code, _, stderr) =
        told(command.env_remove("E2B_API_KEY").env_remove("ANTHROPIC_API_KEY")).await;
    assert_eq!(code, 0, "{stderr}");
    line.cloud.finish().await;
}

#[tokio::test]
async fn a_sandbox_is_kept_come_back_to_and_seen_to() {
    let line = Line::start().await;
    let (code, _, stderr) = line.run(&["--template", "mine", "--keep", "one"]).await;
    assert_eq!(code, 0, "{stderr}");
    let id = line.cloud.only_one();
    assert!(stderr.contains(&format!("SANDBOX_ID={id}\n")), "{stderr}");
    let created =
        String::from_utf8(line.cloud.asked("POST", "/sandboxes")[0].body.clone()).unwrap();
    assert!(created.contains(r#""autoPause":true"#) && created.contains(r#""mine""#), "{created}");

    let stdout = line.ok(&["--attach", &id, "two"]).await;
    assert!(stdout.contains("“two”") && !stdout.contains("“one”"), "{stdout}");
    let listed = line.ok(&["sandbox", "ls"]).await;
    let row = listed.lines().nth(1).unwrap_or_default();
    assert!(row.starts_with(&id) && row.contains("running") && row.ends_with("mine"), "{listed}");
    line.ok(&["sandbox", "pause", &id]).await;
    assert!(line.ok(&["sandbox", "pause", &id]).await.contains("already"));
    assert!(line.ok(&["sandbox", "ls"]).await.contains("paused"));
    line.ok(&["sandbox", "resume", &id, "--for", "10m"]).await;
    assert!(line.cloud.fake.seconds_left(&id).unwrap() > 500);
    assert!(line.ok(&["sandbox", "logs", &id]).await.contains("info  sandbox started"));
    assert!(line.ok(&["sandbox", "kill", &id]).await.contains("is ended"));
    assert!(line.ok(&["sandbox", "kill", &id]).await.contains("gone already"));
    for arguments in [&["--attach", &id, "three"][..], &["sandbox", "pause", &id]] {
        let (code, _, stderr) = line.run(arguments).await;
        assert!(code == 3 && stderr.contains(&id), "{stderr}");
    }
    line.cloud.finish().await;
}

#[tokio::test]
async fn strays_are_ended_by_their_age_and_those_of_others_left_alone() {
    use claude_relay_client::e2b::NewSandbox;

    let line = Line::start().await;
    let e2b = &line.cloud.e2b;
    let (old, new) = (NewSandbox::new("base"), NewSandbox::new("base"));
    let old = e2b.create_guarded(&old).await.unwrap().keep().unwrap();
    let new = e2b.create_guarded(&new).await.unwrap().keep().unwrap();
    let others = e2b.create(&NewSandbox::new("base")).await.unwrap();
    line.cloud.fake.age(old.id().as_str(), Duration::from_secs(7200));
    line.ok(&["sandbox", "kill", "--all", "--older-than", "1h"]).await;
    assert_eq!(line.cloud.fake.alive(), [new.id().as_str(), others.id().as_str()]);
    assert!(line.ok(&["sandbox", "ls", "--all"]).await.contains(others.id().as_str()));
    assert!(!line.ok(&["sandbox", "ls"]).await.contains(others.id().as_str()));
    line.ok(&["sandbox", "kill", "--all"]).await;
    assert_eq!(line.cloud.fake.alive(), [others.id().as_str()]);
    others.kill().await.unwrap();
    line.cloud.finish().await;
}

#[tokio::test]
async fn nothing_is_left_when_the_program_ends_early() {
    // Refused.
    let line = Line::start().await;
    line.cloud.fake.fail("POST 3000/config", Fault::refuse(400, "not like this"));
    let (code, _, stderr) = line.run(&["--sandbox", "hi"]).await;
    assert!(code == 2 && stderr.contains("not like this"), "{stderr}");
    assert!(line.cloud.fake.alive().is_empty());

    // There is no such template.
    line.cloud.fake.fail("POST /sandboxes", Fault::refuse(404, "template not found"));
    let (code, _, stderr) = line.run(&["--sandbox", "hi"]).await;
    assert!(code == 3 && stderr.contains("claude-relay-e2b build"), "{stderr}");

    // Its creation was not answered: it is looked for.
    line.cloud.fake.fail("POST /sandboxes", Fault::CutAfter);
    let (code, _, stderr) = line.run(&["--sandbox", "hi"]).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(line.cloud.fake.alive().is_empty());

    // Interrupted while it starts, and in the middle of a turn.
    line.cloud.fake.fail("POST 3000/config", Fault::Hang);
    let before = line.cloud.asked("POST", "/config").len();
    let child = line.command(&["--sandbox", "hi"]).spawn().unwrap();
    wait::until("the start", || (line.cloud.asked("POST", "/config").len() > before).then_some(()))
        .await;
    interrupt(&child);
    assert_eq!(soon(child.wait_with_output()).await.unwrap().status.code(), Some(130));
    assert!(line.cloud.fake.alive().is_empty());

    let child = line.command(&["--sandbox", r#"{"sleep_ms":60000}"#]).spawn().unwrap();
    wait::until("the turn", || (!line.cloud.asked("GET", "/ws").is_empty()).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    interrupt(&child);
    assert_eq!(soon(child.wait_with_output()).await.unwrap().status.code(), Some(130));
    assert!(line.cloud.fake.alive().is_empty());
    line.cloud.finish().await;
}

fn interrupt(child: &tokio::process::Child) {
    let pid = i32::try_from(child.id().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}
