//! Life cycle of sandboxes, and its failures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use claude_relay_e2b::error::Error;
use claude_relay_e2b::sandbox::ALL_TRAFFIC;
use claude_relay_e2b::settings::Options;
use claude_relay_e2b::{Egress, Filter, Killed, NewSandbox, Paused, SandboxState};
use claude_relay_testing::e2b::{API_KEY, Fault, Generations};
use serde_json::json;

use crate::support::{SOON, client, fake};

#[tokio::test]
async fn a_whole_life() {
    let (fake, e2b) = fake().await;
    let mut new = NewSandbox::new("claude-agent-server");
    new.timeout = Duration::from_millis(90_500);
    new.metadata = BTreeMap::from([("owner".to_owned(), "me & you = us".to_owned())]);
    new.variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    new.egress = Egress {
        allow: vec!["example.com".into()],
        deny: vec![ALL_TRAFFIC.into()],
        ..Egress::default()
    };
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
    let egress = Egress { deny: vec!["10.0.0.0/8".into()], ..Egress::default() };
    e2b.set_egress(&id, &egress).await.unwrap();
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
        fake.fail("POST /sandboxes", Fault::refuse(status, "the API's own words about base"));
        let error = e2b.create(&new).await.unwrap_err();
        assert!(expected(&error), "{status}: {error:?}");
        assert!(error.to_string().contains("the API's own words"), "{error}");
        assert_eq!(error.refusal().unwrap().status, status);
    }
    let error = e2b.create(&NewSandbox::new("no-such-template")).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    assert_eq!(fake.requests().len(), 7, "none of them may be repeated");
    let refused =
        json!({"code": 503, "message": "not here", "error_code": "sandbox_create_refused"});
    fake.fail("POST /sandboxes", Fault::Refuse { status: 503, body: refused, headers: vec![] });
    let error = e2b.create_guarded(&new).await.unwrap_err();
    assert!(matches!(error, Error::Rejected(_)), "{error:?}");
    assert!(e2b.wait_for_cleanup(SOON).await);
    assert_eq!(fake.requests().len(), 8, "nothing was made, so nothing is looked for");
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
    fake.finish();

    // A 503 without such a code may arrive after the sandbox was created.
    let (fake, e2b) = crate::support::fake().await;
    fake.has(Generations::First);
    e2b.create(&NewSandbox::new("base")).await.unwrap().kill().await.unwrap();
    let before = fake.requests().len();
    fake.fail("POST /sandboxes", Fault::refuse(503, "upstream"));
    assert!(matches!(e2b.create(&NewSandbox::new("base")).await, Err(Error::Failed(_))));
    assert_eq!(fake.requests().len(), before + 1);
    fake.finish();
}

#[tokio::test]
async fn a_lost_answer_to_create_is_asked_for_again_under_the_same_key() {
    for fault in [Fault::CutBefore, Fault::CutAfter, Fault::refuse(502, "gateway")] {
        let (fake, e2b) = fake().await;
        fake.fail_times(2, "POST /sandboxes", &fault);
        let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
        assert_eq!(fake.counts().0, 1, "{fault:?}");
        let keys: BTreeSet<String> = fake
            .requests()
            .iter()
            .filter(|request| request.path == "/v2/sandboxes")
            .map(|request| request.headers["idempotency-key"].clone())
            .collect();
        assert_eq!(keys.len(), 1);
        sandbox.kill().await.unwrap();
        fake.finish();
    }
}

#[tokio::test]
async fn a_server_of_either_generation_alone_is_served() {
    for generations in [Generations::First, Generations::Second, Generations::Both] {
        let (fake, e2b) = fake().await;
        fake.has(generations);
        let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
        let id = sandbox.id().clone();
        e2b.connect(&id, SOON).await.unwrap();
        sandbox.pause().await.unwrap();
        e2b.connect(&id, SOON).await.unwrap();
        let error = e2b.create(&NewSandbox::new("no-such-template")).await.unwrap_err();
        assert!(error.to_string().contains("'no-such-template' not found"), "{error}");
        sandbox.kill().await.unwrap();
        assert!(matches!(e2b.connect(&id, SOON).await, Err(Error::NotFound(_))));
        let asked = fake.requests();
        let second = asked.iter().filter(|request| request.path.starts_with("/v2/sandboxes"));
        match generations {
            Generations::First => assert_eq!(second.count(), 1, "it is asked once"),
            _ => assert_eq!(second.count(), 5),
        }
        // And one that begins by coming back.
        let other = client(&fake, Options::default());
        let error = other.connect(&id, SOON).await.unwrap_err();
        assert!(matches!(&error, Error::NotFound(_)) && error.to_string().contains(id.as_str()));
        fake.finish();
    }
}

