//! Scripts of the demo agent.

use std::time::Instant;

use super::*;

#[test]
fn lines_are_exactly_as_many_and_as_long_as_asked_for() {
    for (n, size) in [(1, 300), (1000, 300), (10, 225), (2000, 1000), (3, 100_000)] {
        let mut agent = start(&[]);
        agent.script(json!({"n": n, "size": size}));
        assert_eq!(agent.line()["subtype"], "init");
        for number in 1..=n {
            let bytes = agent.bytes().unwrap();
            assert_eq!(bytes.len(), size);
            let line: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(text(&line)[..12].parse(), Ok(number));
        }
        let result = agent.line();
        assert_eq!(result["result"], format!("emitted {n} lines of {size} bytes"));
    }
}

#[test]
fn a_size_too_small_is_rounded_up() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 2, "size": 1}));
    agent.line();
    assert_eq!(agent.bytes().unwrap().len(), 225);
}

#[test]
fn a_line_of_64_mib_goes_out_and_in() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 1, "size": 64 << 20}));
    agent.line();
    assert_eq!(agent.bytes().unwrap().len(), 64 << 20);
    agent.until_result();
    agent.script(json!({"note": "x".repeat(64 << 20)}));
    assert_eq!(agent.until_result()[1]["is_error"], false);
}

#[test]
fn a_rate_is_kept() {
    let mut agent = start(&[]);
    let begun = Instant::now();
    agent.script(json!({"n": 21, "rate": 100}));
    agent.line();
    for number in 1..=21 {
        assert_eq!(text(&agent.line())[..12].parse(), Ok(number));
    }
    // Twenty gaps of 10 ms each.
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[test]
fn waits_have_a_bound_instead_of_an_overflow() {
    for script in [json!({"sleep_ms": u64::MAX}), json!({"n": 2, "rate": 1e-300})] {
        let mut agent = start(&[]);
        agent.script(script);
        agent.line();
        agent.send(&[INTERRUPT]);
        assert_eq!(agent.until_result().last().unwrap()["terminal_reason"], "aborted_streaming");
    }
}

#[test]
fn an_echo_gives_the_text_back() {
    let mut agent = start(&[]);
    let script = r#"{ "echo":true, "note":"ä \"q\" \u2028 😀" }"#;
    agent.say(script);
    assert_eq!(texts(&agent.until_result()), [script]);
    let block = json!([{"type": "text", "text": r#"{"echo":true}"#}]);
    agent.send(&[
        &json!({"type": "user", "message": {"role": "user", "content": block}}).to_string()
    ]);
    assert_eq!(texts(&agent.until_result()), [r#"{"echo":true}"#]);
}

#[test]
fn an_exit_comes_after_the_lines_and_without_a_result() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 3, "exit": 3, "stderr": "going down"}));
    let (lines, stderr, status) = agent.finish();
    assert_eq!((lines.len(), stderr.as_str(), status.code()), (4, "going down\n", Some(3)));
}

#[test]
fn a_wrong_script_runs_nothing_and_is_an_error() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 5, "sise": 300}));
    let lines = agent.until_result();
    assert_eq!(lines.len(), 3);
    assert!(text(&lines[1]).contains("sise"), "{}", text(&lines[1]));
    assert_eq!(lines[2]["is_error"], true);
    assert_eq!(agent.finish().2.code(), Some(1));
}
