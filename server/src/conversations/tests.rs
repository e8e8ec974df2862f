use std::fs;

use serde_json::{Value, json};

use super::*;

const ID: &str = "11111111-2222-4333-8444-555555555555";
const OTHER: &str = "22222222-2222-4333-8444-555555555555";
const CWD: &str = "/w/space";

struct Kept {
    state: tempfile::TempDir,
}

impl Kept {
    fn new() -> Self {
        Self { state: tempfile::tempdir().unwrap() }
    }

    fn put(&self, id: &str, lines: &[Value]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.put_text(&format!("{id}.jsonl"), &text);
    }

    fn put_text(&self, name: &str, text: &str) {
        let folder = self.state.path().join("projects").join(folder_name(CWD));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }

    fn open(&self) -> Option<Conversations> {
        Conversations::open(self.state.path(), Path::new(CWD)).unwrap()
    }

    fn list(&self) -> Vec<Conversation> {
        self.open().unwrap().list(10, None).unwrap().conversations
    }

    fn messages(&self) -> Value {
        let mut transcript = self.open().unwrap().transcript(ID).unwrap().unwrap();
        let mut text = Vec::new();
        while let Some(chunk) = transcript.next_chunk().unwrap() {
            text.extend(chunk);
        }
        serde_json::from_slice(&text).unwrap()
    }

    fn uuids(&self) -> Vec<String> {
        let messages = self.messages();
        let messages = messages["messages"].as_array().unwrap();
        messages.iter().map(|message| message["uuid"].as_str().unwrap().to_owned()).collect()
    }
}

/// A line of the transcript: `kind` by `uuid` after `parent`.
fn line(kind: &str, uuid: &str, parent: Option<&str>, content: Value) -> Value {
    json!({
        "parentUuid": parent, "isSidechain": false, "type": kind, "uuid": uuid, "cwd": CWD,
        "timestamp": "2026-11-28T13:10:04.224Z",
        "message": { "role": kind, "content": content },
    })
}

fn user(uuid: &str, parent: Option<&str>, text: &str) -> Value {
    line("user", uuid, parent, json!(text))
}

fn assistant(uuid: &str, parent: &str, message: &str, content: Value) -> Value {
    let mut line = line("assistant", uuid, Some(parent), content);
    line["message"]["id"] = json!(message);
    line
}

fn with(mut line: Value, name: &str, value: impl Into<Value>) -> Value {
    line[name] = value.into();
    line
}

#[test]
fn a_folder_has_the_name_that_the_cli_gives_it() {
    assert_eq!(folder_name("/home/u/agent-workspace"), "-home-u-agent-workspace");
    assert_eq!(folder_name("/tmp/é/😀_x"), "-tmp------x");
    let long = folder_name(&format!("/home/{}", "ab.cd/".repeat(40)));
    assert!(long.ends_with("-ab-99zud3") && long.len() == 207, "{long}");
}

#[test]
fn only_a_uuid_is_an_id() {
    assert!(is_id(ID) && is_id("ABCDEF01-2222-4333-8444-555555555555"));
    for other in ["", "..", "../../x", "1111", &ID[1..], &format!("{ID}0"), &ID.replace('-', "/")] {
        assert!(!is_id(other), "{other}");
    }
}

#[test]
fn a_conversation_is_listed_by_its_first_words_its_turns_and_its_cost() {
    let kept = Kept::new();
    assert!(kept.open().is_none());
    kept.put(
        ID,
        &[
            json!({ "type": "queue-operation", "timestamp": "2026-11-28T13:10:03.687Z" }),
            with(user("u0", None, "a reminder"), "isMeta", true),
            user("u1", Some("u0"), "<command-name>/clear</command-name>"),
            user("u2", Some("u1"), "<local-command-stdout>done</local-command-stdout>"),
            user("u3", Some("u2"), "Say\nhello"),
            assistant("a1", "u3", "m1", json!([{ "type": "text", "text": "Hello" }])),
            line("user", "u4", Some("a1"), json!([{ "type": "tool_result", "content": "x" }])),
            user("u5", Some("u4"), "[Request interrupted by user]"),
            line("user", "u6", Some("u5"), json!([{ "type": "text", "text": "Again" }])),
            json!({ "type": "cost-state", "totalCostUSD": 0.5 }),
            json!({ "type": "cost-state", "totalCostUSD": 0.75 }),
        ],
    );
    let listed = kept.list();
    let [only] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!((&*only.id, &*only.first_words), (ID, "Say hello"));
    assert_eq!((only.turns, only.cost_usd), (Some(3), Some(0.75)));
    assert_eq!(only.created.as_deref(), Some("2026-11-28T13:10:03.687Z"));
    assert!(only.modified > 1_700_000_000_000);
    assert_eq!(only.title, None);
    kept.put(
        ID,
        &[
            user("u1", None, &"long ".repeat(100)),
            json!({ "type": "ai-title", "aiTitle": "By the agent" }),
            json!({ "type": "custom-title", "customTitle": "By a person" }),
            json!({ "type": "ai-title", "aiTitle": "By the agent again" }),
        ],
    );
    let listed = kept.list();
    assert_eq!(listed[0].title.as_deref(), Some("By a person"));
    assert!(listed[0].first_words.ends_with("long…"));
    assert!(listed[0].first_words.chars().count() <= 201);
}

