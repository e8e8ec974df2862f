//! Comparison with the requests of the official SDK's recorded scenarios, field
//! by field.
//!
//! `recorded.json` has the requests of the JavaScript package `e2b` 2.45.0 by
//! scenario, recorded against a fake of the API. Parts that change from run to
//! run stand in angle brackets. No secret is in them: key and tokens were made
//! up.
//!
//! Differences, with their reasons:
//!
//! * the headers in [`OF_THE_SDK`] describe the SDK itself;
//! * `user-agent` names this library, and `accept` keeps the sandbox proxy from
//!   answering in HTML;
//! * `forceUpload` and `resolveSymlinks` in a step are internal to the SDK, and
//!   the server ignores them;
//! * the digest of a directory: the SDK includes its size on disk, a number of
//!   the file system, and links, which this library refuses to send;
//! * file contents that the recordings do not contain;
//! * features that this library lacks: raw bodies of `octet-stream`, and the
//!   SDK's request to a dead sandbox's `/health`.
//!
//! `recorded-second.json` has the requests of the PyPI package `e2b` 2.63.0 and
//! of the npm package `e2b` 2.51.0 in the second generation of the API. This
//! library always sends an idempotency key, no empty variables, and its fields
//! in another order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use claude_relay_e2b::build::{BuildRequest, DEFAULT_BUILD_TIMEOUT, build};
use claude_relay_e2b::template::{Copy, DEFAULT_IMAGE, Template, port_is_open, url_answers};
use claude_relay_e2b::templates::Size;
use claude_relay_testing::e2b::{FakeE2b, Generations};
use serde_json::{Value, json};

use crate::support::{fake, public};

/// Headers in which the SDK describes itself.
const OF_THE_SDK: [&str; 9] = [
    "browser",
    "lang",
    "lang_version",
    "package_version",
    "publisher",
    "sdk_runtime",
    "system",
    "user-agent",
    "accept",
];

/// Sources with another digest: directories, links, and files of unknown
/// content.
const OTHER_DIGEST: [&str; 4] = ["app", "package.json", "app/src/*.rs", "weird/link-*"];

fn recording(scenario: &str) -> Vec<Value> {
    let mut all: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(include_str!("recorded.json")).unwrap();
    all.remove(scenario).unwrap()
}

/// Returns a request without the parts that differ for a reason.
fn comparable(mut request: Value) -> Value {
    let headers = request["headers"].as_object_mut().unwrap();
    headers.retain(|name, _| !OF_THE_SDK.contains(&name.as_str()));
    // The fake generates its tokens in another way than the recorder did.
    if headers.contains_key("x-access-token") {
        headers.insert("x-access-token".to_owned(), "<token>".into());
    }
    for step in request["body"]["steps"].as_array_mut().into_iter().flatten() {
        let step = step.as_object_mut().unwrap();
        step.remove("forceUpload");
        step.remove("resolveSymlinks");
        let source = step["args"][0].as_str().unwrap_or_default().to_owned();
        if step["type"] == "COPY" && OTHER_DIGEST.contains(&source.as_str()) {
            step.insert("filesHash".to_owned(), "<other>".into());
        }
    }
    request
}

fn check(fake: &FakeE2b, recorded: Vec<Value>) {
    // The server is asked once whether it has the second generation.
    let requests = fake.requests();
    let ours = requests
        .iter()
        .filter(|request| request.method != "POST" || request.path != "/v2/sandboxes");
    let ours: Vec<Value> = ours.map(|request| comparable(request.to_json())).collect();
    let theirs: Vec<Value> = recorded.into_iter().map(comparable).collect();
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "request {index}");
    }
    assert_eq!(ours.len(), theirs.len());
    fake.finish();
}

/// Runs what was recorded of both newest SDKs.
async fn in_the_second_generation(name_servers: Option<Vec<String>>) -> Vec<Value> {
    use claude_relay_e2b::{Egress, Injection, NewSandbox};

    let (fake, e2b) = fake().await;
    let mut new = NewSandbox::new("base");
    new.public_traffic = true;
    new.metadata = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let rule = Injection::header("x-api-key", "canary");
    new.egress = Egress {
        allow: vec!["example.com".to_owned()],
        deny: vec!["0.0.0.0/0".to_owned()],
        dns_servers: name_servers,
        rules: BTreeMap::from([("api.example.com".to_owned(), rule)]),
    };
    let sandbox = e2b.create(&new).await.unwrap();
    let id = sandbox.id();
    e2b.connect(id, Duration::from_secs(60)).await.unwrap();
    e2b.pause(id).await.unwrap();
    // Nobody forks what is paused; the recorder's server did not mind.
    let minute = Duration::from_secs(60);
    assert!(e2b.fork(id, 2, minute).await.is_err());
    e2b.snapshot(id, Some("base-snap"), true).await.unwrap();
    let deny = vec!["10.0.0.0/8".to_owned()];
    e2b.set_egress(id, &Egress { deny, ..Egress::default() }).await.unwrap();
    e2b.metrics(id).await.unwrap();
    sandbox.kill().await.unwrap();
    let requests = fake.requests().iter().map(|request| request.to_json()).collect();
    fake.finish();
    requests
}

