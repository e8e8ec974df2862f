//! Rights: links, names, modes, tokens, origins.

use super::Fixture;
use crate::support::http;
use crate::support::relay::Launch;
use std::os::unix::fs::symlink;

#[tokio::test]
async fn links_are_followed_inside_the_workspace_and_nowhere_else() {
    let fixture = Fixture::start();
    fixture.put_there("inside/a", "inside");
    let outside = fixture.env.file("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("a"), "outside").unwrap();
    let link = |target: std::path::PathBuf, name: &str| {
        symlink(target, fixture.place(name)).unwrap();
    };
    link("inside/a".into(), "file");
    link("inside".into(), "directory");
    link(fixture.place("inside"), "absolute");
    link("../workspace/inside".into(), "around");
    for path in ["file", "directory/a", "absolute/a"] {
        assert_eq!(fixture.get(path).await.body, "inside", "{path}");
        assert_eq!(fixture.put(path, "inside").await.status, 204, "{path}");
    }
    assert!(fixture.place("file").is_symlink(), "the link stays");
    assert_eq!(fixture.put("absolute/b/c", "new").await.status, 201);
    assert_eq!(fixture.content("inside/b/c"), "new");

    link(outside.join("a"), "to_file");
    link("../outside/a".into(), "to_file_relatively");
    link(outside.clone(), "to_directory");
    link("/etc".into(), "to_etc");
    link("/proc/self/root".into(), "to_proc");
    link("to_directory".into(), "twice");
    link(fixture.env.file("nothing"), "to_nothing");
    for path in [
        "to_file",
        "to_file_relatively",
        "to_directory",
        "to_directory/a",
        "to_directory/new",
        "to_directory/new/new",
        "to_etc/hostname",
        "to_proc/etc/hostname",
        "twice/a",
        "to_nothing",
    ] {
        for (method, response) in [
            ("GET", fixture.get(path).await),
            ("PUT", fixture.put(path, "x").await),
            ("DELETE", fixture.delete(path).await),
            ("watch", fixture.get(&format!("{path}?watch=true")).await),
        ] {
            assert_eq!(response.status, 403, "{method} {path}: {}", response.body);
        }
    }
    assert_eq!(std::fs::read_to_string(outside.join("a")).unwrap(), "outside");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    link("missing".into(), "dangling");
    assert_eq!(fixture.get("dangling").await.status, 404);
    assert_eq!(fixture.put("dangling", "x").await.status, 409);
    assert_eq!(fixture.delete("dangling").await.status, 204);
}

#[tokio::test]
async fn names_that_lead_elsewhere_are_refused() {
    let fixture = Fixture::start();
    std::fs::write(fixture.env.file("secret"), "secret").unwrap();
    for path in [
        "../secret",
        "a/../../secret",
        "%2e%2e/secret",
        "..%2Fsecret",
        "a%00",
        "%ff",
        "%",
        "a//b",
        "./a",
    ] {
        for response in
            [fixture.get(path).await, fixture.put(path, "x").await, fixture.delete(path).await]
        {
            assert_eq!(response.status, 400, "{path}: {}", response.body);
        }
    }
    assert_eq!(fixture.names(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_file_is_neither_read_nor_replaced() {
    let fixture = Fixture::start();
    let fifo = fixture.place("fifo");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.place("socket")).unwrap();
    for path in ["fifo", "socket"] {
        for response in
            [fixture.get(path).await, fixture.put(path, "x").await, fixture.delete(path).await]
        {
            assert_eq!(response.status, 403, "{path}: {}", response.body);
        }
    }
    let listing = fixture.get("").await.json();
    assert!(listing["entries"].as_array().unwrap().iter().all(|entry| entry["type"] == "other"));
    fixture.put_there("directory/file", "");
    assert_eq!(fixture.put("directory", "x").await.status, 409);
    assert_eq!(fixture.put("directory/file/below", "x").await.status, 409);
}

#[tokio::test]
async fn safe_reads_and_writes_nothing() {
    let fixture = Fixture::launched(|launch| launch.mode("safe"));
    fixture.put_there("a", "text");
    assert_eq!(fixture.get("a").await.body, "text");
    for response in
        [fixture.put("b", "x").await, fixture.put("a", "x").await, fixture.delete("a").await]
    {
        assert_eq!(response.status, 403);
        let error = response.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains("mode safe of this server reads files"), "{error}");
    }
    assert_eq!((fixture.content("a"), fixture.names().len()), ("text".to_owned(), 1));
}

#[tokio::test]
async fn what_configures_an_agent_is_written_in_unrestricted_alone() {
    let guarded = [
        ".claude/settings.json",
        "deep/.claude/agents/a.md",
        ".codex/config.toml",
        ".agents/skills/a",
        ".git/hooks/pre-commit",
        ".git",
        ".mcp.json",
        "sub/.mcp.json",
        ".env",
        ".CLAUDE/settings.json",
        "linked/settings.json",
    ];
    for mode in ["ask", "agentic", "unrestricted"] {
        let fixture = Fixture::launched(|launch| launch.mode(mode));
        fixture.put_there(".claude/there", "");
        symlink(".claude", fixture.place("linked")).unwrap();
        for path in guarded {
            let response = fixture.put(path, "x").await;
            let expected = match (mode, path) {
                ("unrestricted", ".git") => 409,
                ("unrestricted", "linked/settings.json") => 204,
                ("unrestricted", _) => 201,
                _ => 403,
            };
            assert_eq!(response.status, expected, "{mode} {path}: {}", response.body);
        }
        let removed = fixture.delete(".claude/there").await.status;
        assert_eq!(removed, if mode == "unrestricted" { 204 } else { 403 });
        assert_eq!(fixture.put("CLAUDE.md", "x").await.status, 201);
        assert_eq!(fixture.get(".claude").await.status, 200);
    }
    // A link by such a name makes another directory one of them.
    let fixture = Fixture::start();
    std::fs::create_dir(fixture.place("plain")).unwrap();
    symlink("plain", fixture.place(".claude")).unwrap();
    assert_eq!(fixture.put("plain/settings.json", "{}").await.status, 403);
}

#[tokio::test]
async fn a_token_and_the_origin_are_asked_for_as_with_config() {
    let fixture = Fixture::launched(|launch| launch.argument("--auth-token=correct-horse-battery"));
    fixture.put_there("a", "text");
    let right = ("Authorization", "Bearer correct-horse-battery");
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        for (headers, status) in [
            (vec![], 401),
            (vec![("Authorization", "Bearer wrong")], 401),
            (vec![right, ("Origin", "https://elsewhere.example")], 403),
            (vec![right, ("Origin", "null")], 403),
            (vec![right, ("Host", "elsewhere.example")], 403),
        ] {
            let path = "/files/a";
            let response = http::request(fixture.relay.address(), method, path, &headers, "").await;
            assert_eq!(response.status, status, "{method} {headers:?}");
        }
    }
    let address = fixture.relay.address();
    let own = format!("http://{address}");
    let read = fixture.get_with("a", &[right, ("Origin", &own)]).await;
    assert_eq!((read.status, &*read.body), (200, "text"));
    assert_eq!(fixture.get("a?token=correct-horse-battery").await.body, "text");
    assert_eq!(fixture.content("a"), "text");
}

#[tokio::test]
async fn a_relay_with_a_sandbox_serves_its_workspace() {
    let fixture = Fixture::launched(|launch: Launch| {
        launch.argument("--sandbox=bwrap").argument("--no-auth")
    });
    assert_eq!(fixture.put("made/here", "text").await.status, 201);
    assert_eq!(fixture.get("made/here").await.body, "text");
    assert_eq!(fixture.content("made/here"), "text");
}