#[test]
fn what_is_of_another_directory_or_nobody_is_not_listed() {
    let kept = Kept::new();
    // Its folder has the same name.
    kept.put(ID, &[with(user("u1", None, "secret"), "cwd", "/w-space")]);
    kept.put(OTHER, &[with(user("u1", None, "of a sub-agent"), "isSidechain", true)]);
    kept.put("33333333-2222-4333-8444-555555555555", &[with(user("u", None, "x"), "isMeta", true)]);
    kept.put("44444444-2222-4333-8444-555555555555", &[json!({ "type": "user" })]);
    kept.put_text("55555555-2222-4333-8444-555555555555.jsonl", "no JSON\n{\"type\":[]}\n");
    kept.put_text("agent-1.jsonl", &user("u", None, "x").to_string());
    let folder = kept.state.path().join("projects").join(folder_name(CWD));
    let outside = kept.state.path().join("outside.jsonl");
    fs::write(&outside, user("u", None, "x").to_string()).unwrap();
    let link = folder.join("66666666-2222-4333-8444-555555555555.jsonl");
    std::os::unix::fs::symlink(&outside, link).unwrap();
    assert_eq!(kept.list(), []);
    let kept = kept.open().unwrap();
    for id in [ID, "66666666-2222-4333-8444-555555555555", "../outside", "agent-1"] {
        assert!(kept.transcript(id).unwrap().is_none(), "{id}");
    }
}

#[test]
fn the_newest_come_first_and_are_bounded() {
    let kept = Kept::new();
    for (n, id) in [ID, OTHER].into_iter().enumerate() {
        kept.put(id, &[user("u1", None, "words")]);
        let folder = kept.state.path().join("projects").join(folder_name(CWD));
        let file = fs::File::options().write(true).open(folder.join(format!("{id}.jsonl")));
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000 + n as u64);
        file.unwrap().set_modified(time).unwrap();
    }
    let listed = kept.list();
    assert_eq!(listed.iter().map(|listed| &*listed.id).collect::<Vec<_>>(), [OTHER, ID]);
    assert_eq!(listed[0].modified, 1_001_000);
    let listing = kept.open().unwrap().list(1, None).unwrap();
    assert_eq!((listing.conversations.len(), listing.more), (1, true));
    let place = |text: String| Position::parse(&text).unwrap();
    let older = |than: &str| {
        let listing = kept.open().unwrap().list(1, Some(&place(than.to_owned()))).unwrap();
        assert!(!listing.more);
        listing.conversations.into_iter().map(|listed| listed.id).collect::<Vec<_>>()
    };
    assert_eq!(older(&format!("1001000.{OTHER}")), [ID]);
    assert_eq!(older(&format!("1000000.{OTHER}")), [] as [&str; 0], "the larger id comes later");
    assert_eq!(older(&format!("1000001.{OTHER}")), [ID], "a place need not be taken");
    assert_eq!(older(&format!("1000000.{ID}")), [] as [&str; 0]);
    assert_eq!(older("1000000.00000000-2222-4333-8444-555555555555"), [ID]);
}

#[test]
fn a_place_is_a_time_and_an_id() {
    for right in [format!("0.{ID}"), format!("-5.{ID}"), format!("{}.{ID}", i64::MAX)] {
        assert!(Position::parse(&right).is_some(), "{right}");
    }
    for wrong in ["", ".", "5", ID, "5.x", "x", "5.", "99999999999999999999.x"] {
        assert_eq!(Position::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn the_messages_are_those_of_the_branch_that_ends_last() {
    let kept = Kept::new();
    kept.put(
        ID,
        &[
            user("u1", None, "one"),
            json!({ "type": "attachment", "uuid": "t1", "parentUuid": "u1", "cwd": CWD }),
            assistant("a1", "t1", "m1", json!([{ "type": "text", "text": "1" }])),
            user("u2", Some("a1"), "rewound"),
            assistant("a2", "u2", "m2", json!("2")),
            user("u3", Some("a1"), "instead"),
            assistant("a3", "u3", "m3", json!([{ "type": "tool_use", "id": "1" }])),
            assistant("a4", "a3", "m3", json!([{ "type": "tool_use", "id": "2" }])),
            line("user", "r1", Some("a3"), json!([{ "type": "tool_result" }])),
            line("user", "r2", Some("a4"), json!([{ "type": "tool_result" }])),
            with(user("s1", Some("a3"), "of a sub-agent"), "isSidechain", true),
            with(user("x1", Some("r2"), "a reminder"), "isMeta", true),
            assistant("a5", "x1", "m4", json!([{ "type": "text", "text": "3" }])),
            json!({ "type": "system", "uuid": "y1", "parentUuid": "a5", "cwd": CWD }),
            json!({ "type": "progress", "uuid": "p1", "parentUuid": "a2", "cwd": CWD }),
        ],
    );
    assert_eq!(kept.uuids(), ["u1", "a1", "u3", "a3", "a4", "r1", "r2", "a5"]);
    let messages = kept.messages();
    assert_eq!(messages["id"], ID);
    assert_eq!(
        messages["messages"][0],
        json!({
            "type": "user", "uuid": "u1", "session_id": ID,
            "message": { "role": "user", "content": "one" },
            "parent_tool_use_id": null, "timestamp": "2026-11-28T13:10:04.224Z",
        })
    );
}

#[test]
fn no_file_makes_it_run_for_ever() {
    let kept = Kept::new();
    kept.put(
        ID,
        &[user("a", Some("b"), "x"), user("b", Some("a"), "y"), user("c", Some("c"), "z")],
    );
    assert_eq!(kept.uuids(), Vec::<String>::new());
    kept.put(ID, &[user("a", Some("gone"), "x"), user("a", Some("gone"), "again")]);
    assert_eq!(kept.uuids(), ["a"]);
    // A line that is still being written.
    let text = format!("{}\n{{\"type\":\"user\",\"uuid\":\"b\"", user("a", None, "x"));
    kept.put_text(&format!("{ID}.jsonl"), &text);
    assert_eq!(kept.uuids(), ["a"]);
}
