use super::*;
use std::fs;

const SECRETS: &str = "ANTHROPIC_API_KEY=sk-1\nRELAY_AUTH_TOKEN='token-of-it'\n";

fn directory(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(NAME), text).unwrap();
    directory
}

fn names(text: &str, real: &[&str]) -> Vec<String> {
    let directory = directory(text);
    let found = load(directory.path(), None, |name| real.contains(&name)).unwrap();
    found.variables.into_keys().collect()
}

#[test]
fn secrets_are_taken_and_named_without_their_values() {
    let directory = directory(SECRETS);
    let found = load(directory.path(), None, |_| false).unwrap();
    assert_eq!(found.variables["ANTHROPIC_API_KEY"], "sk-1");
    let said = format!("{found} {found:?}");
    assert!(said.contains("ANTHROPIC_API_KEY, RELAY_AUTH_TOKEN taken from"), "{said}");
    assert!(!said.contains("sk-1") && !said.contains("token-of-it"), "{said}");
    assert!(
        load(tempfile::tempdir().unwrap().path(), None, |_| false).unwrap().path == Path::new("")
    );
}

#[test]
fn programs_rights_and_unknown_variables_are_left_out() {
    for name in [
        "CLAUDE_PATH",
        "CODEX_PATH",
        "PATH",
        "LD_PRELOAD",
        "NODE_OPTIONS",
        "HTTPS_PROXY",
        "HOME",
        "RELAY_MODE",
        "RELAY_ALLOW_ORIGIN",
        "RELAY_ALLOW_HOST",
        "RELAY_NO_AUTH",
        "RELAY_SANDBOX",
        "RELAY_TRUST_WORKSPACE",
        "RELAY_WORKSPACE",
        "RELAY_CODEX_URL",
        "HOST",
        "GIT_SSH_COMMAND",
        "ANTHROPIC_BEDROCK_BASE_URL",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CONFIG_DIR",
    ] {
        let directory = directory(&format!("{name}=x\nANTHROPIC_API_KEY=k\n"));
        let found = load(directory.path(), None, |_| false).unwrap();
        assert_eq!(found.left_out, [name]);
        assert!(found.to_string().contains(&format!("; {name} not")), "{found}");
    }
}

#[test]
fn an_address_comes_with_its_credential_alone() {
    let own = "ANTHROPIC_BASE_URL=http://h\nANTHROPIC_API_KEY=k\n";
    assert_eq!(names(own, &[]), ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"]);
    for other in ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS"] {
        assert!(!names(own, &[other]).contains(&"ANTHROPIC_BASE_URL".to_owned()), "{other}");
    }
    assert_eq!(
        names("E2B_API_URL=http://h\nE2B_DEBUG=true\nANTHROPIC_API_KEY=k", &[]),
        ["ANTHROPIC_API_KEY"]
    );
    assert_eq!(names("E2B_DOMAIN=h\nE2B_API_KEY=k", &[]), ["E2B_API_KEY", "E2B_DOMAIN"]);
    assert!(names("E2B_DOMAIN=h\nE2B_API_KEY=k", &["E2B_API_KEY"]).is_empty());
    assert!(names("OPENAI_BASE_URL=http://h\nANTHROPIC_API_KEY=", &["OPENAI_API_KEY"]).len() == 1);
}

#[test]
fn a_file_that_others_may_have_written_is_refused() {
    let refused = |directory: &Path, workspace: Option<&Path>| {
        load(directory, workspace, |_| false).unwrap_err().to_string()
    };
    let inside = directory(SECRETS);
    let said = refused(inside.path(), Some(inside.path()));
    assert!(said.contains("lies in the workspace") && said.contains("ANTHROPIC_API_KEY"), "{said}");
    assert!(!said.contains("sk-1"), "{said}");
    let below = inside.path().join("below");
    fs::create_dir(&below).unwrap();
    std::os::unix::fs::symlink(inside.path().join(NAME), below.join(NAME)).unwrap();
    assert!(refused(&below, Some(inside.path())).contains("lies in the workspace"));

    let file = inside.path().join(NAME);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(refused(inside.path(), None).contains("can be written by other users"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        assert!(refused(inside.path(), None).contains("belongs to another user"));
    }
    // A file of another program is no reason not to start.
    let foreign = directory("DATABASE_URL=x\n");
    let found = load(foreign.path(), Some(foreign.path()), |_| false).unwrap();
    assert!(found.variables.is_empty() && found.left_out == ["DATABASE_URL"]);
}

#[test]
fn a_dollar_sign_is_one() {
    let lines =
        "ANTHROPIC_API_KEY=a$HOME${HOME}b$\nE2B_API_KEY=\"c$d\\$e\"\nOPENAI_API_KEY='f\\$g$h'\n";
    let directory = directory(lines);
    let found = load(directory.path(), None, |_| false).unwrap().variables;
    assert_eq!(found["ANTHROPIC_API_KEY"], "a$HOME${HOME}b$");
    assert_eq!(found["E2B_API_KEY"], "c$d$e");
    assert_eq!(found["OPENAI_API_KEY"], "f\\$g$h");
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_name() {
    assert_eq!(
        names("\u{feff}ANTHROPIC_API_KEY=k\r\nPORT=1\r\n", &[]),
        ["ANTHROPIC_API_KEY", "PORT"]
    );
}

#[test]
fn errors_hold_no_value() {
    let error = load(directory("PORT=1\nKEY='sk-secret\n").path(), None, |_| false).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("entry 2") && !error.contains("sk-secret"), "{error}");
}
