//! From the creation to the end.

use serde_json::Value;

use super::*;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;

#[tokio::test]
async fn a_sandbox_is_created_claimed_asked_and_ended() {
    let cloud = Cloud::start().await;
    let builder = cloud.client().model("m").configure_sandbox(|new| {
        new.metadata.insert("run".to_owned(), "7".to_owned());
    });
    let client = soon(builder.start()).await.unwrap();
    let id = cloud.only_one();
    assert_eq!(client.sandbox().unwrap().id().as_str(), id);
    let answer = soon(client.ask("hello")).await.unwrap();
    assert!(answer.text.contains("hello"), "{}", answer.text);

    // The request: no public traffic, five minutes, metadata.
    let created: Value =
        serde_json::from_slice(&cloud.asked("POST", "/sandboxes")[0].body).unwrap();
    assert_eq!(created["templateID"], "claude-agent-server");
    assert_eq!(created["timeout"], 300);
    assert_eq!(created["network"]["allowPublicTraffic"], false);
    assert_eq!(created["metadata"]["started-by"], "claude-relay");
    assert_eq!(created["metadata"]["run"], "7");
    assert_eq!(created.get("envVars"), None, "the server would never see them");

    // The server was reached with the traffic token and the claim,
    // on every request, the upgrade among them.
    let reached: Vec<_> = cloud.fake.requests();
    let reached: Vec<_> = reached.iter().filter(|r| r.channel == Channel::SandboxProxy).collect();
    assert!(reached.iter().any(|request| request.path == "/ws"));
    let claim = String::from_utf8(cloud.fake.file(&id, TOKEN_FILE).unwrap()).unwrap();
    assert_eq!(claim.len(), 64);
    for request in reached {
        let header = |name: &str| request.headers[name].clone();
        assert_eq!(header("e2b-traffic-access-token"), format!("traffic-token-of-{id}"));
        assert_eq!(header("authorization"), format!("Bearer {claim}"), "{request:?}");
    }
    let configured = &cloud.asked("POST", "/config")[0].body;
    let configured: Value = serde_json::from_slice(configured).unwrap();
    assert_eq!((&configured["model"], &configured["authToken"]), (&"m".into(), &claim.into()));

    // A client that reaches the server directly has no token.
    let direct = Client::builder().connection_url(&cloud.relay.url).environment(false);
    let refused = soon(direct.get_configuration()).await.unwrap_err();
    assert!(matches!(refused, RequestError::Unauthorized { .. }), "{refused:?}");

    soon(client.stop()).await;
    assert!(cloud.fake.alive().is_empty(), "stop waits for the end");
    soon(client.stop()).await;
    assert_eq!(cloud.asked("DELETE", &id).len(), 1);
    cloud.finish().await;
}

#[tokio::test]
async fn from_the_build_of_the_template_to_the_end() {
    use claude_relay_client::e2b::build::{BuildRequest, DEFAULT_BUILD_TIMEOUT, build};
    use claude_relay_client::e2b::relay::{RelayTemplate, ServerFrom};
    use claude_relay_client::e2b::template_defaults::DEFAULT_NAME;
    use claude_relay_client::e2b::templates::Size;

    let cloud = Cloud::start().await;
    cloud.fake.insist_on_templates();
    let error = failed(cloud.client()).await;
    assert!(error.to_string().contains("'claude-agent-server' not found"), "{error}");

    // Any program will do: what is built is never run by the fake.
    let program = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(program.path(), "a server").unwrap();
    let relay = RelayTemplate {
        server: ServerFrom::Binary(program.path().to_owned()),
        cli_version: Default::default(),
        image: None,
        packages: Vec::new(),
    };
    let request = BuildRequest {
        name: DEFAULT_NAME.parse().unwrap(),
        tags: vec![],
        size: Size { cpus: 2, memory_mb: 2048 },
        template: relay.definition(),
        timeout: DEFAULT_BUILD_TIMEOUT,
    };
    soon(build(&cloud.e2b, &request, |_| {})).await.unwrap();

    let client = soon(cloud.client().template("").start()).await.unwrap();
    soon(client.files().unwrap().write("input.txt", "to be read")).await.unwrap();
    assert!(soon(client.ask("hello")).await.unwrap().text.contains("hello"));
    soon(client.kill()).await.unwrap();
    cloud.finish().await;
}

#[tokio::test]
async fn a_sandbox_of_a_pool_is_claimed_when_it_is_handed_out_and_gives_its_place_back() {
    use claude_relay_client::e2b::{NewSandbox, PoolOptions, SandboxPool};

    let cloud = Cloud::start().await;
    let options = PoolOptions {
        name: "conversations".into(),
        new: NewSandbox::new("claude-agent-server"),
        max_size: 1,
        warm: 1,
        starting: 1,
    };
    let pool = SandboxPool::open(cloud.e2b.clone(), options).unwrap();
    let lease = soon(pool.take()).await.unwrap();
    let id = cloud.only_one();
    let client = soon(cloud.client().start_in(lease)).await.unwrap();
    assert!(cloud.fake.file(&id, TOKEN_FILE).is_some());
    soon(client.ask("hello")).await.unwrap();
    soon(client.stop()).await;
    assert!(!cloud.fake.alive().contains(&id));
    // Its place is free, and taken again at once.
    let lease = soon(pool.take()).await.unwrap();
    cloud.fake.fail("POST 3000/config", Fault::refuse(403, "not you"));
    soon(cloud.client().start_in(lease)).await.unwrap_err();
    assert!(soon(pool.close(CLEANUP)).await);
    cloud.finish().await;
}

