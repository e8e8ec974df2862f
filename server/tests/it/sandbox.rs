//! Attempts to get out of the OS sandbox, each by its name, and what must
//! still work in it.
//!
//! Most agents here are a few lines of shell, so that an attempt is exactly
//! the one that is named. The real CLI follows in `sandbox_cli`.

use crate::support::place::Place;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::{Client, Seen};
use crate::support::{http, wait};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const TOKEN: &str = "token-of-the-server";

/// A server with `--sandbox bwrap` and an agent that does as a test says.
struct Cell {
    place: Place,
    relay: Relay,
    script: PathBuf,
}

impl Cell {
    fn start() -> Self {
        Self::launched(|launch| launch)
    }

    fn launched(adjust: impl FnOnce(Launch) -> Launch) -> Self {
        let place = Place::new();
        let script = place.file("agent-of-shell");
        write_script(&script, "exec cat > /dev/null");
        let launch = Launch::new(&place)
            .argument("--claude-path")
            .argument(&script)
            .argument("--sandbox=bwrap")
            .argument(format!("--auth-token={TOKEN}"));
        let relay = adjust(launch).start();
        Self { place, relay, script }
    }

    /// Lets the agent be `body`, and connects.
    async fn agent(&self, body: &str) -> Client {
        write_script(&self.script, body);
        let mut client = Client::open(self.relay.address(), &format!("/ws?token={TOKEN}")).await;
        assert_eq!(client.frame().await["type"], "connected");
        client
    }

    /// What the shell says to `commands` inside: stdout and stderr together.
    async fn run(&self, commands: &str) -> String {
        let mut client = self
            .agent(&format!(
                "say() {{ od -An -tx1 -v | tr -d ' \\n'; }}\n\
                 said=$( {{ {commands}\n}} 2>&1 | say )\n\
                 printf '{{\"type\":\"said\",\"said\":\"%s\"}}\\n' \"$said\"\n\
                 exec cat > /dev/null"
            ))
            .await;
        let frames = client.until(|frame| frame["data"]["type"] == "said").await;
        let said = frames.last().and_then(|frame| frame["data"]["said"].as_str());
        let said = unhex(said.expect("hexadecimal digits"));
        client.close().await;
        said
    }

    async fn configure(&self, config: &Value) -> http::Response {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Content-Type", "application/json"), ("Authorization", &*bearer)];
        http::request(self.relay.address(), "POST", "/config", &headers, &config.to_string()).await
    }

    fn secret(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.place.file(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, "the secret").expect("a file of the test");
        path
    }
}