#[tokio::test]
async fn the_second_generation_as_the_newest_sdks_use_it() {
    let all: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(include_str!("recorded-second.json")).unwrap();
    for (sdk, recorded) in all {
        let name_servers = (sdk == "python").then(|| vec!["1.1.1.1".to_owned()]);
        let ours = in_the_second_generation(name_servers).await;
        assert_eq!(ours.len(), recorded.len(), "{sdk}");
        for (ours, mut theirs) in ours.into_iter().zip(recorded) {
            if let Some(body) = theirs["body"].as_object_mut() {
                body.retain(|name, value| name != "envVars" || *value != json!({}));
            }
            for part in ["method", "path", "body"] {
                assert_eq!(ours[part], theirs[part], "{sdk}: {ours}");
            }
            for (name, value) in theirs["headers"].as_object().unwrap() {
                match name.as_str() {
                    "idempotency-key" => assert!(ours["headers"][name].is_string(), "{ours}"),
                    // Sent by one SDK for requests without a body, too.
                    "content-type" if ours["body"].is_null() => {}
                    _ => assert_eq!(ours["headers"][name], *value, "{sdk}: {ours}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_sandbox_as_the_original_client_makes_it() {
    let (fake, e2b) = fake().await;
    fake.has(Generations::First);
    e2b.create(&public("claude-agent-server")).await.unwrap().kill().await.unwrap();
    check(&fake, recording("sandbox_original"));
}

#[tokio::test]
async fn a_sandbox_by_default() {
    let (fake, e2b) = fake().await;
    fake.has(Generations::First);
    let sandbox = e2b.create(&public("base")).await.unwrap();
    sandbox.kill().await.unwrap();
    sandbox.kill().await.unwrap();
    check(&fake, recording("sandbox_default"));
}

async fn run(
    fake: &FakeE2b,
    e2b: &claude_relay_e2b::http::E2b,
    name: &str,
    size: Size,
    template: Template,
) {
    let request = BuildRequest {
        name: name.parse().unwrap(),
        tags: vec![],
        size,
        template,
        timeout: DEFAULT_BUILD_TIMEOUT,
    };
    // The failure of a build is part of one scenario.
    let _ = build(e2b, &request, |_| {}).await;
    assert!(fake.violations().is_empty(), "{:?}", fake.violations());
}

const SMALL: Size = Size { cpus: 2, memory_mb: 1024 };

/// Compares the same steps. The recorder's fake wrote more lines about them
/// than this one, so only the beginning and the progress of the polls are
/// compared.
fn without_looks(requests: Vec<Value>) -> (Vec<Value>, Vec<u64>) {
    let (looks, others): (Vec<_>, Vec<_>) = requests
        .into_iter()
        .partition(|request| request["path"].as_str().unwrap().ends_with("/status"));
    let offset = |look: &Value| look["query"]["logsOffset"].as_str().unwrap().parse().unwrap();
    (others, looks.iter().map(offset).collect())
}

fn check_build(fake: &FakeE2b, recorded: Vec<Value>) {
    let ours = fake.requests().iter().map(|request| comparable(request.to_json())).collect();
    let (ours, our_looks) = without_looks(ours);
    let (theirs, their_looks) = without_looks(recorded.into_iter().map(comparable).collect());
    assert_eq!(ours, theirs);
    assert_eq!(our_looks[..2], their_looks[..2], "the first look finds it waiting");
    assert!(our_looks[1..].windows(2).all(|pair| pair[0] < pair[1]), "{our_looks:?}");
    assert!(their_looks[1..].windows(2).all(|pair| pair[0] < pair[1]));
    fake.finish();
}

#[tokio::test]
async fn a_template_of_one_step() {
    let (fake, e2b) = fake().await;
    let template = Template::from_image(DEFAULT_IMAGE).run("true");
    run(&fake, &e2b, "minimal", SMALL, template).await;
    check_build(&fake, recording("template_minimal"));
}

#[tokio::test]
async fn a_template_whose_second_step_fails() {
    let (fake, e2b) = fake().await;
    fake.fail_step("2", "failed to run command 'false': exit status 1");
    let template = Template::from_image(DEFAULT_IMAGE).run("true").run("false").run("echo");
    run(&fake, &e2b, "bad", SMALL, template).await;
    check_build(&fake, recording("template_fail_step"));
}

#[tokio::test]
async fn the_template_of_the_original_server() {
    let (fake, e2b) = fake().await;
    let clone = "git clone https://github.com/dzhng/claude-agent-server --branch main \
                 --single-branch /home/user/app";
    let template = Template::from_image("oven/bun:1.3")
        .run("pwd")
        .run("mkdir -p /home/user/agent-workspace")
        .run("sudo apt install -y git")
        .skip_cache()
        .run(clone)
        .workdir("/home/user/app")
        .run("ls -la")
        .run("bun install")
        .start("bun run start:sandbox")
        .ready(port_is_open(3000));
    run(&fake, &e2b, "claude-agent-server", Size { cpus: 2, memory_mb: 2048 }, template).await;
    check_build(&fake, recording("template_original"));
}

/// Builds the recorder's tree without its links.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files: [(&str, &str, u32); 9] = [
        ("app/.hidden", "hidden", 0o644),
        ("app/a.txt", "hello\n", 0o644),
        ("app/node_modules/dep/index.js", "x", 0o644),
        ("app/src/B.rs", "b", 0o644),
        ("app/src/b.rs", "?????", 0o644),
        ("app/zero", "", 0o644),
        ("app/ä file.txt", "umlaut", 0o644),
        ("bin/tool", "#!/bin/sh\necho hi\n", 0o755),
        ("package.json", "???????????????????????????????", 0o644),
    ];
    for (name, content, mode) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::create_dir_all(dir.path().join("app/empty")).unwrap();
    fs::write(dir.path().join("weird"), "").unwrap();
    for directory in ["app", "app/empty", "app/node_modules", "app/node_modules/dep", "app/src"] {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path().join(directory), mode).unwrap();
    }
    dir
}

#[tokio::test]
async fn a_template_with_everything() {
    let (fake, e2b) = fake().await;
    let dir = tree();
    let copy = |source: &str, dest: &str| Copy::new(dir.path(), source, dest);
    let apt = "apt-get update && DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get install -y";
    let template = Template::from_image("debian:bookworm")
        .user("root")
        .workdir("/srv")
        .run_as("root", format!("{apt} git curl"))
        .run_as("root", format!("{apt} --no-install-recommends jq"))
        .run_as("root", "npm install -g @anthropic-ai/claude-code@2.1.197")
        .run("npm install")
        .run("npm install --save-dev left-pad")
        .copy(copy("app", "/srv/app"))
        .copy(Copy {
            owner: Some("root".into()),
            mode: Some(0o755),
            ..copy("bin/tool", "/usr/local/bin/tool")
        })
        .copy(copy("package.json", "/srv/"))
        .copy(copy("app/a.txt", "/srv/"))
        .copy(copy("app/src/*.rs", "/srv/src/"))
        .env([("PORT", "3000"), ("EMPTY", ""), ("QUOTED", "a \"b\" $HOME")])
        .user("user")
        .workdir("/home/user")
        .run("rm -r -f '/tmp/x y'")
        .run("mv /a /b -f")
        .run_as("root", "mkdir -p -m 0700 /d1 /d2")
        .run("ln -s /a /b")
        .run_as("root", "echo 1 && echo 2")
        .run_as("root", "pip install x")
        .run_as("root", "bun install -g y")
        .run("git clone https://x.test/r.git --depth 1")
        .skip_cache()
        .run("echo \"it's\"")
        .start("/usr/local/bin/relay --port 3000")
        .ready(url_answers("http://localhost:3000/health", 200));
    let request = BuildRequest {
        name: "relay:v1".parse().unwrap(),
        tags: vec!["stable".parse().unwrap(), "v1.2".parse().unwrap()],
        size: Size { cpus: 4, memory_mb: 4096 },
        template,
        timeout: DEFAULT_BUILD_TIMEOUT,
    };
    build(&e2b, &request, |_| {}).await.unwrap();

    let ours: Vec<Value> = fake.requests().iter().map(|r| comparable(r.to_json())).collect();
    let theirs: Vec<Value> = recording("template_full").into_iter().map(comparable).collect();
    let of = |requests: &[Value], method: &str, part: &str| {
        let fits = |request: &&Value| {
            request["method"] == method && request["path"].as_str().unwrap().contains(part)
        };
        requests.iter().filter(fits).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of(&ours, "POST", "/v3/templates"), of(&theirs, "POST", "/v3/templates"));

    // The body of the build: all steps except the one with links, which this
    // library refuses, and without the `force` of two COPY steps, which comes
    // from the SDK's internal `forceUpload`.
    let (mut ours_build, mut theirs_build) =
        (of(&ours, "POST", "/builds/"), of(&theirs, "POST", "/builds/"));
    let steps = theirs_build[0]["body"]["steps"].as_array_mut().unwrap();
    steps.retain(|step| step["args"][0] != "weird/link-*");
    for steps in [&mut ours_build, &mut theirs_build] {
        for step in steps[0]["body"]["steps"].as_array_mut().unwrap() {
            if ["package.json", "app/a.txt"].iter().any(|source| step["args"][0] == *source) {
                step["force"] = "<forceUpload>".into();
            }
        }
    }
    assert_eq!(ours_build, theirs_build);

    // The uploads: the same number except the links, and the same bytes for
    // files.
    let uploads = |requests: &[Value]| of(requests, "PUT", "/bucket/");
    let (ours, theirs) = (uploads(&ours), uploads(&theirs));
    assert_eq!(ours.len(), theirs.len() - 1);
    for same in ["bin/tool", "app/a.txt"] {
        let find = |uploads: &[Value]| {
            let one = |upload: &&Value| {
                let entries = upload["body"]["entries"].as_array().unwrap();
                entries.len() == 1 && entries[0]["name"] == same
            };
            uploads.iter().find(one).cloned().unwrap_or_else(|| panic!("no {same}"))
        };
        assert_eq!(find(&ours), find(&theirs), "{same}");
    }
    // The directory: every entry except the link and the entry about an umlaut
    // that the SDK's tar adds. The SDK also leaves out the directory above a
    // path in its .dockerignore.
    let entries = |uploads: &[Value]| -> BTreeSet<String> {
        let whole = |upload: &&Value| upload["body"]["entries"][0]["name"] == "app/";
        let upload = uploads.iter().find(whole).unwrap();
        let entries = upload["body"]["entries"].as_array().unwrap().iter();
        entries
            .filter(|entry| entry["type"] == "0" || entry["type"] == "5")
            .map(|entry| {
                json!([entry["name"], entry["type"], entry["mode"], entry["size"]]).to_string()
            })
            .collect()
    };
    let (ours, theirs) = (entries(&ours), entries(&theirs));
    let extra: Vec<_> = ours.difference(&theirs).collect();
    assert_eq!(extra, [&json!(["app/node_modules/", "5", "0755", 0]).to_string()]);
    assert!(theirs.is_subset(&ours), "{:?}", theirs.difference(&ours));
    fake.finish();
}

#[tokio::test]
async fn files_of_a_sandbox() {
    let (fake, e2b) = fake().await;
    fake.has(Generations::First);
    let sandbox = e2b.create(&public("relay")).await.unwrap();
    let files = sandbox.files().unwrap();
    let watch = files.watch("/home/user", true, Some(Duration::from_secs(20))).await.unwrap();
    files.write("/home/user/in.txt", b"Hello").await.unwrap();
    files.read("/home/user/in.txt").await.unwrap();
    files.read("/home/user/in.txt").await.unwrap();
    files.write("rel/b.bin", &[0, 0xff]).await.unwrap();
    files.write_all(&[("/home/user/m1", b"1"), ("/home/user/m2", b"2")]).await.unwrap();
    files.as_user("root").write("/home/user/asuser", b"x").await.unwrap();
    files.list("/home/user", 2).await.unwrap();
    files.stat("/home/user/in.txt").await.unwrap();
    files.stat("/nope").await.unwrap_err();
    files.make_dir("/home/user/dir").await.unwrap();
    files.rename("/home/user/m1", "/home/user/m3").await.unwrap();
    files.remove("/home/user/m3").await.unwrap();
    files.stat("/home/user/in.txt").await.unwrap();
    files.read("/nope").await.unwrap_err();
    drop(watch);
    sandbox.kill().await.unwrap();
    files.read("/home/user/in.txt").await.unwrap_err();
    files.list("/home/user", 1).await.unwrap_err();

    let left_out = |request: &Value| {
        request["path"] == "/process.Process/Start"
            || request["path"] == "/health"
            || request["headers"]["content-type"] == "application/octet-stream"
    };
    let recorded = recording("files_commands");
    check(&fake, recorded.into_iter().filter(|request| !left_out(request)).collect());
}
