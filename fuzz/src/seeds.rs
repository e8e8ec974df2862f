//! Inputs to begin from: a few of each kind that a target takes apart.
//!
//! The tests run them, and `fuzz/run` writes them into an empty corpus.

/// Returns the inputs of one target.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    if target == "slot_replay" {
        return (0..64).map(random_bytes).collect();
    }
    let inputs = match target {
        "client_message" => CLIENT_MESSAGE,
        "config" => CONFIG,
        "head" => HEAD,
        "line_splitter" => LINE_SPLITTER,
        "origin_host" => ORIGIN_HOST,
        "route" => ROUTE,
        _ => &[],
    };
    inputs.iter().map(|input| input.as_bytes().to_vec()).collect()
}

const CLIENT_MESSAGE: &[&str] = &[
    r#"{"type":"user_message","data":{"type":"user","message":{"role":"user","content":"hi"}}}"#,
    r#"{"type":"user_message","data":{"type":"user","message":{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}]}}}"#,
    r#"{"type":"user_message","data":{"type":"user","message":{"role":"user","content":[{"type":"text"}]}}}"#,
    r#"{"type":"interrupt","type":"user_message","data":{"type":"control_request","type":"user","message":{"role":"user","content":""}}}"#,
    r#"{"\u0074ype":"interrupt"}"#,
    r#"{"type":"\ud800"}"#,
    r#"{"type":"interrupt"}"#,
    r#"{"type":"capabilities"}"#,
    r#"{"type":"control_request","requestId":"1","request":{"subtype":"set_model","model":"x"}}"#,
    r#"{"type":"permission_response","requestId":"1","approved":true,"updatedInput":{"a":1},"updatedPermissions":[],"message":"m","interrupt":false}"#,
];

const CONFIG: &[&str] = &[
    "{}",
    r#"{"agents":{"a":{"description":"d","prompt":"p","tools":["Read"],"model":"haiku"}},"allowedTools":["Bash(git log:*)"],"systemPrompt":{"type":"preset","preset":"claude_code","append":"x"},"model":"m","mcpServers":{"s":{"type":"http","url":"https://h.example/","headers":{"X":"secret"}},"t":{"command":"c","args":["a"],"env":{"K":"v"}}},"anthropicApiKey":"k"}"#,
    r#"{"disallowedTools":["Bash"],"tools":["Read"],"permissionMode":"plan","maxTurns":3,"maxThinkingTokens":0,"maxBudgetUsd":1.5,"fallbackModel":"f","effort":"high","includePartialMessages":true,"settingSources":["project"],"additionalDirectories":["x"],"outputFormat":{"type":"json_schema","schema":{"type":"object"}},"resume":"r","forkSession":true,"cwd":"sub","env":{"A":"b"},"provider":"claude"}"#,
    r#"{"authToken":"01234567890abcdef","debug":true}"#,
    r#"{"anthropicBaseUrl":"https://user:pw@h.example/x?k=v#f","anthropicAuthToken":"t"}"#,
    r#"{"anthropicApiKey":"***","model":"m"}"#,
    r#"{"model":5,"model":"x","continue":true}"#,
];

/// The first byte is the length of the part that comes first.
const HEAD: &[&str] = &[
    "\x10GET /ws HTTP/1.1\r\nHost: localhost:3000\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "\x30POST /config HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    "\x05POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
    "\x7fGET http://localhost/health HTTP/1.0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "\x02\r\n\r\nGET / HTTP/1.1\nHost: a\n\n",
    "\x0cGET / HTTP/1.1\r\nA : b\r\n c\r\n\r\n",
];

/// The first byte is the size of the chunks, less one.
const LINE_SPLITTER: &[&str] = &[
    "\x05{\"a\":1}\n{\"b\":2}\n",
    "\x01a\r\n\r\n \nb\r\n",
    "\x02a\u{2028}b\u{2029}c\u{85}d\re\n",
    "\x03xxxxxxxxxxxxxxxxxxxxxxxx\nyyyyyyyyyyyyyyyyyyyyyyyyy\nzzzzzzzzzzzzzzzzzzzzzzzz",
    "\x07xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\nshort\nyyyyyyyyyyyyyyyyyyyyyyyyy",
];

/// A `Host`, a line feed, an `Origin`.
const ORIGIN_HOST: &[&str] = &[
    "localhost:3000\nhttp://localhost:3000",
    "localhost.\nhttp://localhost",
    "localhost\nhttps://localhost:443",
    "localhost\nnull",
    "127.1\nhttp://0x7f.1",
    "127.0.0.1:3000\nhttp://127.0.0.1.evil.example:3000",
    "localhost:3000\nhttp://localhost:3000@evil.example",
    "[::1]:3000\nhttp://[::1]:3000",
    "[::ffff:127.0.0.1]\nhttp://[::ffff:7f00:1]",
];

const ROUTE: &[&str] = &[
    r#"{"type":"system","subtype":"init","session_id":"s"}"#,
    r#"{"type":"assistant","message":{"content":[{"type":"text","text":"x"}]},"session_id":"s"}"#,
    r#"{"type":"result","subtype":"success","is_error":false}"#,
    r#"{"type":"keep_alive","a":[1,{"type":"x"}],"type":"assistant"}"#,
    r#"{"type":"system","subtype":"session_state_changed","sdk_host_only":true}"#,
    r#"{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"command":"ls"},"tool_use_id":"t","permission_suggestions":[]}}"#,
    r#"{"type":"control_response","response":{"subtype":"success","request_id":"r","response":{}}}"#,
    r#"{"type":"control_cancel_request","request_id":"r"}"#,
    "[1,2]",
    "Warning: something\n",
];

/// Returns 400 bytes that look random and are the same every time (xorshift).
fn random_bytes(number: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (number + 1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..400).map(|_| next()).collect()
}
