//! What enters a sandbox, and what stays outside.

use claude_relay_client::e2b::{NewSandbox, PoolOptions, SandboxPool};
use serde_json::{Value, json};

use super::*;

const CANARY: &str = "sk-ant-api03-canary-of-the-account";

impl Cloud {
    fn with_canary(&self) -> ClientBuilder {
        self.client().configure(|configuration| {
            configuration.anthropic_api_key = Some(CANARY.into());
            let env = [("OPENAI_API_KEY", CANARY), ("MINE", "a variable")];
            let env = env.map(|(name, value)| (name.to_owned(), value.into()));
            configuration.env = Some(env.into());
        })
    }

    /// All that was sent for the guest.
    fn sent_inside(&self) -> String {
        let mut sent = String::new();
        for request in self.fake.requests() {
            sent.push_str(&match request.channel {
                Channel::Api => FakeE2b::for_the_guest(&request.body),
                _ => format!("{request:?}{}", String::from_utf8_lossy(&request.body)),
            });
        }
        sent
    }

    fn network(&self) -> Value {
        self.fake.network(&self.only_one()).unwrap()
    }
}

fn expected_rules() -> Value {
    json!({
        "api.anthropic.com": [{ "transform": { "headers": { "x-api-key": CANARY } } }],
        "api.openai.com": [
            { "transform": { "headers": { "authorization": format!("Bearer {CANARY}") } } }
        ],
    })
}

#[tokio::test]
async fn the_key_never_enters_the_sandbox() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.with_canary().start()).await.unwrap();
    soon(client.ask("hello")).await.unwrap();
    soon(client.files().unwrap().write("a.txt", "a file")).await.unwrap();
    assert_eq!(cloud.network()["rules"], expected_rules());
    assert_eq!(cloud.network().get("denyOut"), None, "egress is closed on request alone");
    soon(client.stop()).await;
    let inside = cloud.sent_inside();
    assert!(inside.contains("a variable") && inside.contains("placeholder"), "{inside}");
    assert_eq!(inside.matches(CANARY).count(), 0, "{inside}");
    cloud.finish().await;
}

#[tokio::test]
async fn the_key_is_sent_inside_on_request_alone() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.with_canary().key_in_sandbox(true).start()).await.unwrap();
    assert_eq!(cloud.network().get("rules"), None);
    assert!(cloud.sent_inside().contains(CANARY));
    soon(client.stop()).await;
    cloud.finish().await;
}

#[tokio::test]
async fn egress_is_closed_to_all_but_the_named_hosts_and_the_model() {
    let cloud = Cloud::start().await;
    let allowed = ["github.com", "*.npmjs.org"];
    let client = soon(cloud.with_canary().e2b_allow(allowed).start()).await.unwrap();
    let network = cloud.network();
    assert_eq!(
        network["allowOut"],
        json!(["github.com", "*.npmjs.org", "api.anthropic.com", "api.openai.com"])
    );
    assert_eq!(network["denyOut"], json!(["0.0.0.0/0"]));
    soon(client.stop()).await;
    cloud.finish().await;
}

#[tokio::test]
async fn the_key_of_a_sandbox_of_a_pool_stays_outside_too() {
    let cloud = Cloud::start().await;
    let mut new = NewSandbox::new("claude-agent-server");
    new.egress.deny = vec!["10.0.0.0/8".to_owned()];
    let options = PoolOptions { name: "pool".into(), new, max_size: 1, warm: 1, starting: 1 };
    let pool = SandboxPool::open(cloud.e2b.clone(), options).unwrap();
    let lease = soon(pool.take()).await.unwrap();
    let client = soon(cloud.with_canary().start_in(lease)).await.unwrap();
    let network = cloud.network();
    assert_eq!(network["rules"], expected_rules());
    assert_eq!(network["denyOut"], json!(["10.0.0.0/8"]), "what the pool closes stays closed");
    soon(client.stop()).await;
    assert_eq!(cloud.sent_inside().matches(CANARY).count(), 0);
    assert!(soon(pool.close(CLEANUP)).await);
    cloud.finish().await;
}

#[tokio::test]
async fn a_fresh_sandbox_is_reached_in_few_steps() {
    let cloud = Cloud::start().await;
    // The token is written while the server is configured.
    cloud.fake.fail("POST /files", Fault::Hang);
    let start = tokio::spawn(cloud.client().start());
    wait::until("the connection", || (!cloud.asked("GET", "/ws").is_empty()).then_some(())).await;
    start.abort();
    cloud.is_empty().await;
    assert!(cloud.asked("GET", "/health").is_empty(), "there is nothing to pass over");
    cloud.finish().await;
}
