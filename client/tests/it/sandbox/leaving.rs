//! Leaving a sandbox, and coming back.

use claude_relay_client::ConnectionState;
use claude_relay_client::e2b::SandboxId;
use tokio::sync::watch;

use super::*;
use crate::support::line;
use crate::support::proxy::Proxy;

#[tokio::test]
async fn reattaching_by_id_alone_replays_everything_and_continues() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    let mut said = client.messages();
    let first = soon(client.ask("the first question")).await.unwrap();
    let (from, to) = (line(&mut said).await, client.position().unwrap().seq);
    let id = soon(client.detach()).await.unwrap();
    assert_eq!(cloud.only_one(), id);
    drop((client, said));

    let client = soon(cloud.attach(&id).start()).await.unwrap();
    let mut repeated = client.messages();
    // A new turn is not taken in by the end of an old one.
    let second = soon(client.ask("the second question")).await.unwrap();
    assert!(second.text.contains("the second question"), "{}", second.text);
    assert_eq!(first.session_id, second.session_id);
    for seq in 1..=to {
        let again = line(&mut repeated).await;
        assert_eq!(again.seq(), Some(seq));
        if seq == 1 {
            assert_eq!(again.frame(), from.frame());
        }
    }
    assert_eq!(cloud.asked("POST", "/config").len(), 1, "the configuration is left as it is");
    drop(repeated);
    soon(client.stop()).await;
    assert!(cloud.fake.alive().is_empty(), "stop ends it, whoever created it");
    cloud.finish().await;
}

#[tokio::test]
async fn a_position_can_be_brought_along() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    soon(client.ask("one")).await.unwrap();
    let position = client.position().unwrap();
    soon(client.ask("two")).await.unwrap();
    let id = soon(client.detach()).await.unwrap();
    let client = soon(cloud.attach(&id).resume_at(position.clone()).start()).await.unwrap();
    assert_eq!(line(&mut client.messages()).await.seq(), Some(position.seq + 1));
    soon(client.stop()).await;
    cloud.finish().await;
}

#[tokio::test]
async fn a_pause_is_resumed_with_all_that_was_said() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    soon(client.ask("before")).await.unwrap();
    let id = soon(client.pause()).await.unwrap();
    drop(client);
    assert!(cloud.e2b.wait_for_cleanup(CLEANUP).await);
    let info = cloud.e2b.info(&id.parse().unwrap()).await.unwrap();
    assert_eq!(info.state.word(), "paused");

    let client = soon(cloud.attach(&id).start()).await.unwrap();
    assert_eq!(line(&mut client.messages()).await.seq(), Some(1));
    assert!(soon(client.ask("after")).await.unwrap().text.contains("after"));
    soon(client.stop()).await;
    cloud.finish().await;
}

#[tokio::test]
async fn a_pause_by_somebody_else_is_told_and_does_not_lock_the_server_up() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    soon(client.ask("before")).await.unwrap();
    let id: SandboxId = cloud.only_one().parse().unwrap();
    // The server in the snapshot believes that its client is connected.
    cloud.e2b.pause(&id).await.unwrap();
    let mut connection = client.connection();
    let ended = |state: &claude_relay_client::ConnectionState| {
        matches!(
            state,
            claude_relay_client::ConnectionState::Ended(ConnectionError::Sandbox(
                SandboxError::Paused { .. }
            ))
        )
    };
    soon(connection.wait_for(ended)).await.unwrap();
    // It is the business of the one who has paused it: nothing but an order ends it.
    soon(client.stop()).await;
    drop(client);
    assert!(cloud.e2b.wait_for_cleanup(CLEANUP).await);
    assert_eq!(cloud.only_one(), id.to_string());

    let client = soon(cloud.attach(id.as_str()).start()).await.unwrap();
    assert!(soon(client.ask("after")).await.unwrap().text.contains("after"));
    soon(client.stop()).await;
    cloud.finish().await;
}