fn write_script(path: &Path, body: &str) {
    std::fs::write(path, format!("#!/bin/bash\n{body}\n")).expect("a script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn unhex(digits: &str) -> String {
    let bytes: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("two digits"))
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn reading_the_users_keys() {
    let cell = Cell::start();
    let key = cell.secret("home/.ssh/id_ed25519");
    let said = cell
        .run(&format!(
            "cat {}; cat ~/.ssh/*; ls -A ~; grep -r 'the sec''ret' ~ /tmp",
            key.display()
        ))
        .await;
    assert!(!said.contains("the secret"), "{said}");
    assert!(said.contains("No such file"), "{said}");
    cell.relay.stop();
}

#[tokio::test]
async fn writing_outside_the_workspace() {
    let cell = Cell::start();
    let (home, outside) = (cell.place.home(), cell.place.file("outside"));
    let workspace = cell.place.workspace();
    let said = cell
        .run(&format!(
            "for file in {outside} /usr/planted /etc/planted /opt/planted /planted; do \
               (echo x > $file) || echo refused; done\n\
             echo private > ~/planted && echo private > /tmp/planted-{pid} && cat ~/planted\n\
             echo mine > {workspace}/mine && echo well",
            outside = outside.display(),
            workspace = workspace.display(),
            pid = std::process::id(),
        ))
        .await;
    // The place's own directory is a private one inside.
    assert_eq!(said.matches("refused").count(), 4, "{said}");
    assert!(said.contains("private") && said.contains("well"), "{said}");
    for file in [outside, home.join("planted"), "/usr/planted".into(), "/etc/planted".into()] {
        assert!(!file.exists(), "{file:?}");
    }
    assert!(!Path::new(&format!("/tmp/planted-{}", std::process::id())).exists());
    let mine = std::fs::read_to_string(workspace.join("mine")).expect("what the agent wrote");
    assert_eq!(mine, "mine\n");
    cell.relay.stop();
}

#[tokio::test]
async fn a_link_out_of_the_workspace() {
    let cell = Cell::start();
    let secret = cell.secret("secret");
    let workspace = cell.place.workspace();
    symlink(&secret, workspace.join("ours")).expect("a link");
    let said = cell
        .run(&format!(
            "cd {workspace}; ln -s {secret} theirs; cat ours theirs ../secret; \
             (echo changed > ours); (echo changed > theirs); ln {secret} hard; cat hard",
            workspace = workspace.display(),
            secret = secret.display(),
        ))
        .await;
    assert!(!said.contains("the secret"), "{said}");
    assert_eq!(std::fs::read_to_string(&secret).expect("still there"), "the secret");
    cell.relay.stop();
}

#[tokio::test]
async fn proc_of_another_process() {
    let cell = Cell::start();
    let server = cell.relay.pid();
    let said = cell
        .run(&format!(
            "cat /proc/{server}/environ; kill -9 {server}; \
             cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo; \
             ls -d /proc/[0-9]* | wc -l; ls -l /proc/[0-9]*/root /proc/1/cwd/.."
        ))
        .await;
    assert!(!said.contains(TOKEN), "the server's command line: {said}");
    assert!(!said.contains("claude-relay-server"), "{said}");
    assert!(said.contains("No such process"), "{said}");
    let processes = said.lines().find_map(|line| line.parse::<u32>().ok());
    assert!(processes.is_some_and(|count| count < 10), "{said}");
    cell.relay.stop();
}

#[tokio::test]
async fn a_background_process_that_outlives_the_stop() {
    let cell = Cell::start();
    let said = cell.run("(setsid nohup sleep 86403 > /dev/null 2>&1 &); echo started").await;
    assert_eq!(said, "started\n");
    wait::until("the process", || {
        cell.relay.offspring().into_iter().find(|process| process.command == "sleep 86403")
    })
    .await;
    // It demands that nothing is left.
    cell.relay.stop();
}

#[tokio::test]
async fn the_servers_own_port_and_token() {
    let cell = Cell::start();
    let port = cell.relay.address().port();
    let ask = |path: &str| {
        format!(
            "exec 3<>/dev/tcp/127.0.0.1/{port}; \
             printf 'GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nConnection: close\\r\\n\\r\\n' >&3; \
             head -1 <&3; exec 3>&-"
        )
    };
    let said = cell
        .run(&format!(
            "env; tr '\\0' '\\n' < /proc/1/environ; cat /proc/*/cmdline | tr '\\0' ' '; \
             grep -r 'token-of''-the-server' /tmp ~ . 2>/dev/null; echo; {}; {}",
            ask("/config"),
            ask("/ws"),
        ))
        .await;
    assert!(!said.contains(TOKEN), "{said}");
    assert_eq!(said.matches("HTTP/1.1 401").count(), 2, "{said}");
    cell.relay.stop();
}

/// A hook or an MCP server in the user's settings would run outside, the next
/// time the user starts the CLI by hand.
#[tokio::test]
async fn settings_planted_for_a_later_run() {
    let cell = Cell::start();
    let settings = cell.place.file("claude/settings.json");
    std::fs::write(&settings, "{}").expect("a file of the test");
    let said = cell
        .run(
            "cd $CLAUDE_CONFIG_DIR; cat settings.json; \
             (echo '{\"hooks\":1}' > settings.json) || echo refused; \
             rm -f settings.json; mv settings.json old; \
             mkdir -p agents commands; echo x > agents/planted; echo x > .claude.json; echo x > CLAUDE.md; \
             mkdir -p projects/p && echo kept > projects/p/session.jsonl; echo x > ~/.bashrc",
        )
        .await;
    assert!(said.contains("{}") && said.contains("refused"), "{said}");
    let config = cell.place.file("claude");
    assert_eq!(std::fs::read_to_string(&settings).expect("still there"), "{}");
    for planted in ["agents", "commands", ".claude.json", "CLAUDE.md", "old"] {
        assert!(!config.join(planted).exists(), "{planted}");
    }
    assert!(!cell.place.home().join(".bashrc").exists());
    let session = config.join("projects/p/session.jsonl");
    assert_eq!(std::fs::read_to_string(session).expect("a session outlives its run"), "kept\n");
    cell.relay.stop();
}

#[tokio::test]
async fn writing_into_the_workspace_in_mode_safe() {
    let cell = Cell::launched(|launch| launch.mode("safe"));
    let workspace = cell.place.workspace();
    std::fs::write(workspace.join("there"), "readable").expect("a file of the test");
    let said = cell
        .run(&format!(
            "cd {}; cat there; touch new || echo refused; rm -f there",
            workspace.display()
        ))
        .await;
    assert!(said.contains("readable") && said.contains("refused"), "{said}");
    assert!(!workspace.join("new").exists() && workspace.join("there").exists());
    cell.relay.stop();
}

/// A library or a `PATH` that a client names would act on the wrapper, which
/// runs outside.
#[tokio::test]
async fn variables_for_the_wrapper() {
    let cell = Cell::start();
    for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "PATH"] {
        let refused = cell.configure(&json!({ "env": { name: "/tmp/evil" } })).await;
        assert_eq!(refused.status, 400, "{refused:?}");
    }
    // A home or state that a client names is not shown either.
    let secret = cell.secret("elsewhere/settings.json");
    let elsewhere = secret.parent().expect("a parent");
    let env = json!({ "HOME": elsewhere, "CLAUDE_CONFIG_DIR": elsewhere });
    assert_eq!(cell.configure(&json!({ "env": env })).await.status, 200);
    let said = cell.run("cat $CLAUDE_CONFIG_DIR/* ~/*; echo \"[$TMPDIR]\"").await;
    assert!(!said.contains("the secret") && said.contains("[/tmp]"), "{said}");
    cell.relay.stop();
}

