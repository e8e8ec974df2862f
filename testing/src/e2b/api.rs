//! The control plane and the storage for archives.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::e2b::query::decode;
use crate::e2b::record::{Recorded, entries};
use crate::e2b::reply::Reply;
use crate::e2b::secrets;
use crate::e2b::state::{Build, Generations, State, rfc3339};

/// The key that the fake accepts. Made up.
pub const API_KEY: &str = "e2b_0123456789abcdef0123456789abcdef01234567";

/// The host and port that the fake itself listens on, for upload addresses.
pub(crate) fn answer(state: &mut State, request: &Recorded, here: &str) -> Reply {
    state.expire();
    let segments: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (request.method.as_str(), segments.as_slice()) {
        ("POST", ["sandboxes"] | ["sandboxes", _, "connect"])
            if state.generations == Generations::Second =>
        {
            Reply::refuse(404, "no matching operation was found")
        }
        ("POST", ["v2", "sandboxes"]) if state.generations == Generations::First => {
            Reply::refuse(405, "method not allowed")
        }
        ("POST", ["v2", "sandboxes", _, "connect"]) if state.generations == Generations::First => {
            Reply::refuse(404, "no matching operation was found")
        }
        ("POST", ["sandboxes"]) => create(state, &body),
        ("POST", ["v2", "sandboxes"]) => {
            let Some(key) = request.headers.get("idempotency-key") else {
                return create(state, &body);
            };
            let fits =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if !(1..=255).contains(&key.len()) || !key.bytes().all(fits) {
                state.violations.push(format!("not an idempotency key: {key:?}"));
            }
            if let Some(answer) = state.created_before(key) {
                return Reply::json(201, &answer);
            }
            let reply = create(state, &body);
            if let Some(id) = state.sandboxes.keys().next_back().filter(|_| reply.status == 201) {
                state.by_key.insert(key.clone(), id.clone());
            }
            reply
        }
        ("POST", ["v2", "sandboxes", id, "connect"]) => {
            sandbox(state, "POST", id, &["connect"], &body)
        }
        ("POST", ["sandboxes", id, "fork"]) => fork(state, id, &body),
        ("POST", ["sandboxes", id, "snapshots"]) => match state.sandboxes.get(*id) {
            Some(sandbox) => {
                let name = body["name"].as_str().unwrap_or("snapshot").to_owned();
                let snapshot = format!("team/{name}:default");
                let template = state.templates.entry(name).or_default();
                (template.id, template.files) = (snapshot.clone(), sandbox.files.clone());
                Reply::json(201, &json!({ "snapshotID": snapshot, "names": [snapshot] }))
            }
            None => gone(id),
        },
        ("GET", ["sandboxes", id, "metrics"]) => match state.sandboxes.get(*id) {
            Some(sandbox) => {
                let since = sandbox.started.duration_since(SystemTime::UNIX_EPOCH);
                Reply::json(
                    200,
                    &json!([{
                        "timestamp": rfc3339(sandbox.started),
                        "timestampUnix": since.unwrap_or_default().as_secs(),
                        "cpuCount": 2, "cpuUsedPct": 12.5, "memUsed": 536_870_912_u64,
                        "memTotal": 2_147_483_648_u64, "memCache": 0, "diskUsed": 1_073_741_824_u64,
                        "diskTotal": 8_589_934_592_u64,
                    }]),
                )
            }
            None => gone(id),
        },
        ("GET", ["v2", "sandboxes"]) => list(state, request),
        ("GET", ["v2", "sandboxes", id, "logs"]) => match state.sandboxes.get(*id) {
            Some(sandbox) => Reply::json(
                200,
                &json!({ "logs": [{
                    "timestamp": rfc3339(sandbox.started), "level": "info",
                    "message": "sandbox started", "fields": {},
                }]}),
            ),
            None => gone(id),
        },
        (method, ["sandboxes", id, rest @ ..]) => sandbox(state, method, id, rest, &body),
        (method, ["secrets", rest @ ..]) => secrets::answer(state, method, rest, &body),
        ("GET", ["v2", "templates"]) if state.generations == Generations::First => {
            Reply::refuse(404, "no matching operation was found")
        }
        ("GET", ["v2", "templates"]) => {
            let all: Vec<Value> = listed_templates(state).collect();
            page(state, request, all.into_iter())
        }
        ("GET", ["templates"]) => Reply::json(200, &listed_templates(state).collect()),
        ("POST", ["v3", "templates"]) => request_build(state, &body),
        ("GET", ["templates", template, "files", hash]) => {
            let present = state.stored.contains_key(*hash);
            let url = format!("http://{here}/bucket/{template}/files/{hash}.tar?X-Signature=fake");
            Reply::json(201, &json!({ "present": present, "url": url }))
        }
        ("POST", ["v2", "templates", _, "builds", build]) => start_build(state, build, &body),
        ("GET", ["templates", template, "builds", build, "status"]) => {
            let offset = request.query.iter().find(|(name, _)| name == "logsOffset");
            let offset = offset.and_then(|(_, value)| value.parse().ok()).unwrap_or_default();
            build_status(state, template, build, offset)
        }
        ("GET", ["templates", "aliases", name]) => match state.templates.get(*name) {
            Some(found) => Reply::json(200, &json!({ "templateID": found.id, "public": false })),
            None => Reply::refuse(404, &format!("template alias '{name}' not found")),
        },
        ("POST", ["templates", "tags"]) => {
            let target = text(&body["target"]);
            let (name, tag) = target.split_once(':').unwrap_or((&target, "default"));
            let Some(template) = state.templates.get_mut(name) else {
                return Reply::refuse(404, "template not found");
            };
            let Some(build) = template.tags.get(tag).cloned() else {
                return Reply::refuse(404, "tag not found");
            };
            for tag in body["tags"].as_array().into_iter().flatten() {
                template.tags.insert(text(tag), build.clone());
            }
            Reply::json(201, &json!({ "buildID": build, "tags": body["tags"] }))
        }
        ("DELETE", ["templates", "tags"]) => {
            let Some(template) = state.templates.get_mut(&text(&body["name"])) else {
                return Reply::refuse(404, "template not found");
            };
            for tag in body["tags"].as_array().into_iter().flatten() {
                template.tags.remove(&text(tag));
            }
            Reply::empty(204)
        }
        ("GET", ["templates", name, "tags"]) => match state.templates.get(*name) {
            Some(template) => {
                let now = rfc3339(SystemTime::now());
                let tags = template
                    .tags
                    .iter()
                    .map(|(tag, build)| json!({ "tag": tag, "buildID": build, "createdAt": now }));
                Reply::json(200, &tags.collect())
            }
            None => Reply::refuse(404, "template not found"),
        },
        _ => Reply::refuse(404, "no such path"),
    }
}

