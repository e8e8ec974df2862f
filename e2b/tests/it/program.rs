//! The program `claude-relay-e2b`, as a user runs it.

use std::path::Path;
use std::process::{Output, Stdio};

use claude_relay_testing::e2b::{API_KEY, Channel, FakeE2b, Fault};
use serde_json::Value;

/// Runs the program in a directory with only the given environment.
async fn program(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_claude-relay-e2b"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Creates a checkout that looks like that of claude-relay.
async fn checkout() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("server")).unwrap();
    std::fs::write(dir.path().join("server/Cargo.toml"), "[package]").unwrap();
    std::fs::write(dir.path().join("Cargo.toml"), "[workspace]").unwrap();
    for arguments in [&["init", "-q"][..], &["add", "-A"]] {
        let git =
            tokio::process::Command::new("git").args(arguments).current_dir(dir.path()).status();
        assert!(git.await.unwrap().success());
    }
    dir
}

fn variables(fake: &FakeE2b) -> [(&'static str, String); 2] {
    [("E2B_API_KEY", API_KEY.to_owned()), ("E2B_API_URL", fake.url())]
}

#[tokio::test]
async fn build_ends_with_0_only_when_the_template_is_ready() {
    let fake = FakeE2b::start().await;
    let dir = checkout().await;
    std::fs::write(dir.path().join("untracked.txt"), "x").unwrap();
    let variables = variables(&fake);
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = program(dir.path(), &["build", "--tag", "nightly"], &variables).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.starts_with("claude-agent-server is ready after "), "{out}");
    assert!(out.contains("template tmpl0000000000000001"), "{out}");
    assert!(
        err.contains("1 files are not tracked by git and are left out: untracked.txt"),
        "{err}"
    );
    assert!(err.contains("step 1 of 10"), "{err}");

    let requests = fake.requests();
    let asked: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(asked["name"], "claude-agent-server");
    assert_eq!((asked["cpuCount"].as_u64(), asked["memoryMB"].as_u64()), (Some(2), Some(2048)));
    let upload = requests.iter().find(|request| request.channel == Channel::Upload).unwrap();
    let hash = upload.path.rsplit('/').next().unwrap().trim_end_matches(".tar");
    let names: Vec<_> = fake.uploaded(hash).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["claude-relay/Cargo.toml", "claude-relay/server/Cargo.toml"]);
    let said = format!("{out}{err}");
    assert!(!said.contains(API_KEY), "the key is in the output");
    fake.finish();
}

#[tokio::test]
async fn a_failing_step_is_shown_with_its_output_and_ends_with_1() {
    let fake = FakeE2b::start().await;
    let dir = checkout().await;
    fake.fail_step("3", "failed to run command 'claude --version': exit status 127");
    let variables = variables(&fake);
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = program(dir.path(), &["build"], &variables).await;
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("failed: step 3 of 10: RUN as user: claude --version"), "{err}");
    assert!(err.contains("  the output of the step\n"), "{err}");
    assert!(err.ends_with("claude-relay-e2b: no template: failed to run command 'claude --version': exit status 127\n"), "{err}");
    assert!(!err.contains('\u{1b}'), "control sequences are removed");
    fake.finish();
}

#[tokio::test]
async fn refusals_and_bad_arguments_have_their_codes() {
    let fake = FakeE2b::start().await;
    let dir = checkout().await;
    let variables = variables(&fake);
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fake.fail("POST /v3/templates", Fault::refuse(401, "Invalid API key"));
    let output = program(dir.path(), &["build"], &variables).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("401: Invalid API key"), "{}", text(&output.stderr));

    let cases: [&[&str]; 7] = [
        &["build", "--cpus", "3"],
        &["build", "--memory-mb", "100"],
        &["build", "--name", "a b"],
        &["build", "--tag", "a/b"],
        &["build", "--cli-version", "latest"],
        &["build", "--apt", "-y"],
        &["build", "--binary", "/bin/true"],
    ];
    for arguments in cases {
        let output = program(dir.path(), arguments, &variables).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    }
    let output = program(dir.path(), &["build"], &[("E2B_API_KEY", "")]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("set E2B_API_KEY"), "{}", text(&output.stderr));
    let elsewhere = tempfile::tempdir().unwrap();
    let output = program(elsewhere.path(), &["build"], &variables).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("not a git checkout"), "{}", text(&output.stderr));
    assert_eq!(fake.requests().len(), 1, "only the first of these sends a request");
}

#[tokio::test]
async fn dry_run_and_dockerfile_need_no_key_and_send_nothing() {
    let dir = checkout().await;
    let output = program(dir.path(), &["build", "--dry-run"], &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let definition: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(definition["build"]["fromImage"], "rust:1.95-slim-trixie");
    assert_eq!(definition["files"][0]["files"], 2);
    let start = &definition["build"]["startCmd"];
    assert_eq!(start, claude_relay_e2b::relay::START_COMMAND);

    let output = program(dir.path(), &["build", "--print-dockerfile"], &[]).await;
    let dockerfile = text(&output.stdout);
    assert!(dockerfile.contains("\nFROM rust:1.95-slim-trixie\n"), "{dockerfile}");
    assert!(dockerfile.contains("\nCOPY --chown=root:root claude-relay /opt/claude-relay\n"));
    assert!(dockerfile.contains("127.0.0.1:3000:3000"), "the port is not open to the network");
}

#[tokio::test]
async fn a_dotenv_file_is_read_and_the_environment_wins() {
    let fake = FakeE2b::start().await;
    let dir = checkout().await;
    let file = format!("E2B_API_KEY={API_KEY}\nE2B_API_URL=http://127.0.0.1:1\n");
    std::fs::write(dir.path().join(".env"), file).unwrap();
    let url = fake.url();
    let output = program(dir.path(), &["build"], &[("E2B_API_URL", &url)]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let uploads = fake.requests();
    let archived = format!(
        "{:?}",
        uploads.iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect::<Vec<_>>()
    );
    assert!(!archived.contains(API_KEY), "the .env file is not tracked and is left out");
    fake.finish();
}

#[tokio::test]
async fn a_rehearsal_says_at_once_what_it_cannot_stand_for() {
    let dir = checkout().await;
    let output = program(dir.path(), &["rehearse", "--image", "ubuntu:24.04"], &[]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("ubuntu:24.04 cannot be stood for here"));
    assert!(!dir.path().join("target").exists(), "nothing was made");
}

#[tokio::test]
async fn help_version_completions_and_man_page() {
    let dir = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| {
        let output = program(dir.path(), arguments, &[]).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        text(&output.stdout)
    };
    assert!(run(&["--version"]).await.starts_with("claude-relay-e2b "));
    assert!(run(&["--help"]).await.contains("E2B_API_KEY"));
    assert!(run(&["build", "--help"]).await.contains("--print-dockerfile"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(run(&["completions", shell]).await.contains("claude-relay-e2b"), "{shell}");
    }
    let man = run(&["man"]).await;
    assert!(man.contains(".TH claude-relay-e2b 1"), "{man}");
    let man = run(&["man", "build"]).await;
    assert!(man.contains("print\\-dockerfile"), "{man}");
}
