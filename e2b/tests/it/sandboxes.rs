//! Life cycle of sandboxes, and its failures.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use claude_relay_e2b::error::Error;
use claude_relay_e2b::sandbox::ALL_TRAFFIC;
use claude_relay_e2b::settings::Options;
use claude_relay_e2b::{Egress, Filter, Killed, NewSandbox, Paused, SandboxState};
use claude_relay_testing::e2b::{API_KEY, Fault};
use serde_json::json;

use crate::support::{SOON, client, fake};

#[tokio::test]
async fn a_whole_life() {
    let (fake, e2b) = fake().await;
    let mut new = NewSandbox::new("claude-agent-server");
    new.timeout = Duration::from_millis(90_500);
    new.metadata = BTreeMap::from([("owner".to_owned(), "me & you = us".to_owned())]);
    new.variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    new.egress = Egress { allow: vec!["example.com".into()], deny: vec![ALL_TRAFFIC.into()] };
    new.auto_pause = true;
    new.auto_resume = true;
    let sandbox = e2b.create(&new).await.unwrap();
    let id = sandbox.id().clone();
    assert!((89..=91).contains(&fake.seconds_left(id.as_str()).unwrap()));
    assert_eq!(sandbox.host(3000), format!("3000-{id}.e2b.app"));

    let info = e2b.info(&id).await.unwrap();
    assert_eq!((info.state, info.cpus, info.memory_mb), (SandboxState::Running, 2, 2048));
    assert!(info.started_at <= SystemTime::now() && info.end_at > SystemTime::now());
    assert_eq!(info.metadata, new.metadata);

    let filter = Filter { metadata: new.metadata.clone(), states: vec![] };
    assert_eq!(e2b.list(&filter).await.unwrap().len(), 1);
    let other = BTreeMap::from([("owner".to_owned(), "me".to_owned())]);
    let filter = Filter { metadata: other, states: vec![] };
    assert!(e2b.list(&filter).await.unwrap().is_empty());

    sandbox.set_timeout(Duration::from_secs(30)).await.unwrap();
    assert!(fake.seconds_left(id.as_str()).unwrap() <= 30);
    e2b.set_egress(&id, &Egress { allow: vec![], deny: vec!["10.0.0.0/8".into()] }).await.unwrap();
    assert_eq!(fake.network(id.as_str()).unwrap(), json!({"denyOut": ["10.0.0.0/8"]}));
    assert_eq!(e2b.logs(&id).await.unwrap()[0].message, "sandbox started");

    assert_eq!(sandbox.pause().await.unwrap(), Paused::Now);
    assert_eq!(sandbox.pause().await.unwrap(), Paused::Already);
    assert_eq!(e2b.info(&id).await.unwrap().state, SandboxState::Paused);
    let running = Filter { states: vec![SandboxState::Running], ..Filter::default() };
    assert!(e2b.list(&running).await.unwrap().is_empty());
    let resumed = e2b.connect(&id, Duration::from_secs(600)).await.unwrap();
    assert!(fake.seconds_left(id.as_str()).unwrap() > 590);
    assert_eq!(e2b.info(&id).await.unwrap().state, SandboxState::Running);

    assert_eq!(resumed.kill().await.unwrap(), Killed::Now);
    assert_eq!(sandbox.kill().await.unwrap(), Killed::AlreadyGone);
    assert!(matches!(e2b.info(&id).await, Err(Error::NotFound(_))));
    assert!(matches!(e2b.connect(&id, SOON).await, Err(Error::NotFound(_))));
    fake.finish();
}

#[tokio::test]
async fn a_list_is_read_page_after_page() {
    let (fake, e2b) = fake().await;
    fake.page_size(3);
    for _ in 0..8 {
        e2b.create(&NewSandbox::new("base")).await.unwrap();
    }
    let listed = e2b.list(&Filter::default()).await.unwrap();
    assert_eq!(listed.len(), 8);
    for info in listed {
        e2b.kill(&info.id).await.unwrap();
    }
    fake.finish();
}