#[tokio::test]
async fn a_visitor_leaves_no_harm() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().sandbox_timeout(Duration::from_secs(3600)).start()).await;
    let id = soon(client.unwrap().detach()).await.unwrap();

    // Dropped without a word, it is as if the program had crashed.
    let visitor = soon(cloud.attach(&id).start()).await.unwrap();
    drop(visitor);
    assert!(cloud.e2b.wait_for_cleanup(CLEANUP).await);
    assert_eq!(cloud.only_one(), id);
    // Its time is not cut short by a shorter one.
    let builder = cloud.attach(&id).sandbox_timeout(Duration::from_secs(3));
    let visitor = soon(builder.start()).await.unwrap();
    soon(visitor.ask("hello")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(cloud.fake.seconds_left(&id).unwrap() > 3000);
    assert!(cloud.asked("POST", "/timeout").is_empty());
    soon(visitor.detach()).await.unwrap();

    // Nor does a start that fails end what it did not begin.
    cloud.fake.fail("GET 3000/ws", Fault::refuse(403, "not you"));
    let error = failed(cloud.attach(&id)).await;
    assert!(matches!(error, ConnectError::Request(RequestError::Forbidden { .. })), "{error:?}");
    assert_eq!(cloud.only_one(), id);

    soon(soon(cloud.attach(&id).start()).await.unwrap().kill()).await.unwrap();
    let error = failed(cloud.attach(&id)).await;
    assert!(matches!(error, ConnectError::Sandbox(SandboxError::Expired { .. })), "{error:?}");
    let error = failed(cloud.attach("no/such")).await;
    assert!(
        matches!(
            error,
            ConnectError::Request(RequestError::InvalidOption { option: "sandbox", .. })
        ),
        "{error:?}"
    );
    cloud.finish().await;
}

#[tokio::test]
async fn a_sandbox_that_was_paused_elsewhere_is_ended_by_an_order_alone() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    let id: SandboxId = cloud.only_one().parse().unwrap();
    cloud.e2b.pause(&id).await.unwrap();
    let mut connection = client.connection();
    let ended = |state: &claude_relay_client::ConnectionState| {
        matches!(state, claude_relay_client::ConnectionState::Ended(_))
    };
    soon(connection.wait_for(ended)).await.unwrap();
    soon(client.kill()).await.unwrap();
    cloud.finish().await;
}

#[tokio::test]
async fn a_sandbox_that_was_taken_over_is_ended_by_an_order_alone() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    let id = cloud.only_one();
    let other = soon(cloud.attach(&id).takeover(true).start()).await.unwrap();
    let replaced = |state: &claude_relay_client::ConnectionState| {
        matches!(
            state,
            claude_relay_client::ConnectionState::Ended(ConnectionError::Replaced { .. })
        )
    };
    soon(client.connection().wait_for(replaced)).await.unwrap();
    soon(client.stop()).await;
    drop(client);
    assert!(cloud.e2b.wait_for_cleanup(CLEANUP).await);
    assert!(soon(other.ask("mine now")).await.unwrap().text.contains("mine now"));
    soon(other.kill()).await.unwrap();
    cloud.finish().await;
}

#[tokio::test]
async fn a_sandbox_that_another_client_has_while_the_first_was_away_is_left_to_it() {
    let cloud = Cloud::start().await;
    let (gate, open) = watch::channel(true);
    let port = cloud.fake.url().rsplit(':').next().unwrap().parse().unwrap();
    let way = Proxy::while_open(port, open).await;
    let options = Options { sandbox_url: Some(way.url.clone()), ..Options::default() };
    let account = account(&cloud.fake, options);
    let client = soon(cloud.client().e2b(account.clone()).start()).await.unwrap();
    let id = cloud.only_one();

    gate.send_replace(false);
    let is_away = |state: &ConnectionState| matches!(state, ConnectionState::Reconnecting { .. });
    soon(client.connection().wait_for(is_away)).await.unwrap();
    let other = soon(cloud.attach(&id).start()).await.unwrap();
    gate.send_replace(true);
    let is_taken = |state: &ConnectionState| {
        matches!(state, ConnectionState::Ended(ConnectionError::Busy { .. }))
    };
    soon(client.connection().wait_for(is_taken)).await.unwrap();
    soon(client.stop()).await;
    drop(client);
    assert!(account.wait_for_cleanup(CLEANUP).await);
    assert_eq!(cloud.only_one(), id);
    assert!(soon(other.ask("mine now")).await.unwrap().text.contains("mine now"));
    soon(other.kill()).await.unwrap();
    cloud.finish().await;
}

