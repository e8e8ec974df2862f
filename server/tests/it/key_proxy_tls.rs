//! The key proxy to an API behind TLS: the system's certificates decide who
//! gets the key. Only with the feature `tls`.

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::tls;
use crate::support::ws::Client;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::{Gate, Reply};
use claude_relay_testing::test_env::{TEST_KEY, TestEnv};
use claude_relay_testing::tools::Cli;
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

for_both_clis! {
    a_turn_with_a_trusted_certificate,
    no_key_for_a_foreign_certificate,
    no_key_for_another_name,
}

/// An edge with TLS before `api`: its address, and its certificate for `name`.
async fn edge(api: &MessagesApi, name: &str) -> (String, String) {
    let (acceptor, certificate) = tls::acceptor(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let inside = api.url().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, inside) = (acceptor.clone(), inside.clone());
            tokio::spawn(async move {
                // A client that refuses the certificate ends it here.
                let Ok(mut outer) = acceptor.accept(stream).await else { return };
                let mut inner = TcpStream::connect(inside).await.expect("the API listens");
                // However it ends, it has ended.
                let _ = copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    (url, certificate)
}

/// A server that trusts `certificate` and has its API at `url`.
fn start(cli: Cli, env: &TestEnv, api: &MessagesApi, url: &str, certificate: &str) -> Relay {
    let trusted = env.file("trusted.pem");
    std::fs::write(&trusted, certificate).expect("a file of the test");
    Launch::unrestricted(env, &cli.path(), api)
        .argument("--key-proxy")
        .argument("--no-auth")
        .variable("ANTHROPIC_BASE_URL", url)
        .variable("SSL_CERT_FILE", trusted.to_str().expect("a path of the test"))
        .start()
}

async fn a_turn_with_a_trusted_certificate(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let (url, certificate) = edge(&api, "localhost").await;
    let relay = start(cli, &env, &api, &url, &certificate);
    let config = json!({ "includePartialMessages": true }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &config).await.status, 200);
    let mut client = Client::connect(relay.address()).await;
    let gate = Gate::closed();
    api.script([Reply::gated(&gate, ["one ", "two"])]);
    client.say("Count").await;
    for piece in ["one ", "two"] {
        gate.let_through(1);
        client.until(|frame| frame["data"]["event"]["delta"]["text"] == piece).await;
    }
    assert_eq!(client.turn().await.result()["result"], "one two");
    let request = api.turn(1).await;
    assert_eq!(request.header("x-api-key"), TEST_KEY);
    assert_eq!(request.header("host"), url.trim_start_matches("https://"));
    client.close().await;
    relay.stop();
}

async fn no_key_for_a_foreign_certificate(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let (url, _) = edge(&api, "localhost").await;
    // For the same name, by somebody else.
    let (_, certificate) = edge(&api, "localhost").await;
    refused(cli, &env, &api, &url, &certificate, "invalid peer certificate").await;
}

async fn no_key_for_another_name(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let (url, certificate) = edge(&api, "relay.invalid").await;
    refused(cli, &env, &api, &url, &certificate, "not valid for name").await;
}

/// The agent is told why there is no way, as of a server that is down, and the
/// other side gets nothing.
async fn refused(
    cli: Cli,
    env: &TestEnv,
    api: &MessagesApi,
    url: &str,
    certificate: &str,
    why: &str,
) {
    let relay = start(cli, env, api, url, certificate);
    // It would otherwise try for minutes.
    let config = json!({ "env": { "CLAUDE_CODE_MAX_RETRIES": "1" } }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &config).await.status, 200);
    let mut client = Client::connect(relay.address()).await;
    client.say("Hi").await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["is_error"], true, "{turn:#?}");
    assert_eq!(turn.result()["api_error_status"], 502, "{turn:#?}");
    let said = relay.stderr();
    assert!(said.contains("the API could not be reached") && said.contains(why), "{said}");
    assert_eq!(api.requests().len(), 0, "the other side has got something");
    client.close().await;
    relay.stop();
}
