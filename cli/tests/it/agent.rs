//! `claude-relay-agent` towards the program that starts it, with agents of a few
//! lines of shell.

use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::wait::{self, soon};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::agent_sdk::Helper;
use crate::support::program::agent_and_stand_in;

/// A relay whose agent is a script, and the program that stands in for it.
struct Fixture {
    relay: RelayProcess,
    folder: TempDir,
}

impl Fixture {
    async fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let agent = agent_and_stand_in(folder.path(), script);
        let path = agent.to_str().unwrap();
        let arguments = ["--mode", "unrestricted", "--run-grace", "2s", "--claude-path", path];
        Self { relay: RelayProcess::start(&arguments, &[]).await, folder }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("claude-relay-agent")
    }

    fn command(&self) -> Command {
        let mut command = bare(self.program());
        command.env("CLAUDE_RELAY_URL", &self.relay.url);
        command
    }
}

fn bare(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", env!("PATH"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn run(mut command: Command, input: &str) -> Output {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // One that has ended reads nothing.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    soon(child.wait_with_output()).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn read_line(child: &mut Child) -> String {
    let stdout = child.stdout.as_mut().unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        line.push(soon(stdout.read_u8()).await.unwrap());
    }
    text(&line)
}

#[tokio::test]
async fn lines_exit_code_and_stderr_are_those_of_the_agent() {
    let fixture = Fixture::new("cat; echo 'a note' >&2; exit 7").await;
    let output = run(fixture.command(), "{\"a\": 1.0}\n\n{\"b\":\"ü\"}").await;
    assert_eq!(text(&output.stdout), "{\"a\": 1.0}\n{\"b\":\"ü\"}\n");
    assert_eq!(text(&output.stderr), "a note\n");
    assert_eq!(output.status.code(), Some(7));
}

#[tokio::test]
async fn it_dies_of_the_signal_that_its_agent_died_of() {
    for (name, number) in [("TERM", 15), ("KILL", 9), ("SEGV", 11), ("INT", 2)] {
        let fixture = Fixture::new(&format!("echo '{{}}'; kill -{name} $$; sleep 9")).await;
        let output = run(fixture.command(), "").await;
        assert_eq!(output.status.signal(), Some(number), "{name}");
        assert_eq!(text(&output.stdout), "{}\n");
    }
}

#[tokio::test]
async fn it_dies_of_the_same_signal_when_its_file_has_been_replaced() {
    let fixture = Fixture::new("echo '{}'; read line; kill -TERM $$; sleep 9").await;
    let file = fixture.folder.path().join("replaced/claude-relay-agent");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_claude-relay"), &file).unwrap();
    let mut command = bare(file.clone());
    let mut child = command.args(["--relay-url", &fixture.relay.url]).spawn().unwrap();
    assert_eq!(read_line(&mut child).await, "{}\n");
    std::fs::remove_file(file).unwrap();
    child.stdin.as_mut().unwrap().write_all(b"{}\n").await.unwrap();
    let output = soon(child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.signal(), Some(15), "{}", text(&output.stderr));
}