#[tokio::test]
async fn a_sandbox_between_two_states_is_waited_for() {
    let (fake, e2b) = fake().await;
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    let body = json!({"code": 409, "message": "wait", "error_code": "sandbox_start_in_flight"});
    let moment = Fault::Refuse { status: 409, body, headers: vec![] };
    fake.fail_times(2, "POST /sandboxes/{sandboxID}/connect", &moment);
    e2b.connect(sandbox.id(), SOON).await.unwrap();

    let unresponsive = "sandbox_snapshot_guest_agent_unresponsive";
    let body = json!({"code": 409, "message": "wedged", "error_code": unresponsive});
    let wedged = Fault::Refuse { status: 409, body, headers: vec![] };
    fake.fail("POST /sandboxes/{sandboxID}/connect", wedged);
    let before = fake.requests().len();
    let error = e2b.connect(sandbox.id(), SOON).await.unwrap_err();
    assert!(matches!(error, Error::GuestUnresponsive(_)), "{error:?}");
    assert_eq!(fake.requests().len(), before + 1, "waiting does not help");
    e2b.reboot(sandbox.id(), SOON).await.unwrap();
    let rebooted: serde_json::Value =
        serde_json::from_slice(&fake.requests()[before + 1].body).unwrap();
    assert_eq!(rebooted["memory"], false);
    sandbox.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn a_sandbox_is_forked_and_each_copy_has_its_own_outcome() {
    let (fake, e2b) = fake().await;
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    sandbox.files().unwrap().write("/tmp/a", b"1").await.unwrap();
    fake.refuse_fork(1);
    let forks = e2b.fork(sandbox.id(), 3, SOON).await.unwrap();
    assert_eq!(forks.iter().filter(|fork| fork.is_ok()).count(), 2);
    assert!(matches!(&forks[1], Err(error) if error.to_string().contains("no room for this one")));
    for fork in forks.into_iter().flatten() {
        assert_ne!(fork.id(), sandbox.id());
        assert_eq!(&*fork.files().unwrap().read("/tmp/a").await.unwrap(), b"1");
        fork.kill().await.unwrap();
    }
    for count in [0, 101] {
        let error = e2b.fork(sandbox.id(), count, SOON).await.unwrap_err();
        assert!(matches!(error, Error::Argument(_)), "{error}");
    }
    // A lost answer is not asked for again: it would fork once more.
    fake.fail("POST /sandboxes/{sandboxID}/fork", Fault::refuse(502, "gateway"));
    let before = fake.requests().len();
    assert!(e2b.fork(sandbox.id(), 1, SOON).await.is_err());
    assert_eq!(fake.requests().len(), before + 1);

    let snapshot = e2b.snapshot(sandbox.id(), Some("mine"), false).await.unwrap();
    assert_eq!(snapshot.id, "team/mine:default");
    let metrics = e2b.metrics(sandbox.id()).await.unwrap();
    assert!(metrics[0].cpu_count == 2 && metrics[0].mem_total > metrics[0].mem_used);
    sandbox.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn a_command_is_run_with_its_output_and_exit_code() {
    use claude_relay_e2b::exec::ExecEvent;

    let (fake, e2b) = fake().await;
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    let files = sandbox.files().unwrap();
    for (command, code) in [("echo out; echo err >&2; exit 3", 3), ("echo out; echo err >&2", 0)] {
        let mut running = files.exec(command, None).await.unwrap();
        let mut events = Vec::new();
        while let Some(event) = running.next().await.unwrap() {
            events.push(event);
        }
        assert_eq!(
            events,
            [
                ExecEvent::Started { pid: 1234 },
                ExecEvent::Stdout(b"out\n".to_vec()),
                ExecEvent::Stderr(b"err\n".to_vec()),
                ExecEvent::Ended { code, status: format!("exit status {code}") },
            ]
        );
    }
    sandbox.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn a_sandbox_that_refuses_its_token_does_not_blame_the_key_of_the_account() {
    let (fake, e2b) = fake().await;
    let sandbox = e2b.create(&NewSandbox::new("base")).await.unwrap();
    fake.fail("GET /files", Fault::refuse(401, "unauthenticated"));
    let error = sandbox.files().unwrap().read("/tmp/a").await.unwrap_err();
    assert!(matches!(error, Error::SandboxUnauthorized(_)), "{error:?}");
    assert!(!error.to_string().contains("E2B_API_KEY"), "{error}");
    sandbox.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn without_keys_create_is_never_repeated_and_the_orphan_is_found_by_its_mark() {
    let (fake, e2b) = fake().await;
    fake.has(Generations::First);
    e2b.create(&NewSandbox::new("base")).await.unwrap().kill().await.unwrap();
    let mut new = NewSandbox::new("base");
    new.metadata = BTreeMap::from([("run".to_owned(), "7".to_owned())]);
    for fault in [Fault::CutAfter, Fault::Garbage] {
        fake.fail("POST /sandboxes", fault);
        let error = e2b.create(&new).await.unwrap_err();
        let lost = matches!(error, Error::Unreachable { sent: true, .. } | Error::Malformed { .. });
        assert!(lost, "{error:?}");
    }
    assert_eq!(fake.counts().0, 3, "one for each request");
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
    let limited = Fault::refuse(429, "slow down");
    for fault in [Fault::CutBefore, Fault::CutAfter, Fault::refuse(500, "oops"), limited] {
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
