//! Scripts of the demo agent.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use super::*;
use claude_relay_testing::process::{Process, signal};
use claude_relay_testing::wait::until_blocking;
use rustix::process::Signal;

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
fn a_signal_ends_it() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 1, "signal": "SIGKILL"}));
    let (lines, _, status) = agent.finish();
    assert_eq!((lines.len(), status.signal()), (2, Some(9)));
}

#[test]
fn raw_lines_go_out_as_they_are_however_they_are_cut() {
    let odd = [r#"{"a":1.0,"a":1e400}"#, "no json", "", "\u{2028}", " {} ", "\r"];
    for flush in [json!("block"), json!("line"), json!(1), json!(7)] {
        let mut agent = start(&[]);
        agent.script(
            json!({"flush": flush, "raw": odd, "hex": "ff00fe", "n": 2, "half": "{\"type\":"}),
        );
        let (lines, _, status) = agent.finish();
        let expected: Vec<_> = odd.iter().map(|line| line.as_bytes().to_vec()).collect();
        assert_eq!(lines[1..7], expected, "{flush}");
        assert_eq!(lines[7], [0xff, 0, 0xfe]);
        assert_eq!(lines[8].len(), 225);
        let glued = String::from_utf8_lossy(&lines[10]).into_owned();
        assert!(glued.starts_with(r#"{"type":{"duration_api_ms""#), "{glued}");
        assert_eq!(status.code(), Some(0));
    }
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

#[test]
fn a_spawned_command_has_a_session_of_its_own_and_survives() {
    let mut agent = start(&[]);
    agent.script(json!({"spawn": "exec sleep 1000"}));
    let lines = agent.until_result();
    let told = texts(&lines)[0];
    let pid: i32 = told.strip_prefix("spawned ").unwrap().parse().unwrap();
    // It makes its session itself, a moment after it has been started. Read
    // from /proc: rustix's getsid panics over the session 0 that a process in
    // a container may have until then.
    let leads = || Process::read(pid).filter(|command| command.session == pid);
    assert!(until_blocking(DEADLINE, leads).is_some(), "{:?}", Process::read(pid));
    assert_eq!(agent.finish().2.code(), Some(0), "stdout ends although the command lives");
    let left = Process::read(pid).expect("the command outlives the agent");
    assert_ne!(left.state, 'Z', "{left:?}");
    signal(pid, Signal::KILL);
}

#[test]
fn standard_streams_can_be_closed() {
    let mut agent = start(&[]);
    agent.script(json!({"close": "stdout"}));
    let (lines, _, status) = agent.finish();
    assert_eq!((lines.len(), status.code()), (1, Some(0)), "init, and no result");

    let mut agent = start(&[]);
    let mut stderr = agent.child.stderr.take().unwrap();
    agent.script(json!({"close": "stderr", "echo": true}));
    stderr.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(agent.until_result().len(), 3);

    let mut agent = start(&[]);
    agent.script(json!({"close": "stdin", "echo": true}));
    agent.until_result();
    let stdin = agent.stdin.as_mut().unwrap();
    assert_eq!(stdin.write(b"{}\n").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(agent.child.try_wait().unwrap(), None, "it lives on");
}
