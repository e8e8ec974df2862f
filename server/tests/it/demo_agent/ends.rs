//! Its end, and input that is wrong.

use super::*;

#[test]
fn at_the_end_of_input_the_turn_is_finished() {
    let mut agent = start(&[]);
    agent.script(json!({"sleep_ms": 100, "n": 5}));
    let (lines, _, status) = agent.finish();
    assert_eq!((lines.len(), status.code()), (7, Some(0)));
}

#[test]
fn input_of_which_the_cli_dies_ends_it_also_in_a_turn() {
    let cases = [
        (
            "this is not json",
            "Error parsing streaming input line (type=unknown, 16 chars): SyntaxError\n",
        ),
        ("null", "Error parsing streaming input line (type=unknown, 4 chars): TypeError\n"),
        (r#"{"type":"user"}"#, "Error: Expected message role 'user', got 'undefined'\n"),
    ];
    for (line, words) in cases {
        for busy in [false, true] {
            let mut agent = start(&[]);
            if busy {
                agent.script(json!({"sleep_ms": 3_600_000}));
                agent.line();
            }
            agent.send(&[line]);
            let (lines, stderr, status) = agent.finish();
            assert_eq!(
                (lines.len(), stderr.as_str(), status.code()),
                (0, words, Some(1)),
                "{line}"
            );
        }
    }
}

#[test]
fn input_that_the_cli_ignores_changes_nothing() {
    let mut agent = start(&[]);
    let ignored = [
        "",
        "42",
        "[]",
        r#"{"type":"keep_alive"}"#,
        r#"{"type":"user","message":{"role":"user","content":[null]}}"#,
    ];
    agent.send(&ignored);
    agent.script(json!({"echo": true}));
    assert_eq!(agent.until_result().len(), 3);
}