#[tokio::test]
async fn refusals_of_create_are_typed_and_leave_nothing() {
    let (fake, e2b) = fake().await;
    let new = NewSandbox::new("base");
    type Expected = fn(&Error) -> bool;
    let cases: [(u16, Expected); 6] = [
        (400, |error| matches!(error, Error::Rejected(_))),
        (401, |error| matches!(error, Error::Unauthorized(_))),
        (403, |error| matches!(error, Error::Forbidden(_))),
        (404, |error| matches!(error, Error::NotFound(_))),
        (429, |error| matches!(error, Error::RateLimited { retry_after: None, .. })),
        (500, |error| matches!(error, Error::Failed(_))),
    ];
    for (status, expected) in cases {
        fake.fail("POST /sandboxes", Fault::refuse(status, "the API's own words"));
        let error = e2b.create(&new).await.unwrap_err();
        assert!(expected(&error), "{status}: {error:?}");
        assert!(error.to_string().contains("the API's own words"), "{error}");
        assert_eq!(error.refusal().unwrap().status, status);
    }
    let error = e2b.create(&NewSandbox::new("no-such-template")).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    assert_eq!(fake.requests().len(), 7, "none of them may be repeated");
    fake.finish();
}

#[tokio::test]
async fn a_rate_limit_that_says_when_is_waited_for() {
    let (fake, e2b) = fake().await;
    let limit = |seconds: &str| Fault::Refuse {
        status: 429,
        body: json!({"code": 429, "message": "slow down"}),
        headers: vec![("retry-after", seconds.to_owned())],
    };
    fake.fail_times(3, "POST /sandboxes", &limit("0"));
    e2b.create(&NewSandbox::new("base")).await.unwrap().kill().await.unwrap();
    assert_eq!(fake.counts().0, 1);

    fake.fail_times(4, "POST /sandboxes", &limit("0"));
    let error = e2b.create(&NewSandbox::new("base")).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { retry_after: Some(_), .. }), "{error}");

    // A longer wait than the time limit of the request is an error.
    fake.fail("POST /sandboxes", limit("3600"));
    let error = e2b.create(&NewSandbox::new("base")).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { .. }), "{error}");
    fake.finish();
}

#[tokio::test]
async fn a_want_of_capacity_is_tried_again() {
    let (fake, e2b) = fake().await;
    fake.fail("POST /sandboxes", Fault::Refuse {
        status: 503,
        body: json!({"code": 503, "message": "full", "error_code": "sandbox_capacity_unavailable"}),
        headers: vec![],
    });
    e2b.create(&NewSandbox::new("base")).await.unwrap().kill().await.unwrap();
    assert_eq!(fake.requests().len(), 3);
    // A 503 without such a code may arrive after the sandbox was created.
    fake.fail("POST /sandboxes", Fault::refuse(503, "upstream"));
    assert!(matches!(e2b.create(&NewSandbox::new("base")).await, Err(Error::Failed(_))));
    assert_eq!(fake.requests().len(), 4);
    fake.finish();
}

#[tokio::test]
async fn create_is_never_repeated_when_its_answer_is_lost_and_the_orphan_is_found_by_its_mark() {
    let (fake, e2b) = fake().await;
    let mut new = NewSandbox::new("base");
    new.metadata = BTreeMap::from([("run".to_owned(), "7".to_owned())]);
    for fault in [Fault::CutAfter, Fault::Garbage] {
        fake.fail("POST /sandboxes", fault);
        let error = e2b.create(&new).await.unwrap_err();
        let lost = matches!(error, Error::Unreachable { sent: true, .. } | Error::Malformed { .. });
        assert!(lost, "{error:?}");
    }
    assert_eq!(fake.counts().0, 2, "one for each request");
    let filter = Filter { metadata: new.metadata.clone(), states: vec![] };
    for orphan in e2b.list(&filter).await.unwrap() {
        e2b.kill(&orphan.id).await.unwrap();
    }
    fake.finish();
}

#[tokio::test]
async fn no_answer_ends_in_time_and_says_so() {
    let (fake, _) = fake().await;
    let options =
        Options { request_timeout: Some(Duration::from_millis(200)), ..Options::default() };
    let e2b = client(&fake, options);
    fake.fail("POST /sandboxes", Fault::Hang);
    let error = e2b.create(&NewSandbox::new("base")).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error}");
    fake.finish();
}

#[tokio::test]
async fn nobody_there_is_told_from_an_answer_that_was_lost() {
    let (fake, e2b) = fake().await;
    drop(fake);
    let error = tokio::time::timeout(SOON, async {
        loop {
            // The fake closes its port a moment after it was dropped.
            match e2b.create(&NewSandbox::new("base")).await {
                Err(error @ Error::Unreachable { sent: false, .. }) => return error,
                _ => tokio::task::yield_now().await,
            }
        }
    });
    assert!(error.await.unwrap().to_string().contains("127.0.0.1"));
}

