//! The files of a sandbox.

use std::time::Duration;

use claude_relay_e2b::error::Error;
use claude_relay_e2b::files::EntryKind;
use claude_relay_e2b::sandbox::NewSandbox;
use claude_relay_e2b::watch::ChangeKind;
use claude_relay_testing::e2b::Fault;
use serde_json::json;

use crate::support::{SOON, fake};

#[tokio::test]
async fn a_written_file_is_read_listed_moved_and_removed() {
    let (fake, e2b) = fake().await;
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    let files = sandbox.files().unwrap();
    let binary: Vec<u8> = (0..=255).collect();
    files.write("/home/user/a/b.bin", &binary).await.unwrap();
    assert_eq!(files.read("/home/user/a/b.bin").await.unwrap(), binary);
    files.write("ä \"quoted\".txt", b"1").await.unwrap();
    assert_eq!(files.read("/home/user/ä \"quoted\".txt").await.unwrap(), "1");
    files.write_all(&[("/home/user/x", b"x"), ("/home/user/y", b"")]).await.unwrap();
    assert_eq!(fake.file(sandbox.id().as_str(), "/home/user/y").unwrap(), b"");

    let names = |entries: Vec<claude_relay_e2b::files::Entry>| {
        entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
    };
    assert_eq!(
        names(files.list("/home/user", 1).await.unwrap()),
        ["a", "x", "y", "ä \"quoted\".txt"]
    );
    assert!(names(files.list("/home/user", 2).await.unwrap()).contains(&"b.bin".to_owned()));
    let entry = files.stat("/home/user/a/b.bin").await.unwrap();
    assert_eq!((entry.kind, entry.size, entry.mode), (EntryKind::File, 256, 0o644));
    assert_eq!(files.stat("/home/user/a").await.unwrap().kind, EntryKind::Directory);

    assert!(files.make_dir("/home/user/new").await.unwrap());
    assert!(!files.make_dir("/home/user/new").await.unwrap());
    files.rename("/home/user/x", "/home/user/new/x").await.unwrap();
    files.remove("/home/user/new").await.unwrap();
    for path in ["/home/user/new/x", "/home/user/new", "/nope"] {
        assert!(matches!(files.stat(path).await, Err(Error::NotFound(_))), "{path}");
        assert!(matches!(files.read(path).await, Err(Error::NotFound(_))), "{path}");
    }
    assert!(matches!(files.list("/nope", 1).await, Err(Error::NotFound(_))));
    files.as_user("root").write("/root/x", b"1").await.unwrap();
    sandbox.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn a_nul_in_a_path_goes_nowhere() {
    let (fake, e2b) = fake().await;
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    let files = sandbox.files().unwrap();
    let before = fake.requests().len();
    for bad in ["", "a\0b"] {
        assert!(matches!(files.write(bad, b"").await, Err(Error::Argument(_))));
        assert!(matches!(files.read(bad).await, Err(Error::Argument(_))));
        assert!(matches!(files.remove(bad).await, Err(Error::Argument(_))));
        assert!(matches!(files.rename("a", bad).await, Err(Error::Argument(_))));
        assert!(matches!(files.watch(bad, false, None).await, Err(Error::Argument(_))));
    }
    assert_eq!(fake.requests().len(), before);
    sandbox.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn changes_are_told_as_they_happen() {
    let (fake, e2b) = fake().await;
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    let files = sandbox.files().unwrap();
    let mut watch = files.watch("/home/user", true, None).await.unwrap();
    files.write("/home/user/a.txt", b"1").await.unwrap();
    let change = tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!((change.name.as_str(), change.kind), ("a.txt", ChangeKind::Written));
    files.remove("/home/user/a.txt").await.unwrap();
    let change = tokio::time::timeout(SOON, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(change.kind, ChangeKind::Removed);

    let error = files.watch("/nope", false, Some(SOON)).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");

    // The end of the sandbox ends the watch with an error.
    sandbox.kill().await.unwrap();
    let end = tokio::time::timeout(SOON, watch.next()).await.unwrap();
    assert!(end.is_err(), "{end:?}");
    fake.finish();
}

#[tokio::test]
async fn a_sandbox_whose_time_is_over_is_told_from_a_file_that_is_missing() {
    let (fake, e2b) = fake().await;
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    let files = sandbox.files().unwrap();
    fake.expire(sandbox.id().as_str());
    for error in [
        files.read("/x").await.map(drop).unwrap_err(),
        files.list("/", 1).await.map(drop).unwrap_err(),
        files.watch("/", false, None).await.map(drop).unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::SandboxGone { sandbox: id, .. } if id == sandbox.id().as_str()),
            "{error:?}"
        );
    }
    fake.finish();
}

#[tokio::test]
async fn an_error_keeps_the_message_of_envd() {
    let (fake, e2b) = fake().await;
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    let files = sandbox.files().unwrap();
    fake.fail(
        "POST /filesystem.Filesystem/Remove",
        Fault::Refuse {
            status: 403,
            body: json!({"code": "permission_denied", "message": "not yours"}),
            headers: vec![],
        },
    );
    let error = files.remove("/x").await.unwrap_err();
    assert_eq!(error.refusal().unwrap().error_code.as_deref(), Some("permission_denied"));
    assert_eq!(error.to_string(), "cannot remove \"/x\": 403: not yours");
    (0..4).for_each(|_| fake.fail("GET /files", Fault::CutBefore));
    let error = files.read("/x").await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    sandbox.kill().await.unwrap();
    tokio::time::sleep(Duration::ZERO).await;
    fake.finish();
}
