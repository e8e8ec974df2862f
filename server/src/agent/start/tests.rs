use super::*;

#[test]
fn a_shortage_of_the_system_may_heal_and_a_text_about_one_does_not() {
    let io = |code: i32| io::Error::from_raw_os_error(code);
    let file = |source| {
        let dir = "/tmp".into();
        StartError::Launch(LaunchError::McpConfig { dir, source })
    };
    let sandbox = |source| StartError::Sandbox(WrapError::Path { path: "/w".into(), source });
    let told = |text: &str| StartError::Program {
        program: "claude".into(),
        source: StartFailure::parse(text),
    };
    for shortage in SHORTAGES.map(Errno::raw_os_error) {
        let in_a_path = io::Error::other(io(shortage));
        for error in [file(io(shortage)), sandbox(io(shortage)), file(in_a_path)] {
            assert!(error.may_heal(), "{error}");
        }
        assert!(told(&format!("{shortage} {}", io(shortage))).may_heal());
    }
    assert!(file(io::Error::new(ErrorKind::StorageFull, "at a path")).may_heal());
    for error in [
        file(io(Errno::ACCESS.raw_os_error())),
        sandbox(io::Error::other("No space left on device")),
        told("13 Permission denied (os error 13)"),
        told("0 Too many open files"),
        told("Cannot allocate memory"),
        StartError::Missing { program: "/opt/No space left on device/claude".into() },
    ] {
        assert!(!error.may_heal(), "{error}");
    }
}
