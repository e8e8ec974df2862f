use super::*;
use crate::process::{Channel, Diagnostics};

fn spec(program: &Path) -> SpawnSpec {
    SpawnSpec {
        program: program.into(),
        args: vec!["--flag=value".into()],
        env: [("PATH", "/usr/bin:/bin"), ("TMPDIR", "/far")]
            .map(|(name, value)| (name.into(), value.into()))
            .into(),
        cwd: "/".into(),
        scratch: Vec::new(),
        diagnostics: Diagnostics::Limited,
        reserved_paths: Vec::new(),
        channel: Channel::Pipes,
        supervisor: Supervisor::default(),
    }
}

fn set(home: &Path) -> Vec<(OsString, OsString)> {
    vec![("HOME".into(), home.into())]
}

fn context<'a>(workspace: &'a Path, environment: &'a [(OsString, OsString)]) -> SandboxContext<'a> {
    let state = &state::CLAUDE;
    SandboxContext { workspace, writable: true, environment, state, uses_login: true, guarded: &[] }
}

#[test]
fn a_program_in_the_home_is_mounted_with_the_files_beside_it() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let (home, workspace) = (root.join("home"), root.join("workspace"));
    let bin = home.join(".local/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(&workspace).unwrap();
    for program in [bin.join("claude"), home.join("claude")] {
        fs::copy("/bin/true", program).unwrap();
    }
    let environment = set(&home);
    let context = context(&workspace, &environment);
    let neighbours = mount_plan(&spec(&bin.join("claude")), &context).unwrap();
    assert_eq!(neighbours.program, bin.join("claude"));
    assert!(neighbours.readable.contains(&bin), "{neighbours:?}");
    let alone = mount_plan(&spec(&home.join("claude")), &context).unwrap();
    assert!(alone.readable.contains(&home.join("claude")), "{alone:?}");
    assert!(!alone.readable.contains(&home), "{alone:?}");
    assert_eq!(alone.state, Some(home.join(".claude")));
    assert!(home.join(".claude/projects").is_dir());

    let system = mount_plan(&spec(Path::new("true")), &context).unwrap();
    assert!(system.readable.iter().all(|path| !path.starts_with("/usr")), "{system:?}");
    let missing = mount_plan(&spec(Path::new("no-such-program")), &context);
    assert!(matches!(missing, Err(WrapError::Program(_))), "{missing:?}");
}

#[test]
fn a_workspace_that_holds_the_home_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let environment = set(home.path());
    for workspace in [home.path(), Path::new("/")] {
        let context = context(workspace, &environment);
        let refused = mount_plan(&spec(Path::new("true")), &context).unwrap_err();
        assert!(refused.to_string().contains("--workspace"), "{refused}");
    }
}

#[test]
fn temporary_files_go_to_tmp() {
    let env = environment(spec(Path::new("x")).env);
    let names: Vec<_> = env.iter().map(|(name, value)| (name.to_str(), value.to_str())).collect();
    assert_eq!(names, [(Some("PATH"), Some("/usr/bin:/bin")), (Some("TMPDIR"), Some("/tmp"))]);
}
