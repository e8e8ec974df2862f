//! Copies of a sandbox (`claude-relay e2b fork`). In place of a copied server there is
//! another one that was claimed with the same token.

use std::net::{Ipv4Addr, SocketAddr};

use claude_relay_client::{Client, RawJson};
use claude_relay_testing::relay_process::RelayProcess;

use super::support::cloud::CloudFixture;
use super::support::soon;

const TOKEN_FILE: &str = "/root/.claude-relay-token";

fn token(fixture: &CloudFixture, id: &str) -> String {
    String::from_utf8(fixture.fake.file(id, TOKEN_FILE).unwrap()).unwrap()
}

async fn opens(relay: &RelayProcess, token: &str) -> bool {
    let direct = Client::builder().connection_url(&relay.url).environment(false).token(token);
    soon(direct.get_configuration()).await.is_ok()
}

async fn claim(relay: &RelayProcess, token: &str) {
    let config = RawJson::new(format!(r#"{{"authToken":"{token}"}}"#)).unwrap();
    let direct = Client::builder().connection_url(&relay.url).environment(false);
    soon(direct.patch_configuration(config)).await.unwrap();
}

/// A fixture whose second and third sandboxes have servers of their own.
async fn fixture() -> (CloudFixture, [RelayProcess; 2]) {
    let fixture = CloudFixture::start().await;
    let copies =
        [RelayProcess::demo(&["--no-auth"]).await, RelayProcess::demo(&["--no-auth"]).await];
    let ports = [fixture.relay.port, copies[0].port, copies[1].port];
    let addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    fixture.fake.forward_each(3000, addresses.to_vec());
    (fixture, copies)
}

#[tokio::test]
async fn each_copy_gets_a_token_of_its_own() {
    let (fixture, copies) = fixture().await;
    fixture.ok(&["--e2b-template", "mine", "--keep", "one"]).await;
    let id = fixture.only_sandbox();
    let former = token(&fixture, &id);
    for copy in &copies {
        claim(copy, &former).await;
    }

    let told = fixture.ok(&["e2b", "fork", "-n", "2", &id]).await;
    let ids: Vec<_> = told.lines().collect();
    let [first, second] = ids[..] else { panic!("two copies, not {told}") };
    assert_eq!(token(&fixture, &id), former);
    assert!(opens(&fixture.relay, &former).await);
    let own = [token(&fixture, first), token(&fixture, second)];
    assert!(own[0] != former && own[1] != former && own[0] != own[1], "{own:?}");
    for (copy, token) in copies.iter().zip(&own) {
        assert!(opens(copy, token).await && !opens(copy, &former).await);
    }
    let said = fixture.ok(&["--attach", first, "two"]).await;
    assert!(!said.trim().is_empty());
    fixture.ok(&["e2b", "kill", "--all"]).await;
    fixture.finish();
}

#[tokio::test]
async fn a_copy_that_keeps_the_token_or_has_no_server_is_told() {
    let (fixture, copies) = fixture().await;
    fixture.ok(&["--e2b-template", "mine", "--keep", "one"]).await;
    let id = fixture.only_sandbox();
    // The first is nobody's, the second somebody else's.
    claim(&copies[1], "somebody-else-s-token").await;
    let (code, stdout, stderr) = fixture.run(&["e2b", "fork", "-n", "2", &id]).await;
    let ids: Vec<_> = stdout.lines().collect();
    let [first, second] = ids[..] else { panic!("two copies, not {stdout}") };
    assert!(stderr.contains(&format!("{first} has the token of the original")), "{stderr}");
    assert!(stderr.contains(&format!("{second} runs, and may have the token")), "{stderr}");
    assert_eq!(code, 3, "{stderr}");
    for copy in [first, second] {
        assert_eq!(token(&fixture, copy), token(&fixture, &id));
    }
    fixture.ok(&["e2b", "kill", "--all"]).await;
    fixture.finish();
}

#[tokio::test]
async fn a_copy_whose_token_cannot_be_kept_is_told() {
    let (fixture, copies) = fixture().await;
    fixture.ok(&["--e2b-template", "mine", "--keep", "one"]).await;
    let id = fixture.only_sandbox();
    claim(&copies[0], &token(&fixture, &id)).await;
    let route = "POST /files";
    let refused = claude_relay_testing::e2b::Fault::refuse(400, "no room");
    fixture.fake.fail(route, refused);
    let (code, stdout, stderr) = fixture.run(&["e2b", "fork", &id]).await;
    assert!(stderr.contains(stdout.trim()) && stderr.contains("no room"), "{code}: {stderr}");
    assert_ne!(code, 0);
    fixture.ok(&["e2b", "kill", "--all"]).await;
    fixture.finish();
}
