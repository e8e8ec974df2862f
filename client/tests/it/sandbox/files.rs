//! The files of a client's sandbox.

use claude_relay_client::{ChangeKind, EntryKind, e2b};

use super::*;

#[tokio::test]
async fn files_are_written_read_listed_watched_and_removed() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    let (id, files) = (cloud.only_one(), client.files().unwrap());
    let workspace = "/home/user/agent-workspace";

    soon(files.write("a.txt", "in the workspace")).await.unwrap();
    soon(files.write("./sub/b.bin", [0, 0xff])).await.unwrap();
    soon(files.write("/tmp/c.txt", b"elsewhere")).await.unwrap();
    let there = |path: &str| cloud.fake.file(&id, path);
    assert_eq!(there(&format!("{workspace}/a.txt")).unwrap(), b"in the workspace");
    assert_eq!(there(&format!("{workspace}/sub/b.bin")).unwrap(), [0, 0xff]);
    assert_eq!(there("/tmp/c.txt").unwrap(), b"elsewhere");
    assert_eq!(&*soon(files.read("sub/b.bin")).await.unwrap(), [0, 0xff]);

    let mut listed = soon(files.list(".")).await.unwrap();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let listed: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.kind)).collect();
    assert_eq!(listed, [("a.txt", EntryKind::File), ("sub", EntryKind::Directory)]);

    let mut watch = soon(files.watch(".", true)).await.unwrap();
    soon(files.write("sub/new.txt", "new")).await.unwrap();
    let change = soon(watch.next()).await.unwrap().unwrap();
    assert_eq!((change.name.as_str(), change.kind), ("sub/new.txt", ChangeKind::Written));
    soon(files.remove("a.txt")).await.unwrap();
    assert_eq!(there(&format!("{workspace}/a.txt")), None);

    let error = soon(files.read("a.txt")).await.unwrap_err();
    let missing = matches!(&error, SandboxError::Api(e) if matches!(**e, e2b::Error::NotFound(_)));
    assert!(missing, "{error:?}");
    let error = soon(files.write("a\0b", "")).await.unwrap_err();
    assert!(error.to_string().contains("NUL"), "{error}");
    // They do not keep what they are files of.
    drop(client);
    cloud.is_empty().await;
    let error = soon(files.list(".")).await.unwrap_err();
    assert!(matches!(error, SandboxError::Expired { .. }), "{error:?}");
    cloud.finish().await;
}