#[tokio::test]
async fn an_address_beats_a_template() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().connection_url(&cloud.relay.url).start()).await.unwrap();
    assert!(client.sandbox().is_none());
    assert!(matches!(client.files(), Err(SandboxError::NoSandbox)));
    assert!(matches!(soon(client.detach()).await, Err(SandboxError::NoSandbox)));
    assert!(matches!(soon(client.pause()).await, Err(SandboxError::NoSandbox)));
    assert!(matches!(soon(client.kill()).await, Err(SandboxError::NoSandbox)));
    soon(client.ask("still there?")).await.unwrap();
    assert!(cloud.fake.requests().is_empty());
    cloud.finish().await;
}

#[tokio::test]
async fn it_ends_with_the_last_of_its_clients() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    let (other, messages) = (client.clone(), client.messages());
    drop((client, messages));
    soon(other.ask("hello")).await.unwrap();
    cloud.only_one();
    drop(other);
    cloud.is_empty().await;
    cloud.finish().await;
}

#[tokio::test]
async fn its_time_is_extended_while_the_client_is_there_and_no_further() {
    let cloud = Cloud::start().await;
    let client =
        soon(cloud.client().sandbox_timeout(Duration::from_secs(15)).start()).await.unwrap();
    let id = cloud.only_one();
    wait::until("its time to be extended", || {
        (!cloud.asked("POST", "/timeout").is_empty()).then_some(())
    })
    .await;
    assert_eq!(cloud.asked("POST", "/timeout")[0].body, br#"{"timeout":15}"#);
    soon(client.detach()).await.unwrap();
    assert_eq!(cloud.only_one(), id);
    // Nobody ends it but its time.
    cloud.is_empty().await;
    assert!(cloud.asked("DELETE", "").is_empty());
    cloud.finish().await;
}

#[tokio::test]
async fn a_sandbox_whose_time_ran_out_is_told_from_a_broken_connection() {
    for reconnect_for in [Duration::from_secs(300), Duration::ZERO] {
        let cloud = Cloud::start().await;
        let builder = cloud.client().reconnect_for(reconnect_for);
        let client = soon(builder.start()).await.unwrap();
        let files = client.files().unwrap();
        let mut watch = soon(files.watch("/home/user", true)).await.unwrap();
        let mut messages = client.messages();
        let mut turn = soon(client.turn(r#"{"sleep_ms":60000}"#)).await.unwrap();
        cloud.fake.expire(&cloud.only_one());

        let ended = loop {
            if let Err(error) = soon(turn.next()).await.expect("the turn cannot end well") {
                break error;
            }
        };
        assert!(
            matches!(
                ended,
                TurnError::Connection(ConnectionError::Sandbox(SandboxError::Expired { .. }))
            ),
            "{ended:?}"
        );
        let ended = loop {
            if let Err(error) = soon(messages.next()).await.expect("an error is the last") {
                break error;
            }
        };
        assert!(
            matches!(ended, ConnectionError::Sandbox(SandboxError::Expired { .. })),
            "{ended:?}"
        );
        let error = soon(client.ask("and now?")).await.unwrap_err();
        assert!(
            matches!(
                error,
                TurnError::Send(SendError::NotDelivered {
                    source: ConnectionError::Sandbox(SandboxError::Expired { .. })
                })
            ),
            "{error:?}"
        );
        for error in
            [soon(files.read("a.txt")).await.unwrap_err(), soon(watch.next()).await.unwrap_err()]
        {
            assert!(matches!(error, SandboxError::Expired { .. }), "{error:?}");
        }
        soon(client.stop()).await;
        cloud.finish().await;
    }
}

/// The CLI takes its time to start on a busy machine.
async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), work).await.expect("it took too long")
}

async fn with_the_real_cli(cli: Cli) {
    let (api, env) = (MessagesApi::start(), TestEnv::new());
    // The server gets nothing from its environment but where to write: what a
    // conversation needs comes with the configuration, as in a snapshot.
    let path = cli.path();
    let arguments =
        ["--no-auth", "--claude-path", path.to_str().unwrap(), "--mode", "unrestricted"];
    let environment = [("HOME", env.home()), ("IS_SANDBOX", "1".into())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.to_str().unwrap()));
    let cloud = Cloud::with(RelayProcess::start(&arguments, &environment).await).await;
    api.script([Reply::text("Hello from the cloud."), Reply::text("And back again.")]);
    let builder = cloud.client().configure(|configuration| {
        configuration.anthropic_api_key = Some("sk-ant-made-up".into());
        configuration.anthropic_base_url = Some(api.url());
    });
    let client = soon(builder.start()).await.unwrap();
    let first = in_time(client.ask("Hi")).await.unwrap();
    assert_eq!(first.text, "Hello from the cloud.");
    let id = soon(client.pause()).await.unwrap();
    let client = soon(cloud.attach(&id).start()).await.unwrap();
    let second = in_time(client.ask("Again")).await.unwrap();
    assert_eq!(second.text, "And back again.", "the answer to this question, not to the last");
    assert_eq!(first.session_id, second.session_id);
    soon(client.stop()).await;
    cloud.relay.stop().await;
    assert!(cloud.e2b.wait_for_cleanup(CLEANUP).await);
    cloud.fake.finish();
}

#[tokio::test]
async fn with_the_oldest_cli() {
    with_the_real_cli(Cli::Oldest).await;
}

#[tokio::test]
async fn with_the_newest_cli() {
    with_the_real_cli(Cli::Newest).await;
}
