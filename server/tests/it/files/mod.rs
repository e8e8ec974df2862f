//! `/files`: the files of the workspace over HTTP.

mod limits;
mod rights;
mod watch;

use crate::support::http::{self, Response};
use crate::support::relay::{Launch, Relay};
use claude_relay_testing::test_env::TestEnv;
use serde_json::json;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

/// A server with the built-in agent, and its workspace.
struct Fixture {
    env: TestEnv,
    relay: Relay,
}

impl Fixture {
    fn start() -> Self {
        Self::launched(|launch| launch)
    }

    fn launched(adjust: impl FnOnce(Launch) -> Launch) -> Self {
        let env = TestEnv::new();
        let relay = adjust(Launch::demo(&env)).start();
        Self { env, relay }
    }

    fn place(&self, path: &str) -> PathBuf {
        self.env.workspace().join(path)
    }

    fn put_there(&self, path: &str, content: &str) {
        let place = self.place(path);
        std::fs::create_dir_all(place.parent().expect("a file of the test"))
            .expect("a file of the test");
        std::fs::write(place, content).expect("a file of the test");
    }

    fn content(&self, path: &str) -> String {
        std::fs::read_to_string(self.place(path)).expect("a file of the test")
    }

    async fn get(&self, path: &str) -> Response {
        self.get_with(path, &[]).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        http::request(self.relay.address(), "GET", &format!("/files/{path}"), headers, "").await
    }

    async fn put(&self, path: &str, content: &str) -> Response {
        self.put_with(path, &[], content).await
    }

    async fn put_with(&self, path: &str, headers: &[(&str, &str)], content: &str) -> Response {
        let length = ("Content-Length", "0");
        let headers: Vec<_> =
            headers.iter().copied().chain(content.is_empty().then_some(length)).collect();
        let path = format!("/files/{path}");
        http::request(self.relay.address(), "PUT", &path, &headers, content).await
    }

    async fn delete(&self, path: &str) -> Response {
        http::request(self.relay.address(), "DELETE", &format!("/files/{path}"), &[], "").await
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.env.workspace()).expect("a file of the test");
        entries
            .map(|entry| {
                entry
                    .expect("a file of the test")
                    .file_name()
                    .into_string()
                    .expect("a file of the test")
            })
            .collect()
    }
}

#[tokio::test]
async fn a_file_is_written_read_listed_and_removed() {
    let fixture = Fixture::start();
    let written = fixture.put("notes/2026/a%20b.txt", "one\n").await;
    assert_eq!((written.status, &*written.body), (201, ""));
    assert_eq!(fixture.content("notes/2026/a b.txt"), "one\n");

    std::fs::set_permissions(
        fixture.place("notes/2026/a b.txt"),
        std::fs::Permissions::from_mode(0o750),
    )
    .unwrap();
    assert_eq!(fixture.put("notes/2026/a%20b.txt", "two").await.status, 204);
    assert_eq!(fixture.content("notes/2026/a b.txt"), "two");
    let mode = fixture.place("notes/2026/a b.txt").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750, "a replaced file keeps its permissions");

    let read = fixture.get("notes/2026/a%20b.txt").await;
    assert_eq!((read.status, &*read.body), (200, "two"));
    for (name, value) in [
        ("content-type", "application/octet-stream"),
        ("content-length", "3"),
        ("accept-ranges", "bytes"),
        ("cache-control", "no-store"),
        ("content-disposition", "attachment"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(read.header(name), Some(value), "{name}");
    }

    fixture.put_there("notes/z", "");
    symlink("z", fixture.place("notes/link")).unwrap();
    for path in ["notes", "notes/"] {
        let listed = fixture.get(path).await;
        assert_eq!(listed.header("content-type"), Some("application/json"));
        let mut listing = listed.json();
        for entry in listing["entries"].as_array_mut().unwrap() {
            let modified = entry["modified"].take().as_u64().unwrap();
            assert!(modified > 1_700_000_000_000, "{modified}");
        }
        assert_eq!(
            listing,
            json!({ "entries": [
                { "name": "2026", "type": "directory", "size": 0, "modified": null },
                { "name": "link", "type": "symlink", "size": 0, "modified": null },
                { "name": "z", "type": "file", "size": 0, "modified": null },
            ] })
        );
    }
    assert!(fixture.get("").await.body.starts_with(r#"{"entries":[{"name":"notes","type":"dir"#));

    assert_eq!(fixture.delete("notes").await.status, 409);
    assert_eq!(fixture.delete("notes/2026/a%20b.txt").await.status, 204);
    assert_eq!(fixture.delete("notes/2026").await.status, 204);
    assert_eq!(fixture.delete("notes/2026").await.status, 404);
    assert_eq!(fixture.get("notes/2026").await.status, 404);
    assert_eq!(fixture.get("notes/z/").await.status, 404);
    assert_eq!(fixture.get("notes/z/x").await.status, 404);
    assert_eq!(fixture.delete("").await.status, 409);
}

#[tokio::test]
async fn a_range_gives_its_part() {
    let fixture = Fixture::start();
    fixture.put_there("digits", "0123456789");
    for (range, part, shown) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=3-", "3456789", "bytes 3-9/10"),
        ("bytes=8-99", "89", "bytes 8-9/10"),
        ("bytes=-4", "6789", "bytes 6-9/10"),
    ] {
        let read = fixture.get_with("digits", &[("Range", range)]).await;
        assert_eq!((read.status, &*read.body), (206, part));
        assert_eq!(read.header("content-range"), Some(shown));
    }
    let refused = fixture.get_with("digits", &[("Range", "bytes=10-")]).await;
    assert_eq!((refused.status, refused.header("content-range")), (416, Some("bytes */10")));
    for ignored in ["bytes=1-2,4-5", "lines=1-2", "bytes=x"] {
        let read = fixture.get_with("digits", &[("Range", ignored)]).await;
        assert_eq!((read.status, &*read.body), (200, "0123456789"), "{ignored}");
    }
    let head = http::request(fixture.relay.address(), "HEAD", "/files/digits", &[], "").await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10")));
    assert_eq!((head.header("accept-ranges"), &*head.body), (Some("bytes"), ""));
}

#[tokio::test]
async fn a_file_that_must_be_new_replaces_none() {
    let fixture = Fixture::start();
    let only_new = [("If-None-Match", "*")];
    assert_eq!(fixture.put_with("new", &only_new, "1").await.status, 201);
    assert_eq!(fixture.put_with("new", &only_new, "2").await.status, 412);
    assert_eq!(fixture.content("new"), "1");
    assert_eq!(fixture.put_with("new", &[("If-None-Match", "\"x\"")], "2").await.status, 400);
    assert_eq!(fixture.put("empty", "").await.status, 201);
    assert_eq!(fixture.names().len(), 2, "{:?}", fixture.names());
}

#[tokio::test]
async fn a_large_file_goes_both_ways_unchanged() {
    let fixture = Fixture::start();
    let content: String = (0..700_000_u64).map(|n| char::from(b'a' + (n * n % 26) as u8)).collect();
    assert_eq!(fixture.put("large", &content).await.status, 201);
    assert!(fixture.get("large").await.body == content);
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_there_are() {
    let fixture = Fixture::start();
    for method in ["POST", "PATCH", "OPTIONS"] {
        let path = "/files/a";
        let refused = http::request(fixture.relay.address(), method, path, &[], "").await;
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some("GET, HEAD, PUT, DELETE"))
        );
    }
    assert_eq!(http::get(fixture.relay.address(), "/filesystem").await.status, 404);
}
