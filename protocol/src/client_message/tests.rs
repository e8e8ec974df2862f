use super::*;

fn refused(text: &str) -> String {
    ClientMessage::parse(text).expect_err(text).to_string()
}

#[test]
fn a_user_message_keeps_its_bytes() {
    let data = "{ \"type\":\"user\",\n\"message\":{\"content\":\"h\\u00e9\",\"role\":\"user\"},\"x\":1.0 }";
    let text = format!("{{\"data\":{data},\"type\":\"user_message\"}}");
    let Ok(ClientMessage::UserMessage { data: got, .. }) = ClientMessage::parse(&text) else {
        panic!("refused");
    };
    assert_eq!(got.get(), data);
}

#[test]
fn a_message_that_would_end_the_agent_is_refused_by_name() {
    let user = |data: &str| refused(&format!(r#"{{"type":"user_message","data":{data}}}"#));
    for (data, reason) in [
        ("null", "data: expected an object"),
        ("\"hi\"", "data: expected an object"),
        ("[]", "data: expected an object"),
        ("{}", "data.type: expected \"user\""),
        (r#"{"type":"control_request"}"#, "data.type: expected \"user\""),
        (
            r#"{"type":"user","type":"control_request","message":{"role":"user","content":""}}"#,
            "data.type: expected \"user\"",
        ),
        (r#"{"type":"user"}"#, "data.message: expected an object with `role` and `content`"),
        (
            r#"{"type":"user","message":"x"}"#,
            "data.message: expected an object with `role` and `content`",
        ),
        (
            r#"{"type":"user","message":{"role":"assistant","content":""}}"#,
            "data.message.role: expected \"user\"",
        ),
        (
            r#"{"type":"user","message":{"role":"user"}}"#,
            "data.message.content: expected a string or an array of blocks",
        ),
        (
            r#"{"type":"user","message":{"role":"user","content":5}}"#,
            "data.message.content: expected a string or an array of blocks",
        ),
        (
            r#"{"type":"user","message":{"role":"user","content":[null]}}"#,
            "data.message.content[0]: expected an object",
        ),
        (
            r#"{"type":"user","message":{"role":"user","content":[{},{"type":"text"}]}}"#,
            "data.message.content[1].text: expected a string",
        ),
    ] {
        assert_eq!(user(data), format!("Invalid message format: {reason}"), "{data}");
    }
    assert_eq!(
        refused(r#"{"type":"user_message"}"#),
        "Invalid message format: missing field `data`"
    );
}

#[test]
fn blocks_of_any_kind_pass() {
    for content in [
        r#""""#,
        r#""\ud800""#,
        "[]",
        r#"[{"type":"image","source":{}},{"type":"text","text":"\ud800"},{"type":"new"}]"#,
    ] {
        let text = format!(
            r#"{{"type":"user_message","data":{{"type":"user","message":{{"role":"user","content":{content}}}}}}}"#
        );
        assert!(ClientMessage::parse(&text).is_ok(), "{content}");
    }
}

#[test]
fn no_message_at_all() {
    for text in ["x", "", "null", "[]", "5", "{}", r#"{"type":5}"#] {
        assert!(refused(text).starts_with("Invalid message format: "), "{text}");
    }
}

#[test]
fn an_unknown_type_is_named_and_cut() {
    assert_eq!(refused(r#"{"type":"connected"}"#), "Unknown message type: connected");
    let long = refused(&format!(r#"{{"type":"{}"}}"#, "é".repeat(60)));
    assert_eq!(long, format!("Unknown message type: {}", "é".repeat(50)));
}

#[test]
fn a_permission_response() {
    let text = r#"{"type":"permission_response","requestId":"r","approved":true,"updatedInput":{"a":1.0},"message":null}"#;
    let Ok(ClientMessage::PermissionResponse(answer)) = ClientMessage::parse(text) else {
        panic!("refused");
    };
    assert!(answer.approved && !answer.interrupt && answer.message.is_none());
    assert_eq!(answer.updated_input.unwrap().get(), r#"{"a":1.0}"#);
    for (text, reason) in [
        (r#"{"type":"permission_response","requestId":"r"}"#, "missing field `approved`"),
        (r#"{"type":"permission_response","approved":true}"#, "missing field `requestId`"),
        (
            r#"{"type":"permission_response","requestId":"r","approved":"yes"}"#,
            "approved: expected true or false",
        ),
        (
            r#"{"type":"permission_response","requestId":"r","approved":true,"updatedInput":[]}"#,
            "updatedInput: expected an object",
        ),
    ] {
        assert_eq!(refused(text), format!("Invalid message format: {reason}"));
    }
}

#[test]
fn a_control_request() {
    let text = r#"{"type":"control_request","requestId":"r","request":{"model":"m","subtype":"set_model"}}"#;
    let Ok(ClientMessage::ControlRequest { request_id, subtype, request }) =
        ClientMessage::parse(text)
    else {
        panic!("refused");
    };
    assert_eq!((request_id.as_ref(), subtype.as_ref()), ("r", "set_model"));
    assert_eq!(request.get(), r#"{"model":"m","subtype":"set_model"}"#);
    assert!(
        refused(r#"{"type":"control_request","requestId":"r","request":{}}"#)
            .contains("request.subtype")
    );
    let long = format!(
        r#"{{"type":"control_request","requestId":"{}","request":{{"subtype":"x"}}}}"#,
        "r".repeat(257)
    );
    assert!(refused(&long).contains("longer than 256"));
}

#[test]
fn an_agent_response_is_an_answer_or_a_reason() {
    let parse = |text: &'static str| match ClientMessage::parse(text) {
        Ok(ClientMessage::AgentResponse { request_id, outcome }) => {
            assert_eq!(request_id, "r");
            outcome.map(|response| response.get().to_owned()).map_err(Cow::into_owned)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        parse(r#"{"type":"agent_response","requestId":"r","response":{"a": 1.0}}"#),
        Ok(r#"{"a": 1.0}"#.to_owned())
    );
    assert_eq!(
        parse(r#"{"type":"agent_response","requestId":"r","error":"no","response":null}"#),
        Err("no".to_owned())
    );
    for text in [
        r#"{"type":"agent_response","requestId":"r"}"#,
        r#"{"type":"agent_response","requestId":"r","response":{},"error":"e"}"#,
        r#"{"type":"agent_response","requestId":"r","response":[]}"#,
        r#"{"type":"agent_response","response":{}}"#,
        r#"{"type":"configure"}"#,
        r#"{"type":"configure","config":[]}"#,
        r#"{"type":"configure","config":{},"merge":1}"#,
    ] {
        assert!(refused(text).starts_with("Invalid message format: "), "{text}");
    }
}
