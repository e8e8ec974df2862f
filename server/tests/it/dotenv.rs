//! The `.env` of the working directory: what it may set, and when it is not
//! read at all.

use crate::support::relay::{self, Launch};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;

#[tokio::test]
async fn a_file_that_the_agent_can_write_ends_the_start() {
    let env = TestEnv::new();
    let planted = env.workspace().join(".env");
    std::fs::write(&planted, "ANTHROPIC_API_KEY=sk-secret\n").expect("a file");
    std::os::unix::fs::symlink(&planted, env.home().join(".env")).expect("a link");
    let (code, said) = relay::refused(&env, &["--demo"], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("lies in the workspace") && said.contains("ANTHROPIC_API_KEY"), "{said}");
    assert!(!said.contains("sk-secret"), "{said}");
}

#[tokio::test]
async fn a_mistyped_variable_is_warned_of() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).variable("RELAY_MDOE", "secret-value").start();
    let ready = || relay.stderr().contains("ready").then(|| relay.stderr());
    let said = wait::until("the log says ready", ready).await;
    assert!(said.contains("RELAY_MDOE is no setting") && said.contains("RELAY_MODE?"), "{said}");
    assert!(!said.contains("secret-value"), "{said}");
    relay.stop();
}

#[tokio::test]
async fn programs_rights_and_addresses_are_not_taken() {
    let env = TestEnv::new();
    let file = "CLAUDE_PATH=/tmp/evil\nRELAY_MODE=unrestricted\nRELAY_ALLOW_ORIGIN=http://evil\n\
         ANTHROPIC_BASE_URL=http://evil\nRELAY_AUTH_TOKEN=token-of-the-file\n";
    std::fs::write(env.home().join(".env"), file).expect("a file");
    let relay = Launch::demo(&env).variable("ANTHROPIC_API_KEY", "of-the-operator").start();
    let ready = || relay.stderr().contains("ready").then(|| relay.stderr());
    let said = wait::until("the log says ready", ready).await;
    assert!(said.contains("RELAY_AUTH_TOKEN taken from"), "{said}");
    for name in ["CLAUDE_PATH", "RELAY_MODE", "RELAY_ALLOW_ORIGIN", "ANTHROPIC_BASE_URL"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(said.contains("mode=ask") && !said.contains("token-of-the-file"), "{said}");
    relay.stop();
}