/// The storage: takes an archive of exact length and no key.
pub(crate) fn store(state: &mut State, request: &Recorded) -> Reply {
    let length = request.headers.get("content-length").and_then(|text| text.parse().ok());
    if length != Some(request.body.len()) {
        return Reply::refuse(
            501,
            "A header you provided implies functionality that is not implemented",
        );
    }
    let hash = request.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".tar");
    if entries(&request.body).is_none() {
        state.violations.push(format!("{}: not a tar in gzip", request.path));
    }
    state.stored.insert(hash.to_owned(), request.body.clone());
    Reply::empty(200)
}

fn create(state: &mut State, body: &Value) -> Reply {
    let template = body["templateID"].as_str().unwrap_or_default();
    match state.knows(template) {
        true => Reply::json(201, &state.create(body)),
        false => Reply::refuse(404, &format!("template '{template}' not found")),
    }
}

fn fork(state: &mut State, id: &str, body: &Value) -> Reply {
    if state.sandboxes.get(id).is_none_or(|sandbox| sandbox.paused) {
        return gone(id);
    }
    let timeout = Duration::from_secs(body["timeout"].as_u64().unwrap_or(15));
    let mut forks = Vec::new();
    for number in 0..body["count"].as_u64().unwrap_or(1) {
        forks.push(match state.refused_forks.contains(&number) {
            true => json!({ "error": { "code": 503, "message": "no room for this one" } }),
            false => json!({ "sandbox": state.fork(id, timeout) }),
        });
    }
    Reply::json(201, &forks.into())
}

