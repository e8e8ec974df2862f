//! Starts that fail or warn: a sandbox that cannot be had, or that
//! would only seem to be one.

use super::*;

/// Starts the server with `arguments` where it must refuse: its exit code and
/// what it says. `path` is its `PATH`.
#[expect(clippy::disallowed_methods, reason = "the server is the child here")]
fn refused(env: &TestEnv, arguments: &[&str], path: &Path) -> (Option<i32>, String) {
    let mut environment = env.environment();
    environment.insert("PATH".to_owned(), path.display().to_string());
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_claude-relay-server"))
        .args(["--port=0", "--workspace"])
        .arg(env.workspace())
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir(env.home())
        .output()
        .expect("the server starts");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_had_ends_the_start_with_the_mend() {
    let env = TestEnv::new();
    let nowhere = env.file("nowhere");
    let token = format!("--auth-token={TOKEN}");
    for choice in ["os", "bwrap"] {
        let arguments = [&*format!("--sandbox={choice}"), &token];
        let (code, said) = refused(&env, &arguments, &nowhere);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("--sandbox {choice}")), "{said}");
        assert!(said.contains("apt-get install bubblewrap"), "{said}");
    }
    // As on an Ubuntu whose AppArmor forbids it.
    let bin = env.file("bin");
    std::fs::create_dir(&bin).expect("a directory");
    write_script(
        &bin.join("bwrap"),
        "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1",
    );
    let (code, said) = refused(&env, &["--sandbox=os", &token], &bin);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("its message: bwrap: setting up uid map: Permission denied"), "{said}");

    let (code, said) = refused(&env, &["--sandbox=seatbelt", &token], Path::new("/usr/bin"));
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("Linux alone") && said.contains("expected none, auto, os or bwrap"),
        "{said}"
    );
}

#[tokio::test]
async fn start_is_refused_if_the_sandbox_would_not_protect() {
    let env = TestEnv::new();
    let path = Path::new("/usr/bin:/bin");
    let (code, said) = refused(&env, &["--sandbox=bwrap"], path);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--auth-token") && said.contains("--no-auth"), "{said}");
    let (code, said) = refused(&env, &["--allow-net=example.com"], path);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--allow-net"), "{said}");
    let (code, said) = refused(&env, &["--sandbox=jail"], path);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("expected none, auto, os or bwrap"), "{said}");
}

#[tokio::test]
async fn auto_falls_back_and_says_so() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--sandbox=auto").without_variable("PATH").start();
    wait::until("the warning", || relay.stderr().contains("THERE IS NO SANDBOX").then_some(()))
        .await;
    relay.stop();
}
