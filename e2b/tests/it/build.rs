//! Builds of templates through the library.

use std::time::Duration;

use claude_relay_e2b::build::{BuildError, BuildEvent, BuildRequest, DEFAULT_BUILD_TIMEOUT, build};
use claude_relay_e2b::context::ContextError;
use claude_relay_e2b::error::Error;
use claude_relay_e2b::template::{Copy, Template};
use claude_relay_e2b::templates::Size;
use claude_relay_testing::e2b::Fault;

use crate::support::fake;

fn request(template: Template) -> BuildRequest {
    BuildRequest {
        name: "relay:v1".parse().unwrap(),
        tags: vec!["stable".parse().unwrap()],
        size: Size { cpus: 2, memory_mb: 2048 },
        template,
        timeout: DEFAULT_BUILD_TIMEOUT,
    }
}

fn context() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("app")).unwrap();
    std::fs::write(dir.path().join("app/main.rs"), "fn main() {}").unwrap();
    std::fs::write(dir.path().join("app/.env"), "SECRET=1").unwrap();
    std::fs::write(dir.path().join(".dockerignore"), "**/.env").unwrap();
    dir
}

#[tokio::test]
async fn a_build_uploads_runs_and_tells_its_log() {
    let (fake, e2b) = fake().await;
    let dir = context();
    let template = Template::from_image("debian:trixie-slim")
        .copy(Copy::new(dir.path(), "app", "/srv/app"))
        .run("true")
        .start("server")
        .ready("true");
    let (mut lines, mut uploads, mut there) = (Vec::new(), 0, 0);
    let built = build(&e2b, &request(template.clone()), |event| match event {
        BuildEvent::Log(log) => lines.push(log.message.clone()),
        BuildEvent::Uploading { .. } => uploads += 1,
        _ => {}
    })
    .await
    .unwrap();
    assert_eq!(built.names, ["team/relay"]);
    assert_eq!(built.tags, ["v1", "stable"]);
    assert_eq!(
        (lines.first().unwrap().as_str(), lines.len(), uploads),
        ("[base] FROM debian:trixie-slim", 5, 1)
    );

    let put = fake.requests().into_iter().find(|request| request.method == "PUT").unwrap();
    let hash = put.path.rsplit('/').next().unwrap().trim_end_matches(".tar").to_owned();
    let names: Vec<_> = fake.uploaded(&hash).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["app/", "app/main.rs"], "files in .dockerignore are left out");

    // The second upload of the same files is skipped.
    build(&e2b, &request(template), |event| match event {
        BuildEvent::AlreadyThere(_) => there += 1,
        BuildEvent::Uploading { .. } => panic!("uploaded again"),
        _ => {}
    })
    .await
    .unwrap();
    assert_eq!(there, 1);
    fake.finish();
}

#[tokio::test]
async fn a_failing_step_is_named_with_its_output() {
    let (fake, e2b) = fake().await;
    fake.fail_step("2", "failed to run command 'false': exit status 1");
    let template = Template::from_image("debian").run("true").run("false").run("echo");
    let error = build(&e2b, &request(template), |_| {}).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to run command 'false': exit status 1");
    let BuildError::Failed(failed) = error else { panic!("{error}") };
    assert_eq!(failed.step.as_deref(), Some("step 2 of 3: RUN false"));
    let output: Vec<_> = failed.output.iter().map(|log| log.message.as_str()).collect();
    assert_eq!(output.len(), 2, "only lines of this step: {output:?}");
    assert!(output[1].contains("the output of the step"));
    fake.finish();
}

#[tokio::test]
async fn the_last_lines_of_a_log_are_not_lost() {
    let (fake, e2b) = fake().await;
    fake.log_pages(&[1, 1, 100]);
    let template = (0..50)
        .fold(Template::from_image("debian"), |template, n| template.run(format!("echo {n}")));
    let mut lines = 0;
    build(&e2b, &request(template), |event| {
        lines += usize::from(matches!(event, BuildEvent::Log(_)));
    })
    .await
    .unwrap();
    assert_eq!(lines, 53);
    fake.finish();
}