#[tokio::test]
async fn arguments_variables_and_settings_find_their_way() {
    let fixture = Fixture::new("printf '%s\\n' \"$@\" >&2; env >&2").await;
    let settings = fixture.folder.path().join("settings.json");
    std::fs::write(&settings, "{\"a\":1}").unwrap();
    // An SDK may have replaced the whole environment.
    let mut command = bare(fixture.program());
    command
        .args(["--relay-url", &fixture.relay.url, "--model", "m", "--system-prompt", "--help"])
        .args(["--settings", settings.to_str().unwrap(), "--relay-env=NAMED", "--debug-file", "x"])
        .env("CLAUDE_CODE_X", "1")
        .env("NAMED", "2")
        .env("OTHER", "3");
    let output = run(command, "").await;
    let said = text(&output.stderr);
    let has = |line: &str| said.lines().any(|other| other == line);
    assert!(has("--model=m") && has("--system-prompt=--help"), "{said}");
    assert!(has("CLAUDE_CODE_X=1") && has("NAMED=2") && !said.contains("OTHER"), "{said}");
    assert!(said.contains("--settings=/") && !said.contains("settings.json\n"), "{said}");
    assert!(said.contains("--debug-file is left out"), "{said}");
    // The file beside the executable is the last that is asked.
    let file = fixture.folder.path().join("claude-relay-agent.env");
    std::fs::write(file, format!("CLAUDE_RELAY_URL={}\n", fixture.relay.url)).unwrap();
    let output = run(bare(fixture.program()), "").await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[tokio::test]
async fn the_version_is_that_of_the_remote_cli() {
    let fixture = Fixture::new("[ \"$1\" = --version ] && echo '2.1.332 (Claude Code)'").await;
    let mut command = fixture.command();
    command.arg("-v").stdin(Stdio::null());
    let output = soon(command.output()).await.unwrap();
    assert_eq!(text(&output.stdout), "2.1.332 (Claude Code)\n");
    assert!(output.status.success());
}

#[tokio::test]
async fn its_help_and_a_version_that_nobody_tells_do_not_wait() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let fixture = Fixture::new("cat").await;
    let ask = async |relay: &str, flag: &str| {
        let mut command = bare(fixture.program());
        command.args(["--relay-url", relay, flag]).stdin(Stdio::null());
        let began = Instant::now();
        (soon(command.output()).await.unwrap(), began.elapsed())
    };
    for flag in ["--help", "-h"] {
        let (output, took) = ask(&silent, flag).await;
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(text(&output.stdout).contains("CLAUDE_RELAY_URL"), "{}", text(&output.stdout));
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a connection for the help");
    for (relay, words, limit) in [
        ("http://127.0.0.1:1", "running?", Duration::from_secs(5)),
        (&silent, "has not told the version", Duration::from_secs(20)),
    ] {
        let (output, took) = ask(relay, "--version").await;
        assert_eq!(output.status.code(), Some(3));
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
        assert!(took < limit, "{took:?}");
    }
    let mut in_sandbox = bare(fixture.program());
    in_sandbox.args(["--relay-e2b-template", "none", "-v"]).env("E2B_API_KEY", "e2b_0");
    let output = run(in_sandbox, "").await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("none is made"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_failure_of_its_own_is_no_success_and_says_what_to_do() {
    let fixture = Fixture::new("cat").await;
    let no_relay = run(bare(fixture.program()), "").await;
    let mut wrong = bare(fixture.program());
    wrong.args(["--relay-url", "http://127.0.0.1:1"]);
    let mut plain = bare(fixture.program());
    plain.args(["--relay-url", "http://relay.example"]);
    let mut unknown = fixture.command();
    unknown.args(["--relay-urll", "x"]);
    for (output, code, words) in [
        (no_relay, 2, "CLAUDE_RELAY_URL"),
        (run(wrong, "").await, 3, "running?"),
        (run(plain, "").await, 2, "--relay-allow-plaintext"),
        (run(unknown, "").await, 2, "--relay-urll is not known"),
        (run(fixture.command(), "no json\n").await, 2, "no JSON"),
    ] {
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words) && said.lines().count() == 1, "{said}");
    }
    let mut refused = fixture.command();
    refused.args(["--teleport", "x"]);
    let output = run(refused, "").await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--teleport is refused"));
}

#[tokio::test]
async fn signals_are_passed_on_and_the_rest_of_the_output_still_comes() {
    let fixture = Fixture::new(
        "trap 'echo {\\\"n\\\":2}; exit 143' TERM; echo '{\"n\":1}'; while :; do sleep 0.1; done",
    )
    .await;
    let mut child = fixture.command().spawn().unwrap();
    assert_eq!(read_line(&mut child).await, "{\"n\":1}\n");
    crate::support::program::signal(&child, rustix::process::Signal::TERM);
    assert_eq!(read_line(&mut child).await, "{\"n\":2}\n");
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(143));
}

#[tokio::test]
async fn without_its_relay_it_ends_at_once_when_it_is_told_to() {
    let fixture = Fixture::new("echo '{}'; cat").await;
    let mut child = fixture.command().spawn().unwrap();
    assert_eq!(read_line(&mut child).await, "{}\n");
    let Fixture { relay, folder } = fixture;
    relay.kill().await;
    // It cannot know yet, or tries to come back.
    crate::support::program::signal(&child, rustix::process::Signal::TERM);
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(143));
    drop(folder);
}

#[tokio::test]
async fn a_program_that_has_gone_takes_its_agent_along() {
    let fixture = Fixture::new("echo $$ >&2; echo '{}'; sleep 600").await;
    let mut child = fixture.command().spawn().unwrap();
    assert_eq!(read_line(&mut child).await, "{}\n");
    let mut stderr = child.stderr.take().unwrap();
    let mut pid = String::new();
    while !pid.ends_with('\n') {
        pid.push(char::from(soon(stderr.read_u8()).await.unwrap()));
    }
    let process = format!("/proc/{}", pid.trim());
    // Stdin stays open: only the end of stdout tells of it.
    drop(child.stdout.take());
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(3));
    wait::until("the agent's end", || (!std::path::Path::new(&process).exists()).then_some(()))
        .await;
}