#[tokio::test]
async fn a_client_that_is_dropped_leaves_the_sandbox_to_who_has_taken_it_over() {
    let cloud = Cloud::start().await;
    let time = Duration::from_secs(6);
    // While it waits for new time, only the client itself can let go of it.
    cloud.fake.fail("POST /sandboxes/{sandboxID}/timeout", Fault::Hang);
    let client = soon(cloud.client().sandbox_timeout(time).start()).await.unwrap();
    let asked = || (!cloud.asked("POST", "/timeout").is_empty()).then_some(());
    wait::until("new time to be asked for", asked).await;
    let id = cloud.only_one();
    let other = soon(cloud.attach(&id).takeover(true).start()).await.unwrap();
    let is_replaced = |state: &ConnectionState| {
        matches!(state, ConnectionState::Ended(ConnectionError::Replaced { .. }))
    };
    soon(client.connection().wait_for(is_replaced)).await.unwrap();
    drop(client);
    assert!(cloud.e2b.wait_for_cleanup(CLEANUP).await);
    assert_eq!(cloud.only_one(), id);
    assert!(soon(other.ask("mine now")).await.unwrap().text.contains("mine now"));
    soon(other.kill()).await.unwrap();
    cloud.finish().await;
}

/// Names of the secrets that the server has.
async fn secrets(cloud: &Cloud, id: &str) -> Vec<String> {
    let token = String::from_utf8(cloud.fake.file(id, TOKEN_FILE).unwrap()).unwrap();
    let direct = Client::builder().connection_url(&cloud.relay.url).environment(false).token(token);
    let nothing = claude_relay_client::RawJson::new("{}").unwrap();
    let mut secrets = soon(direct.patch_configuration(nothing)).await.unwrap().secrets;
    secrets.sort_unstable();
    secrets
}

#[tokio::test]
async fn a_field_that_is_set_when_coming_back_leaves_the_key_where_it_is() {
    let cloud = Cloud::start().await;
    let builder = cloud.client().key_in_sandbox(true).configure(|configuration| {
        configuration.anthropic_api_key = Some("sk-ant-made-up".into());
        configuration.env = Some([("A".to_owned(), "secret".into())].into());
    });
    let client = soon(builder.start()).await.unwrap();
    let id = soon(client.detach()).await.unwrap();
    let before = secrets(&cloud, &id).await;
    assert_eq!(before, ["anthropicApiKey", "env.A"]);
    let client = soon(cloud.attach(&id).model("another").start()).await.unwrap();
    let configuration = soon(client.configuration()).await.unwrap();
    assert!(configuration.get().contains("another"), "{}", configuration.get());
    assert_eq!(secrets(&cloud, &id).await, before);
    soon(client.stop()).await;
    cloud.finish().await;
}

#[tokio::test]
async fn nothing_is_given_again_to_who_begins_now() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    soon(client.ask("the first question")).await.unwrap();
    let position = client.position().unwrap();
    let id = soon(client.detach()).await.unwrap();
    let client = soon(cloud.attach(&id).from_now().start()).await.unwrap();
    let mut messages = client.messages();
    soon(client.ask("the second question")).await.unwrap();
    assert_eq!(line(&mut messages).await.seq(), Some(position.seq + 1));
    drop(messages);
    soon(client.stop()).await;
    cloud.finish().await;
}
