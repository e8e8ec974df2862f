//! Byte for byte: lines that a relay which parses and prints again would
//! change arrive as they were written, and in order.
//!
//! Output of the real CLI is compared in every scenario with it; here are
//! the lines that it might print one day.

use crate::support::relay::Launch;
use crate::support::ws::{Client, Seen};
use claude_relay_testing::scripted_agent;
use claude_relay_testing::test_env::TestEnv;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

/// The line after which an agent has said everything.
const LAST: &str = r#"{"type":"result","subtype":"success","is_error":false,"the":"end"}"#;

/// The longest line that is relayed.
const LONGEST_LINE_BYTES: usize = 64 << 20;

/// Messages that a client gets from an agent that prints `lines` in such pieces.
async fn relayed(lines: &[String], piece_bytes: usize) -> Vec<String> {
    let env = TestEnv::new();
    let mut output = lines.join("\n");
    output.push('\n');
    let agent = scripted_agent::printing(&env, output.as_bytes(), piece_bytes);
    let relay = Launch::new(&env).argument("--claude-path").argument(agent).start();
    let mut client = Client::connect(relay.address()).await;
    client.say("Go").await;
    while client.data().last() != Some(&LAST) {
        if let Seen::Closed(code) = client.see().await {
            panic!("the connection ended ({code:?}) before the last line\n{}", relay.stderr());
        }
    }
    let data = client.data().into_iter().map(str::to_owned).collect();
    client.close().await;
    relay.stop();
    data
}

/// JSON as text, so that the spelling is the generator's and no library's.
fn value() -> impl Strategy<Value = String> {
    let number = select(vec![
        "0",
        "-0",
        "1.0",
        "1.10",
        "1e400",
        "1E+2",
        "-1.5e-7",
        "12345678901234567890123",
        "0.1e1",
        "9007199254740993",
    ]);
    let leaf = prop_oneof![
        number.prop_map(str::to_owned),
        select(vec!["null", "true", "false", "[]", "{}", "[ ]", "{ }"]).prop_map(str::to_owned),
        string(),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|v| format!("[{}]", v.join(", "))),
            prop::collection::vec((key(), inner), 1..4).prop_map(|fields| object(&fields)),
        ]
    })
}

/// A string literal: escapes spelled in every way there is, surrogates that
/// stand alone, line separators as they are.
fn string() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a",
        "\\\"",
        "\\\\",
        "\\/",
        "/",
        "\\n",
        "\\r\\n",
        "\\u000a",
        "\\u2028",
        "\u{2028}",
        "\u{2029}",
        "\u{85}",
        "\\ud83d\\ude00",
        "\u{1F600}",
        "\\ud800",
        "\\uDFFF",
        "\\u0000",
        "\u{7f}",
        "</script>",
        "\u{202e}",
        "\u{feff}",
        "é",
        "e\u{301}",
        "{\\\"type\\\":\\\"keep_alive\\\"}",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// Keys that a map would sort, merge or choke on; never `type`.
fn key() -> impl Strategy<Value = String> {
    select(vec![
        r#""b""#,
        r#""a""#,
        r#""a""#,
        r#""10""#,
        r#""9""#,
        r#""""#,
        r#""__proto__""#,
        r#""data""#,
    ])
    .prop_map(str::to_owned)
}

fn object(fields: &[(String, String)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key} : {value}")).collect();
    format!("{{{}}}", fields.join(" ,\t"))
}

