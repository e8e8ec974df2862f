//! Secrets of the account.

use std::collections::BTreeMap;

use claude_relay_e2b::error::Error;
use claude_relay_testing::e2b::Fault;

use crate::support::fake;

#[tokio::test]
async fn secrets_of_the_account_are_kept_by_name_and_never_shown() {
    let (fake, e2b) = fake().await;
    let about: BTreeMap<_, _> = [("owner".to_owned(), "me".to_owned())].into();
    let made = e2b.create_secret("My_Key", &"hunter2".into(), &about).await.unwrap();
    assert_eq!((&*made.name, made.current_version, &made.metadata), ("my_key", 1, &about));
    let again = e2b.create_secret("my_key", &"hunter2".into(), &about).await.unwrap_err();
    assert!(matches!(again, Error::Conflict(_)), "{again:?}");
    let changed = e2b.update_secret("MY_KEY", &"hunter3".into(), None).await.unwrap();
    assert_eq!((&changed.id, changed.current_version), (&made.id, 2));
    assert_eq!(e2b.secret(&made.id).await.unwrap().metadata, about);
    assert_eq!(e2b.secrets().await.unwrap(), [changed]);
    // A lost answer is not asked for again: it would make one more version.
    fake.fail("POST /secrets/{secretID}", Fault::refuse(502, "gateway"));
    assert!(e2b.update_secret("my_key", &"hunter4".into(), None).await.is_err());
    assert_eq!(e2b.secret("my_key").await.unwrap().current_version, 2);
    assert!(e2b.delete_secret("my_key").await.unwrap());
    assert!(!e2b.delete_secret("my_key").await.unwrap());
    assert!(matches!(e2b.secret("my_key").await.unwrap_err(), Error::NotFound(_)));
    fake.finish();
}