#[tokio::test]
async fn the_mcp_file_can_be_read_and_goes_away() {
    let cell = Cell::start();
    let config = json!({ "mcpServers": { "teapot": { "type": "http", "url": "http://h/" } } });
    assert_eq!(cell.configure(&config).await.status, 200);
    let said = cell
        .run("args=(\"$0\" $(tr '\\0' '\\n' < /proc/$$/cmdline)); for a in \"${args[@]}\"; do case $a in *claude-relay-mcp-*) echo \"$a\"; cat \"$a\";; esac; done")
        .await;
    assert!(said.contains("teapot"), "{said}");
    let file = PathBuf::from(said.lines().next().expect("the path"));
    cell.relay.stop();
    assert!(!file.exists(), "{file:?}");
}

/// The end of stdin reaches the agent through the wrapper, and it has the time
/// to write down what it must.
#[tokio::test]
async fn the_end_of_stdin_comes_first() {
    let cell = Cell::start();
    let flushed = cell.place.workspace().join("flushed");
    let body = format!(
        "echo '{{\"type\":\"up\"}}'\ncat > /dev/null\nsleep 0.3\necho well > {}",
        flushed.display()
    );
    let mut client = cell.agent(&body).await;
    client.until(|frame| frame["data"]["type"] == "up").await;
    cell.relay.stop();
    assert_eq!(std::fs::read_to_string(flushed).expect("what was flushed"), "well\n");
}

/// An agent that ignores the end of stdin and SIGTERM: the signal ends the
/// wrapper, and that ends everything inside.
#[tokio::test]
async fn sigterm_to_the_wrapper_ends_everything_inside() {
    let cell = Cell::launched(|launch| launch.argument("--stop-grace=300ms"));
    let body = "trap '' TERM HUP INT\necho '{\"type\":\"up\"}'\n(setsid sleep 86404 &)\nwhile :; do sleep 1; done";
    let mut client = cell.agent(body).await;
    client.until(|frame| frame["data"]["type"] == "up").await;
    cell.relay.stop();
}

#[tokio::test]
async fn the_exit_code_comes_through() {
    let cell = Cell::start();
    let mut client = cell.agent("echo last words >&2; exit 7").await;
    let frames = client.until(|frame| frame["type"] == "exit").await;
    let exit = frames.last().expect("the exit");
    assert_eq!(exit["code"], 7, "{exit}");
    assert!(exit["stderr"].as_str().is_some_and(|said| said.contains("last words")), "{exit}");
    cell.relay.stop();
}