fn gone(id: &str) -> Reply {
    Reply::refuse(404, &format!("Sandbox \"{id}\" doesn't exist or you don't have access to it"))
}

fn sandbox(state: &mut State, method: &str, id: &str, rest: &[&str], body: &Value) -> Reply {
    if method == "DELETE" && rest.is_empty() {
        return match state.sandboxes.remove(id) {
            Some(_) => Reply::empty(204),
            None => gone(id),
        };
    }
    let Some(sandbox) = state.sandboxes.get_mut(id) else {
        return gone(id);
    };
    let timeout = body["timeout"].as_u64().map(Duration::from_secs).unwrap_or_default();
    match (method, rest) {
        ("GET", []) => Reply::json(200, &sandbox.detail(id)),
        ("POST", ["timeout"]) => {
            sandbox.end = SystemTime::now() + timeout;
            Reply::empty(204)
        }
        ("POST", ["connect"]) => {
            let resumed = std::mem::take(&mut sandbox.paused);
            sandbox.end = sandbox.end.max(SystemTime::now() + timeout);
            Reply::json(if resumed { 201 } else { 200 }, &sandbox.answer(id))
        }
        ("POST", ["pause"]) if sandbox.paused => {
            Reply::refuse(409, &format!("sandbox '{id}' is already paused"))
        }
        ("POST", ["pause"]) => {
            sandbox.pause();
            Reply::empty(204)
        }
        ("PUT", ["network"]) => {
            sandbox.network = body.clone();
            Reply::empty(204)
        }
        _ => Reply::refuse(404, "no such path"),
    }
}

fn list(state: &State, request: &Recorded) -> Reply {
    let query = |wanted: &str| {
        request.query.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    };
    let states: Vec<&str> = query("state").unwrap_or("running,paused").split(',').collect();
    // As the server does it: one query string, decoded, split, decoded again.
    let marks = decode(query("metadata").unwrap_or_default());
    let marks: BTreeMap<String, String> = marks
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    let fitting = state.sandboxes.iter().filter(|(_, sandbox)| {
        let word = if sandbox.paused { "paused" } else { "running" };
        state.ignores_filters
            || states.contains(&word)
                && marks.iter().all(|(name, value)| sandbox.metadata.get(name) == Some(value))
    });
    page(state, request, fitting.map(|(id, sandbox)| sandbox.detail(id)))
}

