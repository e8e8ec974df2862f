//! `cp` and `conversations`: the server's workspace from the command line.

use claude_relay_testing::relay_process::RelayProcess;

use crate::support::program::{command, run};

#[tokio::test]
async fn files_and_directories_are_copied_both_ways() {
    let relay = RelayProcess::demo(&[]).await;
    let local = tempfile::tempdir().unwrap();
    let path = |name: &str| local.path().join(name).to_str().unwrap().to_owned();
    std::fs::create_dir_all(path("tree/below")).unwrap();
    std::fs::write(path("tree/below/a.txt"), "one\n").unwrap();
    std::fs::write(path("tree/b.bin"), [0, 255, 10]).unwrap();
    for (from, to) in [
        (path("tree"), ":copied".to_owned()),
        (path("tree/b.bin"), ":copied/again/".to_owned()),
        (":copied".to_owned(), path("back")),
        (":copied/b.bin".to_owned(), path("c.bin")),
    ] {
        let (code, stdout, stderr) = run(command(&relay.url).args(["cp", &from, &to])).await;
        assert_eq!((code, &*stdout), (0, ""), "{from} {to}: {stderr}");
    }
    for name in ["back/b.bin", "back/again/b.bin", "c.bin"] {
        assert_eq!(std::fs::read(path(name)).unwrap(), [0, 255, 10], "{name}");
    }
    let (code, stdout, _) = run(command(&relay.url).args(["cp", ":copied/below/a.txt", "-"])).await;
    assert_eq!((code, &*stdout), (0, "one\n"));
    for (from, to, expected) in
        [(":a", ":b", 2), ("a", "b", 2), (":missing", "-", 1), (":copied", "-", 2)]
    {
        let (code, _, stderr) = run(command(&relay.url).args(["cp", from, to])).await;
        assert_eq!(code, expected, "{from} {to}: {stderr}");
    }
    let env = path("tree/b.bin");
    let (code, _, stderr) = run(command(&relay.url).args(["cp", &env, ":.env"])).await;
    assert!(code == 1 && stderr.contains("configures the agent"), "{code}: {stderr}");
}

#[tokio::test]
async fn a_workspace_without_conversations_is_told() {
    let relay = RelayProcess::demo(&[]).await;
    let (code, stdout, stderr) = run(command(&relay.url).arg("conversations")).await;
    assert_eq!((code, &*stdout), (0, ""));
    assert!(stderr.contains("none"), "{stderr}");
    let id = "a3dd4a41-c5f3-4343-bd0c-8105ab57e0ba";
    let (code, _, stderr) = run(command(&relay.url).args(["conversations", id])).await;
    assert!(code == 1 && stderr.contains("no such conversation"), "{code}: {stderr}");
}