#[tokio::test]
async fn the_demo_agent_runs_inside() {
    let place = Place::new();
    let relay = Launch::demo(&place).argument("--sandbox=os").argument("--no-auth").start();
    let mut client = Client::connect(relay.address()).await;
    client.say(r#"{"echo":true}"#).await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["is_error"], false, "{turn:#?}");
    client.close().await;
    relay.stop();
}

/// A client could otherwise choose the way out by its configuration.
#[tokio::test]
async fn another_provider_outside() {
    for flags in [["--sandbox=bwrap", "--no-auth"], ["--key-proxy", "--no-auth"]] {
        let place = Place::new();
        let codex = place.file("codex");
        write_script(
            &codex,
            &format!("touch {}; exec cat > /dev/null", place.file("ran").display()),
        );
        let mut launch = Launch::new(&place).argument("--codex-path").argument(&codex);
        for flag in flags {
            launch = launch.argument(flag);
        }
        let relay = launch.start();
        let config = json!({ "provider": "codex" }).to_string();
        assert_eq!(http::post(relay.address(), "/config", &config).await.status, 200);
        let mut client = Client::connect(relay.address()).await;
        let error = client.until(|frame| frame["type"] == "error").await.pop().expect("it");
        let words = error["error"].as_str().unwrap_or_default();
        assert!(words.contains("Codex would run outside"), "{words}");
        assert!(!place.file("ran").exists());
        client.close().await;
        relay.stop();
    }
}

/// Starts the server with `arguments` where it must refuse: its exit code and
/// what it says. `path` is its `PATH`.
#[expect(clippy::disallowed_methods, reason = "the server is the child here")]
fn refused(place: &Place, arguments: &[&str], path: &Path) -> (Option<i32>, String) {
    let mut environment = place.environment();
    environment.insert("PATH".to_owned(), path.display().to_string());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_claude-relay-server"))
        .args(["--port=0", "--workspace"])
        .arg(place.workspace())
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir(place.home())
        .output()
        .expect("the server starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_had_ends_the_start_with_the_mend() {
    let place = Place::new();
    let nowhere = place.file("nowhere");
    let token = format!("--auth-token={TOKEN}");
    for choice in ["os", "bwrap"] {
        let arguments = [&*format!("--sandbox={choice}"), &token];
        let (code, said) = refused(&place, &arguments, &nowhere);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("--sandbox {choice}")), "{said}");
        assert!(said.contains("apt-get install bubblewrap"), "{said}");
    }
    // As on an Ubuntu whose AppArmor forbids it.
    let bin = place.file("bin");
    std::fs::create_dir(&bin).expect("a directory");
    write_script(
        &bin.join("bwrap"),
        "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1",
    );
    let (code, said) = refused(&place, &["--sandbox=os", &token], &bin);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it said: bwrap: setting up uid map: Permission denied"), "{said}");

    let (code, said) = refused(&place, &["--sandbox=seatbelt", &token], Path::new("/usr/bin"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("macOS") && said.contains("Linux only"), "{said}");
}

#[tokio::test]
async fn what_would_only_seem_safe_ends_the_start() {
    let place = Place::new();
    let path = Path::new("/usr/bin:/bin");
    let (code, said) = refused(&place, &["--sandbox=bwrap"], path);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--auth-token") && said.contains("--no-auth"), "{said}");
    let (code, said) = refused(&place, &["--allow-net=example.com"], path);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--allow-net"), "{said}");
    let (code, said) = refused(&place, &["--sandbox=jail"], path);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("expected none, auto, os, bwrap or seatbelt"), "{said}");
}

#[tokio::test]
async fn auto_falls_back_and_says_so() {
    let place = Place::new();
    let relay = Launch::demo(&place).argument("--sandbox=auto").without_variable("PATH").start();
    wait::until("the warning", || relay.stderr().contains("THERE IS NO SANDBOX").then_some(()))
        .await;
    relay.stop();
}

/// The health of a server tells what is around its agent.
#[tokio::test]
async fn health_and_capabilities_name_the_sandbox() {
    let cell = Cell::start();
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", &*bearer)];
    let health = http::request(cell.relay.address(), "GET", "/health", &headers, "").await.json();
    assert_eq!(health["sandbox"]["active"], "bwrap", "{health}");
    let mut client = cell.agent("exec cat > /dev/null").await;
    client.send(&json!({ "type": "capabilities" })).await;
    let capabilities: Value = loop {
        match client.see().await {
            Seen::Frame(text) if text.contains("\"capabilities\"") => {
                break serde_json::from_str(&text).expect("JSON");
            }
            Seen::Frame(_) => {}
            Seen::Closed(code) => panic!("closed ({code:?})"),
        }
    };
    assert_eq!(capabilities["sandbox"]["active"], "bwrap", "{capabilities}");
    assert_eq!(capabilities["sandbox"]["available"], json!(["none", "bwrap"]), "{capabilities}");
    client.close().await;
    cell.relay.stop();
}