/// The page of a list that is asked for.
fn page(state: &State, request: &Recorded, all: impl Iterator<Item = Value>) -> Reply {
    let number = |wanted: &str| {
        let found = request.query.iter().find(|(name, _)| name == wanted);
        found.and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let skip = number("nextToken").unwrap_or_default();
    let limit = state.page_size.or(number("limit")).unwrap_or(100);
    let mut page: Vec<Value> = all.skip(skip).take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let mut reply = Reply::json(200, &page.into());
    if more {
        reply.headers.push(("x-next-token", (skip + limit).to_string()));
    }
    reply
}

fn listed_templates(state: &State) -> impl Iterator<Item = Value> {
    let now = rfc3339(SystemTime::now());
    state.templates.iter().map(move |(name, template)| {
        json!({
            "templateID": template.id, "buildID": "00000000-0000-4000-8000-000000000001",
            "cpuCount": 2, "memoryMB": 2048, "diskSizeMB": 8192, "public": false,
            "createdAt": now, "updatedAt": now, "createdBy": null, "lastSpawnedAt": null,
            "spawnCount": 1, "buildCount": 1, "envdVersion": "0.6.1", "aliases": [name],
            "names": [format!("team/{name}")], "buildStatus": "ready",
        })
    })
}

fn request_build(state: &mut State, body: &Value) -> Reply {
    let full = body["name"].as_str().unwrap_or_default();
    let (name, tag) = full.split_once(':').map_or((full, None), |(name, tag)| (name, Some(tag)));
    let number = state.builds.len() + 1;
    let build = format!("00000000-0000-4000-8000-{number:012}");
    let fresh = format!("tmpl{:016}", state.templates.len() + 1);
    let template = state.templates.entry(name.to_owned()).or_default();
    if template.id.is_empty() {
        template.id = fresh;
    }
    let given = body["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut tags: Vec<String> = tag.into_iter().chain(given).map(str::to_owned).collect();
    if tags.is_empty() {
        tags.push("default".to_owned());
    }
    for tag in &tags {
        template.tags.insert(tag.clone(), build.clone());
    }
    let id = template.id.clone();
    state.builds.insert(
        build.clone(),
        Build { started: false, polls: 0, logs: vec![], pages: vec![], failure: None },
    );
    Reply::json(
        202,
        &json!({
            "templateID": id, "buildID": build, "public": false, "aliases": [name],
            "names": [format!("team/{name}")], "tags": tags,
        }),
    )
}

fn start_build(state: &mut State, build: &str, body: &Value) -> Reply {
    let steps = body["steps"].as_array().cloned().unwrap_or_default();
    for step in &steps {
        let hash = step["filesHash"].as_str().unwrap_or_default();
        if step["type"] == "COPY" && !state.stored.contains_key(hash) {
            state.violations.push(format!("the build was started without the files {hash}"));
        }
    }
    let failure = state.failing_step.clone();
    let pages = state.log_pages.clone();
    let Some(found) = state.builds.get_mut(build) else {
        return Reply::refuse(400, &format!("Build '{build}' not found"));
    };
    if std::mem::replace(&mut found.started, true) {
        return Reply::refuse(400, "build is not in waiting state");
    }
    let now = rfc3339(SystemTime::now());
    let mut log = |step: &str, level: &str, message: String| {
        found.logs.push(json!({
            "timestamp": now, "level": level, "message": message, "step": step,
        }));
    };
    let base = body["fromImage"].as_str().or(body["fromTemplate"].as_str()).unwrap_or_default();
    log("base", "info", format!("[base] FROM {base}"));
    log("base", "debug", "[base] DEFAULT USER user".to_owned());
    let mut done = true;
    for (index, step) in steps.iter().enumerate() {
        let number = (index + 1).to_string();
        let kind = step["type"].as_str().unwrap_or_default();
        let first = step["args"][0].as_str().unwrap_or_default();
        log(&number, "info", format!("[builder {number}/{}] {kind} {first}", steps.len()));
        if failure.as_ref().is_some_and(|(failing, _)| *failing == number) {
            log(&number, "info", "\u{1b}[31mthe output of the step\u{1b}[0m".to_owned());
            done = false;
            break;
        }
    }
    if done {
        log("finalize", "info", "[finalize] Finalizing template build".to_owned());
    }
    found.failure = failure;
    let whole = found.logs.len();
    found.pages = pages.unwrap_or_else(|| vec![2; whole.div_ceil(2)]);
    Reply::empty(202)
}

fn build_status(state: &mut State, template: &str, build: &str, offset: usize) -> Reply {
    let Some(found) = state.builds.get_mut(build) else {
        return Reply::refuse(400, &format!("Build '{build}' not found"));
    };
    found.polls += 1;
    // The first look finds it waiting; then each finds another page, and the
    // end is told together with the last page, as the real one may do.
    let pages = found.pages.iter().scan(0, |end, page| {
        *end += page;
        Some(*end)
    });
    let end = pages.clone().find(|end| *end > offset).unwrap_or(found.logs.len());
    let end = end.min(found.logs.len());
    let waiting = found.polls == 1;
    let logs = if waiting { vec![] } else { found.logs[offset.min(end)..end].to_vec() };
    let over = !waiting && end == found.logs.len();
    let status = match (&found.failure, waiting, over) {
        (_, true, _) => "waiting",
        (_, _, false) => "building",
        (None, _, true) => "ready",
        (Some(_), _, true) => "error",
    };
    let mut answer = json!({
        "templateID": template, "buildID": build, "status": status, "logs": [], "logEntries": logs,
    });
    if let (Some((step, message)), "error") = (&found.failure, status) {
        answer["reason"] = json!({ "message": message, "step": step, "logEntries": [] });
    }
    Reply::json(200, &answer)
}
