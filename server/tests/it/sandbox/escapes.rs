//! Attempts to get out, each by its name.

use super::*;

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
    let (home, outside) = (cell.env.home(), cell.env.file("outside"));
    let workspace = cell.env.workspace();
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
    let workspace = cell.env.workspace();
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
    let settings = cell.env.file("claude/settings.json");
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
    let config = cell.env.file("claude");
    assert_eq!(std::fs::read_to_string(&settings).expect("still there"), "{}");
    for planted in ["agents", "commands", ".claude.json", "CLAUDE.md", "old"] {
        assert!(!config.join(planted).exists(), "{planted}");
    }
    assert!(!cell.env.home().join(".bashrc").exists());
    let session = config.join("projects/p/session.jsonl");
    assert_eq!(std::fs::read_to_string(session).expect("a session outlives its run"), "kept\n");
    cell.relay.stop();
}

#[tokio::test]
async fn writing_into_the_workspace_in_mode_safe() {
    let cell = Cell::launched(|launch| launch.mode("safe"));
    let workspace = cell.env.workspace();
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
    let own = json!({ "env": env, "anthropicApiKey": "of-the-client" });
    assert_eq!(cell.configure(&own).await.status, 200);
    let said = cell.run("cat $CLAUDE_CONFIG_DIR/* ~/*; echo \"[$TMPDIR]\"").await;
    assert!(!said.contains("the secret") && said.contains("[/tmp]"), "{said}");
    cell.relay.stop();
}

/// A client chooses the provider: whichever it is, its program stays inside.
#[tokio::test]
async fn another_provider_inside() {
    let env = TestEnv::new();
    let codex = env.file("codex");
    write_script(&codex, &format!("touch {}; exit 3", env.file("ran").display()));
    let relay = Launch::new(&env)
        .argument("--codex-path")
        .argument(&codex)
        .argument("--sandbox=bwrap")
        .argument("--no-auth")
        .start();
    let config = json!({ "provider": "codex" }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &config).await.status, 200);
    let mut client = Client::connect(relay.address()).await;
    client.until(|frame| frame["type"] == "error").await;
    assert!(!env.file("ran").exists());
    client.close().await;
    relay.stop();
}

/// The agent may have written the executable, and the server asks it for its
/// version before each start.
#[tokio::test]
async fn version_is_asked_inside() {
    let cell = Cell::start();
    let outside = cell.env.file("outside");
    let script = format!(
        "#!/bin/bash\necho x > {}\n\
         [ \"$1\" = --version ] && {{ echo '2.1.329 (Claude Code)'; exit; }}\n\
         echo '{{\"type\":\"said\"}}'\nexec cat 3>&1 > /dev/null\n",
        outside.display()
    );
    std::fs::write(&cell.script, script).expect("a script");
    let mut client = Client::open(cell.relay.address(), &format!("/ws?token={TOKEN}")).await;
    client.until(|frame| frame["data"]["type"] == "said").await;
    assert!(!outside.exists());
    cell.relay.stop();
}