#[tokio::test]
async fn it_is_the_agent_by_its_name_and_by_a_subcommand() {
    let fixture = Fixture::new("cat").await;
    let mut command = bare(PathBuf::from(env!("CARGO_BIN_EXE_claude-relay")));
    command.args(["agent", "--", "--verbose"]).env("CLAUDE_RELAY_URL", &fixture.relay.url);
    let output = run(command, "{}\n").await;
    assert_eq!(text(&output.stdout), "{}\n", "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_failure_waits_for_the_first_line_of_the_program() {
    let fixture = Fixture::new("echo gone >&2; exit 1").await;
    for (arguments, code) in [
        (&["--settings", "/not/there"][..], 1),
        (&["--teleport"], 1),
        (&["--relay-urll", "x"], 2),
        (&[], 1),
    ] {
        let mut command = fixture.command();
        let mut child = command.args(arguments).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut said = vec![0; 1000];
        let _ = soon(child.stderr.as_mut().unwrap().read(&mut said)).await.unwrap();
        // It has told its reason, and would be gone by now.
        stdin.write_all(b"{}\n").await.expect("it reads");
        assert_eq!(soon(child.wait()).await.unwrap().code(), Some(code), "{arguments:?}");
    }
}

#[tokio::test]
async fn what_is_too_much_for_a_start_is_refused_at_once() {
    let fixture = Fixture::new("cat").await;
    let settings = fixture.folder.path().join("settings.json");
    std::fs::write(&settings, format!("{{\"a\":\"{}\"}}", "x".repeat(4 << 20))).unwrap();
    let mut command = fixture.command();
    command.arg("--settings").arg(settings);
    let output = run(command, "{}\n").await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("over the limit of 4194304") && said.lines().count() == 1, "{said}");
}

/// Time after which a relay that does not come back is given up, and more.
const GIVEN_UP: std::time::Duration = std::time::Duration::from_secs(100);

/// The reason for which it gives up.
async fn given_up(child: Child) -> String {
    let begun = std::time::Instant::now();
    let output = tokio::time::timeout(GIVEN_UP, child.wait_with_output()).await.unwrap().unwrap();
    let (said, taken) = (text(&output.stderr), begun.elapsed().as_secs());
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(taken >= 55 && said.contains("within 60s"), "{taken} s: {said}");
    said
}

#[tokio::test]
async fn a_relay_that_does_not_come_back_is_given_up_after_a_minute() {
    let fixture = Fixture::new("echo '{}'; cat").await;
    let port = fixture.relay.port.to_string();
    let proxy = async |arguments: &[&str]| {
        let arguments = [&[port.as_str()], arguments].concat();
        let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        Helper::start("cutting_proxy.mjs", &arguments).await
    };
    let start = |address: &str| {
        let mut command = bare(fixture.program());
        command.args(["--relay-url", address]).spawn().unwrap()
    };
    // One breaks each connection behind the first message, the other is gone for good.
    let (breaking, leaving) = (proxy(&["1", "0", "down", "0"]).await, proxy(&["0"]).await);
    let (broken, mut lost) = (start(&breaking.address), start(&leaving.address));
    assert_eq!(read_line(&mut lost).await, "{}\n");
    drop(leaving);
    let (broken, lost) = tokio::join!(given_up(broken), given_up(lost));
    assert!(broken.contains("broke each time before anything came through"), "{broken}");
    assert!(lost.contains("was lost and could not be restored"), "{lost}");
}

#[tokio::test]
async fn a_long_line_comes_through_connections_that_break_after_a_few_frames() {
    let fixture = Fixture::new("exec cat").await;
    let line = format!("{{\"long\":\"{}\"}}\n", "x".repeat(3 << 20));
    for frames in ["2", "7"] {
        let arguments = [fixture.relay.port.to_string(), frames.to_owned()];
        let proxy = Helper::start("cutting_proxy.mjs", &arguments).await;
        let mut command = bare(fixture.program());
        command.args(["--relay-url", &proxy.address]);
        let output = run(command, &line).await;
        assert!(text(&output.stdout) == line, "{frames}: {}", text(&output.stderr));
    }
}