#[tokio::test]
async fn a_cut_connection_does_not_lose_the_sight_of_a_build() {
    let (fake, e2b) = fake().await;
    let route = "GET /templates/{templateID}/builds/{buildID}/status";
    fake.fail(route, Fault::CutBefore);
    fake.fail(route, Fault::refuse(500, "oops"));
    let (mut failures, mut lines) = (0, 0);
    build(&e2b, &request(Template::from_image("debian").run("true")), |event| match event {
        BuildEvent::PollFailed(_) => failures += 1,
        BuildEvent::Log(_) => lines += 1,
        _ => {}
    })
    .await
    .unwrap();
    // The cut request is repeated without a word.
    assert_eq!((failures, lines), (1, 4), "each line once");
    fake.finish();
}

#[tokio::test]
async fn every_request_of_a_build_may_fail_and_says_which() {
    for route in [
        "POST /v3/templates",
        "GET /templates/{templateID}/files/{hash}",
        "PUT upload",
        "POST /v2/templates/{templateID}/builds/{buildID}",
        "GET /templates/{templateID}/builds/{buildID}/status",
    ] {
        let (fake, e2b) = fake().await;
        let dir = context();
        let template =
            Template::from_image("debian").copy(Copy::new(dir.path(), "app", "/srv/app"));
        fake.fail(route, Fault::refuse(403, "the API's own words"));
        let error = build(&e2b, &request(template), |_| {}).await.unwrap_err();
        assert!(matches!(error, BuildError::Api(Error::Forbidden(_))), "{route}: {error}");
        assert!(error.to_string().contains("the API's own words"), "{error}");
        fake.finish();
    }
}

#[tokio::test]
async fn an_upload_is_tried_again() {
    let (fake, e2b) = fake().await;
    let dir = context();
    fake.fail("PUT upload", Fault::CutBefore);
    fake.fail("PUT upload", Fault::refuse(500, "storage"));
    let template = Template::from_image("debian").copy(Copy::new(dir.path(), "app", "/srv/app"));
    build(&e2b, &request(template), |_| {}).await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn files_that_cannot_be_sent_leave_no_build_behind() {
    let (fake, e2b) = fake().await;
    let dir = context();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("app/link")).unwrap();
    let template = Template::from_image("debian").copy(Copy::new(dir.path(), "app", "/srv/app"));
    let error = build(&e2b, &request(template), |_| {}).await.unwrap_err();
    assert!(matches!(error, BuildError::Context(ContextError::Symlink(_))), "{error}");
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn a_build_that_takes_too_long_is_given_up() {
    let (fake, e2b) = fake().await;
    fake.log_pages(&[1; 100]);
    let template = (0..90)
        .fold(Template::from_image("debian"), |template, n| template.run(format!("echo {n}")));
    let mut request = request(template);
    request.timeout = Duration::from_millis(500);
    let error = build(&e2b, &request, |_| {}).await.unwrap_err();
    assert!(matches!(error, BuildError::TimedOut { .. }), "{error}");
    fake.finish();
}

#[tokio::test]
async fn tags_and_names_are_looked_up_set_and_removed() {
    let (fake, e2b) = fake().await;
    let template = Template::from_image("debian").run("true");
    let built = build(&e2b, &request(template), |_| {}).await.unwrap();
    let name = "relay".parse().unwrap();
    assert_eq!(e2b.template_id(&name).await.unwrap(), Some(built.template));
    assert_eq!(e2b.template_id(&"other".parse().unwrap()).await.unwrap(), None);
    e2b.add_tags(&"relay:v1".parse().unwrap(), &["prod".parse().unwrap()]).await.unwrap();
    e2b.remove_tags(&name, &["stable".parse().unwrap()]).await.unwrap();
    let tags: Vec<_> = e2b.tags(&name).await.unwrap().into_iter().map(|tag| tag.tag).collect();
    assert_eq!(tags, ["prod", "v1"]);
    fake.finish();
}
