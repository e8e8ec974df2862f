use std::fs;

use super::*;

struct Watched {
    root: tempfile::TempDir,
    tree: Tree,
}

fn watched(prepare: impl FnOnce(&Path)) -> Watched {
    let root = tempfile::tempdir().unwrap();
    prepare(root.path());
    let workspace = Workspace::open(root.path()).unwrap();
    let (tree, gaps) = Tree::watch(&workspace, PathBuf::new(), None).unwrap();
    assert_eq!(gaps, []);
    Watched { root, tree }
}

fn told(tree: &mut Tree) -> Vec<(Kind, String)> {
    let changes = tree.changes().unwrap();
    changes.into_iter().map(|c| (c.kind, c.path.display().to_string())).collect()
}

#[test]
fn changes_at_every_depth_are_told_once() {
    let Watched { root, mut tree } = watched(|root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/old"), "1").unwrap();
    });
    fs::write(root.path().join("a/b/old"), "2").unwrap();
    fs::write(root.path().join("a/new"), "").unwrap();
    assert_eq!(
        told(&mut tree),
        [(Kind::Modified, "a/b/old".into()), (Kind::Created, "a/new".into())]
    );
    fs::create_dir_all(root.path().join("c/d")).unwrap();
    fs::write(root.path().join("c/d/e"), "").unwrap();
    let mut seen = told(&mut tree);
    seen.extend(told(&mut tree));
    for path in ["c", "c/d", "c/d/e"] {
        let count = seen.iter().filter(|change| **change == (Kind::Created, path.into()));
        assert_eq!(count.count(), 1, "{path}: {seen:?}");
    }
    fs::rename(root.path().join("c"), root.path().join("moved")).unwrap();
    assert_eq!(
        told(&mut tree),
        [
            (Kind::Removed, "c".into()),
            (Kind::Created, "moved".into()),
            (Kind::Created, "moved/d".into()),
            (Kind::Created, "moved/d/e".into())
        ]
    );
    fs::remove_file(root.path().join("moved/d/e")).unwrap();
    assert_eq!(told(&mut tree), [(Kind::Removed, "moved/d/e".into())]);
}

#[test]
fn a_file_that_is_replaced_is_modified_and_its_upload_is_not_told() {
    let Watched { root, mut tree } = watched(|root| fs::write(root.join("a"), "1").unwrap());
    let temporary = root.path().join(".claude-relay-upload-1");
    for (name, kind) in [("a", Kind::Modified), ("b", Kind::Created)] {
        fs::write(&temporary, "2").unwrap();
        fs::rename(&temporary, root.path().join(name)).unwrap();
        assert_eq!(told(&mut tree), [(kind, name.into())]);
    }
}

#[test]
fn the_end_of_the_watched_directory_ends_the_watch() {
    let Watched { root, mut tree } = watched(|_| {});
    drop(root);
    assert_eq!(told(&mut tree), [(Kind::Removed, String::new())]);
    assert!(tree.has_ended());
}

#[test]
fn an_overflow_is_a_gap_and_the_watch_goes_on() {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let Watched { root, mut tree } = watched(|_| {});
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    fs::write(&a, "").unwrap();
    for _ in 0..=limit / 2 {
        fs::rename(&a, &b).unwrap();
        fs::rename(&b, &a).unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let more = told(&mut tree);
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    assert_eq!(seen.last(), Some(&(Kind::Gap, String::new())));
    fs::create_dir(root.path().join("c")).unwrap();
    assert_eq!(told(&mut tree), [(Kind::Created, "c".into())]);
}