#[tokio::test]
async fn a_kill_is_tried_again_until_the_sandbox_is_gone() {
    let (fake, e2b) = fake().await;
    for fault in [Fault::CutBefore, Fault::CutAfter, Fault::refuse(500, "oops")] {
        let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
        fake.fail("DELETE /sandboxes/{sandboxID}", fault);
        sandbox.kill().await.unwrap();
    }
    fake.finish();
}

#[tokio::test]
async fn a_guard_kills_what_nobody_holds_any_more() {
    let (fake, e2b) = fake().await;
    let guard = e2b.create_guarded(&NewSandbox::new("base")).await.unwrap();
    assert_eq!(fake.alive().len(), 1);
    drop(guard);
    assert!(e2b.wait_for_cleanup(SOON).await);
    fake.finish();

    let guard = e2b.create_guarded(&NewSandbox::new("base")).await.unwrap();
    let kept = guard.keep().unwrap();
    assert!(e2b.wait_for_cleanup(SOON).await);
    assert_eq!(fake.alive(), [kept.id().as_str()]);
    kept.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn a_create_that_is_dropped_in_the_middle_leaves_nothing() {
    let (fake, e2b) = fake().await;
    let new = NewSandbox::new("base");
    // Dropped before the first poll, after one poll, and after some time.
    drop(e2b.create_guarded(&new));
    for _ in 0..20 {
        let start = e2b.create_guarded(&new);
        let _ = tokio::time::timeout(Duration::ZERO, start).await;
    }
    for millis in 0..20 {
        let start = e2b.create_guarded(&new);
        let _ = tokio::time::timeout(Duration::from_millis(millis), start).await;
    }
    assert!(e2b.wait_for_cleanup(SOON).await);
    assert!(fake.counts().0 > 0, "the test needs at least one created sandbox");
    fake.finish();
}

#[tokio::test]
async fn the_key_is_given_to_nobody_but_the_api() {
    // The key is not sent to a redirect's target, nor included in an error or
    // an endpoint.
    let (fake, e2b) = fake().await;
    let (elsewhere, _) = crate::support::fake().await;
    fake.fail(
        "POST /sandboxes",
        Fault::Refuse {
            status: 307,
            body: json!({}),
            headers: vec![("location", format!("{}/sandboxes", elsewhere.url()))],
        },
    );
    let error = e2b.create(&NewSandbox::new("base")).await.unwrap_err();
    assert!(matches!(error, Error::Rejected(_)), "{error}");
    assert!(elsewhere.requests().is_empty());

    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    for port in [3000, 49983] {
        let endpoint = sandbox.endpoint(port).unwrap();
        let headers: Vec<_> = endpoint.headers.values().map(|value| value.as_bytes()).collect();
        assert!(!headers.contains(&API_KEY.as_bytes()));
        assert!(!endpoint.url.as_str().contains(API_KEY));
    }
    let said = format!("{error} {error:?} {e2b:?} {sandbox:?} {:?}", sandbox.endpoint(3000));
    assert!(!said.contains(API_KEY), "{said}");
    assert!(!said.contains("token-of"), "tokens are secrets too: {said}");
    sandbox.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn a_port_is_reached_with_what_the_edge_wants() {
    let (fake, e2b) = fake().await;
    let restricted = e2b.create(&NewSandbox::new("base")).await.unwrap();
    let endpoint = restricted.endpoint(3000).unwrap();
    assert_eq!(endpoint.headers["e2b-sandbox-port"], "3000");
    let token = endpoint.headers["e2b-traffic-access-token"].to_str().unwrap().to_owned();
    assert_eq!(token, format!("traffic-token-of-{}", restricted.id()));
    let envd = restricted.endpoint(49983).unwrap();
    assert!(!envd.headers.contains_key("e2b-traffic-access-token"));
    restricted.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn debug_mode_makes_and_ends_nothing() {
    let (fake, _) = fake().await;
    let e2b = client(&fake, Options { debug: Some(true), ..Options::default() });
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    assert_eq!(sandbox.id().as_str(), "debug_sandbox_id");
    assert_eq!(sandbox.host(3000), "localhost:3000");
    sandbox.set_timeout(SOON).await.unwrap();
    sandbox.kill().await.unwrap();
    assert!(fake.requests().is_empty());
}
