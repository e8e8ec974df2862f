use super::*;

#[test]
fn a_run_has_a_name_that_can_stand_in_an_address() {
    assert!(is_run_id("0123456789abcdef") && is_run_id(&"-_aZ".repeat(16)));
    for bad in ["", "0123456789abcde", &"x".repeat(65), "0123456789abcde/", "0123456789abcdé"] {
        assert!(!is_run_id(bad), "{bad}");
    }
}

#[test]
fn what_one_side_writes_the_other_reads() {
    let start = RunStart {
        args: vec!["--verbose".into()],
        env: [("A".to_owned(), "b".to_owned())].into(),
        cwd: Some("/x".into()),
    };
    let text = start.to_json();
    let RunRequest::Start(read) = RunRequest::parse(&text).unwrap() else { panic!("a start") };
    assert_eq!(read, start);
    let text = stdin(3, r#"{"a":1.0,"a":1e400}"#);
    let RunRequest::Stdin { seq: 3, data } = RunRequest::parse(&text).unwrap() else {
        panic!("{text}")
    };
    assert_eq!(data.get(), r#"{"a":1.0,"a":1e400}"#);
    assert!(matches!(RunRequest::parse(&stdin_end(4)), Ok(RunRequest::StdinEnd { seq: 4 })));
    for one in RunSignal::ALL {
        let text = signal(5, one);
        let Ok(RunRequest::Signal { seq: 5, signal }) = RunRequest::parse(&text) else {
            panic!("{text}")
        };
        assert_eq!(signal, one);
    }
    assert!(matches!(RunRequest::parse(&ack(6)), Ok(RunRequest::Ack { seq: 6 })));

    let text = connected("s", 1, 2, true);
    assert_eq!(
        RunMessage::parse(&text).unwrap(),
        RunMessage::Connected { stream: "s".into(), received: 2, started: true }
    );
    for (next, received, told) in [(1, 0, false), (2, 0, true), (1, 1, true)] {
        let text = connected("s", next, received, false);
        let RunMessage::Connected { started, .. } = RunMessage::parse(&text).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(started, told, "{text}");
    }
    let text = format!("{}{}}}", line_prefix(7), r#"{"a": 1.0}"#);
    assert_eq!(
        RunMessage::parse(&text).unwrap(),
        RunMessage::Line { seq: 7, data: r#"{"a": 1.0}"# }
    );
    assert_eq!(
        RunMessage::parse(r#"{"seq":7,"type":"sdk_message","data":{}}"#).unwrap(),
        RunMessage::Line { seq: 7, data: "{}" }
    );
    assert_eq!(
        RunMessage::parse(&info(8, "a\n\"b")).unwrap(),
        RunMessage::Info { seq: 8, data: "a\n\"b".into() }
    );
    assert_eq!(
        RunMessage::parse(&exit(9, None, Some("SIGKILL"))).unwrap(),
        RunMessage::Exit { seq: 9, code: None, signal: Some("SIGKILL".into()) }
    );
    assert_eq!(
        RunMessage::parse(&exit(9, Some(3), None)).unwrap(),
        RunMessage::Exit { seq: 9, code: Some(3), signal: None }
    );
    assert_eq!(RunMessage::parse(r#"{"type":"new"}"#).unwrap(), RunMessage::Unknown { seq: None });
}

#[test]
fn a_malformed_message_is_refused() {
    for (text, reason) in [
        ("x", "expected value"),
        ("{}", "type is missing"),
        (r#"{"type":"stdin","seq":1}"#, "data is missing"),
        (r#"{"type":"stdin","seq":-1,"data":{}}"#, "seq"),
        (r#"{"type":"signal","seq":1,"signal":"SIGKILL"}"#, "SIGTERM, SIGINT or SIGHUP"),
        (r#"{"type":"start","args":"x"}"#, "invalid type"),
        (r#"{"type":"user_message"}"#, "unknown type user_message"),
    ] {
        let error = RunRequest::parse(text).unwrap_err().to_string();
        assert!(error.starts_with("Invalid message format: ") && error.contains(reason), "{error}");
    }
    let long = format!(r#"{{"type":"start","args":["{}"]}}"#, "x".repeat(START_BYTES));
    assert!(RunRequest::parse(&long).is_err());
}
