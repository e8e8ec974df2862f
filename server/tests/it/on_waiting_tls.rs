//! A webhook of `--on-waiting` behind TLS: the system's certificates decide who is
//! told. Only with the feature `tls`.

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::tls;
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A server with TLS that takes notices: its port, its certificate for `name`, and
/// the requests.
async fn hook(name: &str) -> (u16, String, mpsc::Receiver<String>) {
    let (acceptor, certificate) = tls::acceptor(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (to, requests) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that refuses the certificate ends it here.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                match stream.read_buf(&mut request).await {
                    Ok(1..) => {}
                    _ => return,
                }
            }
            let answer = b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.expect("an answer");
            let text = String::from_utf8(request).expect("text");
            to.send(text).await.expect("the test waits");
        }
    });
    (port, certificate, requests)
}

fn start(env: &TestEnv, url: &str, certificate: &str) -> Relay {
    let trusted = env.file("trusted.pem");
    std::fs::write(&trusted, certificate).expect("a file of the test");
    Launch::demo(env)
        .variable("RELAY_ON_WAITING_SECRET", "a-secret-of-the-webhook")
        .variable("SSL_CERT_FILE", trusted.to_str().expect("a path of the test"))
        .argument("--log=claude_relay_server::notify=debug")
        .argument("--on-waiting")
        .argument(url)
        .start()
}

/// Has the agent ask for a permission.
async fn ask(relay: &Relay) -> Client {
    let mut client = Client::connect(relay.address()).await;
    client.say("permission").await;
    client.until(|frame| frame["type"] == "permission_request").await;
    client
}

async fn state(relay: &Relay) -> Value {
    http::get(relay.address(), "/health").await.json()["on_waiting"].take()
}

#[tokio::test]
async fn a_webhook_behind_a_trusted_certificate_is_told() {
    let env = TestEnv::new();
    let (port, certificate, mut requests) = hook("127.0.0.1").await;
    let relay = start(&env, &format!("https://127.0.0.1:{port}/hook"), &certificate);
    let client = ask(&relay).await;
    let request = wait::soon(requests.recv()).await.expect("a request");
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{request}");
    assert!(request.contains("claude-relay-signature: sha256="), "{request}");
    wait::until_async("the notice", async || state(&relay).await["delivered"] == 1).await;
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_foreign_certificate_or_one_of_another_name_gets_nothing() {
    for is_trusted in [false, true] {
        let env = TestEnv::new();
        let (port, own, mut requests) = hook("elsewhere.example").await;
        let (_, other, _) = hook("127.0.0.1").await;
        let certificate = if is_trusted { own } else { other };
        let relay = start(&env, &format!("https://127.0.0.1:{port}/hook"), &certificate);
        let client = ask(&relay).await;
        wait::until("a failed attempt", || relay.stderr().contains("tried again in").then_some(()))
            .await;
        assert!(requests.try_recv().is_err());
        client.close().await;
        relay.stop();
    }
}

#[tokio::test]
async fn a_name_of_a_private_address_is_refused_before_the_handshake() {
    let env = TestEnv::new();
    let (port, certificate, mut requests) = hook("localhost").await;
    let relay = start(&env, &format!("https://localhost:{port}/hook"), &certificate);
    let client = ask(&relay).await;
    wait::until_async("a failure", async || {
        state(&relay).await == json!({ "delivered": 0, "failed": 1, "waiting": 0 })
    })
    .await;
    assert!(requests.try_recv().is_err());
    client.close().await;
    relay.stop();
}
