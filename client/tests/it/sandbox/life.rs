//! From the creation to the end.

use super::*;
use crate::support::soon;

#[tokio::test]
async fn a_sandbox_is_created_asked_and_ended() {
    let cloud = Cloud::start().await;
    let client = soon(cloud.client().start()).await.unwrap();
    assert_eq!(cloud.fake.alive(), [client.sandbox().unwrap().id().as_str()]);
    let answer = soon(client.ask("hello")).await.unwrap();
    assert!(answer.text.contains("hello"), "{}", answer.text);
    soon(client.stop()).await;
    cloud.finish().await;
}