/// One line, and true if it is relayed.
fn line() -> impl Strategy<Value = (String, bool)> {
    let kind = prop_oneof![
        4 => select(vec!["assistant", "user", "stream_event", "a type of tomorrow", ""])
            .prop_map(|kind| (kind, true)),
        1 => select(vec!["keep_alive", "transcript_mirror", "control_cancel_request"])
            .prop_map(|kind| (kind, false)),
    ];
    let others = prop::collection::vec((key(), value()), 0..5);
    (kind, others, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |((kind, expected), mut fields, at, twice)| {
            // `type` may stand anywhere; of two the last one counts.
            let at = at.index(fields.len() + 1);
            fields.insert(at, (r#""type""#.to_owned(), format!("\"{kind}\"")));
            if twice {
                let other = if expected { "\"keep_alive\"" } else { "\"assistant\"" };
                fields.insert(0, (r#""type""#.to_owned(), other.to_owned()));
            }
            (object(&fields), expected)
        },
    )
}

#[test]
fn generated_lines_arrive_as_they_are() {
    // A failing case may take a whole deadline, so simplifying it has an end.
    let config = ProptestConfig {
        cases: 24,
        max_shrink_time: 60_000,
        failure_persistence: None,
        ..Default::default()
    };
    let lines = prop::collection::vec(line(), 1..60);
    let outcome = TestRunner::new(config).run(&(lines, 1_usize..5000), |(lines, piece_bytes)| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let mut said: Vec<_> = lines.iter().map(|(line, _)| line.clone()).collect();
        said.push(LAST.to_owned());
        let mut expected: Vec<_> =
            lines.into_iter().filter(|(_, expected)| *expected).map(|(line, _)| line).collect();
        expected.push(LAST.to_owned());
        let seen = runtime.expect("a runtime").block_on(relayed(&said, piece_bytes));
        prop_assert_eq!(seen, expected);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[tokio::test]
async fn lines_of_every_size_up_to_the_longest() {
    let empty = r#"{"type":"x","text":""}"#;
    let sizes = [2, empty.len(), 4095, 4096, 65_535, 65_536, 65_537, 1 << 20, LONGEST_LINE_BYTES];
    let mut lines: Vec<_> = sizes
        .into_iter()
        .map(|size| match size.checked_sub(empty.len()) {
            None => "{}".to_owned(),
            Some(rest) => empty.replace(r#""""#, &format!("\"{}\"", "x".repeat(rest))),
        })
        .collect();
    lines.push(LAST.to_owned());
    let seen = relayed(&lines, 1 << 20).await;

    let lengths = |lines: &[String]| lines.iter().map(String::len).collect::<Vec<_>>();
    assert_eq!(lengths(&seen), lengths(&lines));
    assert!(seen == lines, "a line of the right length has other bytes");
}

/// Lines of every kind that are routed on another thread for their size, each
/// among small ones.
#[tokio::test]
async fn large_lines_of_every_kind_keep_their_place() {
    let large = format!("\"{}\",", "x".repeat(1000)).repeat(3500);
    let permission = |id: &str| {
        format!(
            r#"{{"type":"control_request","request_id":"{id}","request":{{"subtype":"can_use_tool","tool_name":"Bash","input":{{"a":[{large}1]}}}}}}"#
        )
    };
    let lines = [
        r#"{"type":"small","n":1}"#.to_owned(),
        format!(r#"{{"type":"large","a":[{large}1]}}"#),
        r#"{"type":"small","n":2}"#.to_owned(),
        permission("p"),
        r#"{"type":"small","n":3}"#.to_owned(),
        format!(r#"{{"type":"keep_alive","a":[{large}1]}}"#),
        format!("no JSON {large}"),
        r#"{"type":"small","n":4}"#.to_owned(),
        format!(
            r#"{{"type":"control_request","request_id":"r","request":{{"subtype":"unknown","a":[{large}1]}}}}"#
        ),
        format!(r#"{{"type":"result","a":[{large}1]}}"#),
        LAST.to_owned(),
    ];
    let env = TestEnv::new();
    let output = lines.join("\n") + "\n";
    let agent = scripted_agent::printing(&env, output.as_bytes(), 1 << 20);
    let relay = Launch::new(&env).mode("ask").argument("--claude-path").argument(agent).start();
    let mut client = Client::connect(relay.address()).await;
    client.say("Go").await;
    let frames = client.until(|frame| frame["data"]["the"] == "end").await;
    let kinds: Vec<String> = frames
        .iter()
        // The script closes its stdout when it has printed all, which is told.
        .filter(|frame| frame["type"] != "connected" && frame["type"] != "error")
        .map(|frame| match frame["type"].as_str().unwrap_or_default() {
            "sdk_message" => format!("{}{}", frame["data"]["type"], frame["data"]["n"]),
            other => other.to_owned(),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            r#""small"1"#,
            r#""large"null"#,
            r#""small"2"#,
            "permission_request",
            r#""small"3"#,
            r#""small"4"#,
            r#""result"null"#,
            r#""result"null"#,
        ]
    );
    let data: Vec<&str> = client.data();
    assert!(data.contains(&lines[1].as_str()), "every byte of the large line");
    client.close().await;
    relay.stop();
}
