//! envd: the files of a sandbox.

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};

use crate::e2b::record::{Recorded, parts};
use crate::e2b::reply::{Reply, full};
use crate::e2b::state::Sandbox;

/// The directory that relative paths are meant in.
const HOME: &str = "/home/user";

pub(crate) fn answer(sandbox: &mut Sandbox, request: &Recorded) -> Reply {
    if request.headers.get("x-access-token") != Some(&sandbox.envd_token) {
        return Reply::json(
            401,
            &json!({ "code": "unauthenticated", "message": "unauthenticated" }),
        );
    }
    let query = |wanted: &str| {
        request.query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    };
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/files") => {
            let path = absolute(query("path").unwrap_or_default());
            match sandbox.files.files.get(&path) {
                Some(content) => Reply::bytes(200, content.clone()),
                None => Reply::json(
                    404,
                    &json!({ "code": 404, "message": format!("path '{path}' does not exist") }),
                ),
            }
        }
        ("POST", "/files") => {
            let kind = request.headers.get("content-type").cloned().unwrap_or_default();
            let mut written = Vec::new();
            for (_, filename, content) in parts(&kind, &request.body) {
                let path = absolute(query("path").unwrap_or(&filename));
                sandbox.files.write(&path, content);
                let name = path.rsplit('/').next().unwrap_or_default();
                written.push(json!({ "path": path, "name": name, "type": "file" }));
                let _ = sandbox.changes.send((path, "EVENT_TYPE_WRITE"));
            }
            Reply::json(200, &written.into())
        }
        ("POST", path) if path.starts_with("/filesystem.Filesystem/") => {
            let method = path.rsplit('/').next().unwrap_or_default();
            if method == "WatchDir" {
                let body: Value = serde_json::from_slice(request.body.get(5..).unwrap_or_default())
                    .unwrap_or_default();
                return watch(sandbox, &body);
            }
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            call(sandbox, method, &body)
        }
        ("POST", "/process.Process/Start") => {
            let body: Value = serde_json::from_slice(request.body.get(5..).unwrap_or_default())
                .unwrap_or_default();
            run(&body)
        }
        _ => Reply::json(404, &json!({ "code": "not_found", "message": "no such path" })),
    }
}

/// Runs a command on this machine and tells its output and its end.
#[expect(clippy::disallowed_methods, reason = "a test double, in no product")]
fn run(body: &Value) -> Reply {
    let arguments = body["process"]["args"].as_array().into_iter().flatten();
    let ran = std::process::Command::new(body["process"]["cmd"].as_str().unwrap_or_default())
        .args(arguments.filter_map(Value::as_str))
        .current_dir(std::env::temp_dir())
        .output();
    let Ok(output) = ran else {
        let error = json!({ "error": { "code": "invalid_argument", "message": "cannot start" } });
        return Reply::stream(full(envelope(2, &error)));
    };
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let code = output.status.code().unwrap_or(-1);
    let mut end = json!({ "exited": true, "status": format!("exit status {code}") });
    // As the real one: a 0 is left out.
    if code != 0 {
        end["exitCode"] = code.into();
    }
    let events = [
        json!({ "start": { "pid": 1234 } }),
        json!({ "keepalive": {} }),
        json!({ "data": { "stdout": encode(&output.stdout) } }),
        json!({ "data": { "stderr": encode(&output.stderr) } }),
        json!({ "end": end }),
    ];
    let mut stream = Vec::new();
    for event in events {
        stream.extend_from_slice(&envelope(0, &json!({ "event": event })));
    }
    stream.extend_from_slice(&envelope(2, &json!({})));
    Reply::stream(full(stream.into()))
}

fn call(sandbox: &mut Sandbox, method: &str, body: &Value) -> Reply {
    let path = absolute(body["path"].as_str().unwrap_or_default());
    let missing = |path: &str| {
        Reply::json(
            404,
            &json!({ "code": "not_found", "message": format!("path not found: {path}") }),
        )
    };
    let files = &mut sandbox.files;
    match method {
        "ListDir" if !files.directories.contains(&path) => missing(&path),
        "ListDir" => {
            let depth = usize::try_from(body["depth"].as_u64().unwrap_or(1)).unwrap_or(1);
            Reply::json(200, &json!({ "entries": files.list(&path, depth) }))
        }
        "Stat" => match files.entry(&path) {
            Some(entry) => Reply::json(200, &json!({ "entry": entry })),
            None => missing(&path),
        },
        "MakeDir" => match files.make_directory(&path) {
            true => Reply::json(200, &json!({ "entry": files.entry(&path) })),
            false => Reply::json(
                409,
                &json!({ "code": "already_exists", "message": format!("directory already exists: {path}") }),
            ),
        },
        "Move" => {
            let from = absolute(body["source"].as_str().unwrap_or_default());
            let to = absolute(body["destination"].as_str().unwrap_or_default());
            match files.files.remove(&from) {
                Some(content) => {
                    files.write(&to, content);
                    Reply::json(200, &json!({ "entry": files.entry(&to) }))
                }
                None => missing(&from),
            }
        }
        "Remove" => {
            files.remove(&path);
            let _ = sandbox.changes.send((path, "EVENT_TYPE_REMOVE"));
            Reply::json(200, &json!({}))
        }
        _ => Reply::json(404, &json!({ "code": "unimplemented", "message": method })),
    }
}

/// A stream of messages: a start, then what changes.
fn watch(sandbox: &Sandbox, body: &Value) -> Reply {
    let path = absolute(body["path"].as_str().unwrap_or_default());
    if !sandbox.files.directories.contains(&path) {
        let error = json!({ "error": { "code": "not_found", "message": format!("path {path} not found") } });
        return Reply::stream(full(envelope(2, &error)));
    }
    let prefix = format!("{path}/");
    let changes = sandbox.changes.subscribe();
    let first = Some(envelope(0, &json!({ "start": {} })));
    let stream = futures_stream(first, changes, prefix);
    Reply::stream(StreamBody::new(stream).boxed())
}

fn futures_stream(
    first: Option<Bytes>,
    changes: tokio::sync::broadcast::Receiver<(String, &'static str)>,
    prefix: String,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, std::convert::Infallible>> + Send + Sync
{
    futures_util::stream::unfold(
        (first, changes, prefix),
        |(first, mut changes, prefix)| async move {
            if let Some(first) = first {
                return Some((Ok(Frame::data(first)), (None, changes, prefix)));
            }
            loop {
                // The sandbox being gone ends the stream.
                let (path, kind) = changes.recv().await.ok()?;
                if let Some(name) = path.strip_prefix(&prefix) {
                    let message = json!({ "filesystem": { "name": name, "type": kind } });
                    return Some((Ok(Frame::data(envelope(0, &message))), (None, changes, prefix)));
                }
            }
        },
    )
}

fn envelope(flags: u8, message: &Value) -> Bytes {
    let message = message.to_string();
    let length = u32::try_from(message.len()).unwrap_or_default();
    let mut bytes = vec![flags];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message.as_bytes());
    bytes.into()
}

fn absolute(path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{HOME}/{path}"),
    }
}
