use std::time::Duration;

use claude_relay_testing::wait;
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use tokio::time::timeout;

use super::*;

fn backend(root: &Path) -> Backend {
    Backend::Directory(Directory::new(root.to_owned()))
}

#[tokio::test]
async fn an_object_is_written_whole_or_not_at_all() {
    let root = tempfile::tempdir().unwrap();
    let backend = backend(root.path());
    assert!(backend.list("").await.unwrap().directories.is_empty());
    for body in ["one\n", "two\n"] {
        backend.put("a/b/part", body.into()).await.unwrap();
        assert_eq!(backend.get("a/b/part").await.unwrap(), body);
    }
    assert_eq!(backend.list("a").await.unwrap().directories, ["b"]);
    assert_eq!(backend.list("a/b").await.unwrap().objects, ["part"]);
    // A directory has its name: the object cannot take its place, and nothing of
    // it stays.
    fs::create_dir(root.path().join("a/b/taken")).unwrap();
    backend.put("a/b/taken", "three\n".into()).await.unwrap_err();
    assert_eq!(backend.list("a/b").await.unwrap().objects, ["part"]);
}

#[tokio::test]
async fn a_directory_with_too_many_names_is_not_listed() {
    let root = tempfile::tempdir().unwrap();
    let backend = Backend::Directory(Directory::with_max_names(root.path().to_owned(), 3));
    for name in ["a/part", "b", "c"] {
        backend.put(name, "one\n".into()).await.unwrap();
    }
    let listing = backend.list("").await.unwrap();
    assert_eq!((listing.directories.len(), listing.objects.len()), (1, 2));
    backend.put("d", "one\n".into()).await.unwrap();
    let refused = backend.list("").await.unwrap_err();
    let StoreError::Directory { source, .. } = &refused else { panic!("{refused}") };
    assert_eq!(source.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(backend.list("a").await.unwrap().objects, ["part"]);
}

/// What a disk of a network does that is gone: a read without an end.
#[tokio::test]
async fn a_directory_that_does_not_answer_holds_a_bounded_number_of_threads() {
    let root = tempfile::tempdir().unwrap();
    let hanging = root.path().join("hanging");
    mkfifoat(CWD, &hanging, Mode::RWXU).unwrap();
    fs::write(root.path().join("part"), "one\n").unwrap();
    let backend = backend(root.path());
    let asked: Vec<_> = (0..MAX_THREADS)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { backend.get("hanging").await })
        })
        .collect();
    let Backend::Directory(directory) = &backend else { panic!("a directory") };
    wait::within("all threads to wait", async {
        while directory.threads.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    timeout(Duration::from_millis(100), backend.get("part")).await.unwrap_err();
    // A writer that closes it ends their reads.
    for asked in asked {
        wait::within("the end of a read", async {
            while !asked.is_finished() {
                drop(open(&hanging, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()));
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(asked.await.unwrap().unwrap(), "");
    }
    assert_eq!(backend.get("part").await.unwrap(), "one\n");
}
