//! Pools of many sandboxes, and orphans.

use std::time::Duration;

use claude_relay_e2b::error::Error;
use claude_relay_e2b::http::E2b;
use claude_relay_e2b::orphans::owned;
use claude_relay_e2b::pool::{PoolOptions, SandboxPool};
use claude_relay_e2b::{Killed, NewSandbox};
use claude_relay_testing::e2b::{FakeE2b, Fault};

use crate::support::{SOON, fake};

fn options(max_size: usize, warm: usize) -> PoolOptions {
    let new = NewSandbox::new("base");
    PoolOptions { name: "test".into(), new, max_size, warm, starting: 4 }
}

async fn pool(max_size: usize, warm: usize) -> (FakeE2b, E2b, SandboxPool) {
    let (fake, e2b) = fake().await;
    let pool = SandboxPool::open(e2b.clone(), options(max_size, warm)).unwrap();
    (fake, e2b, pool)
}

/// Waits until a pool has this many warm sandboxes.
async fn warm(pool: &SandboxPool, count: usize) {
    let wait = async {
        while pool.counts().warm != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
}

#[tokio::test]
async fn some_are_kept_warm_and_replaced_when_they_are_taken() {
    let (fake, _, pool) = pool(5, 2).await;
    warm(&pool, 2).await;
    assert_eq!(fake.counts().0, 2);
    let lease = pool.take().await.unwrap();
    assert!(lease.sandbox().is_some());
    warm(&pool, 2).await;
    assert_eq!((fake.counts().0, pool.counts().alive), (3, 3));
    assert_eq!(lease.kill().await.unwrap(), Killed::Now);
    assert_eq!(pool.counts().alive, 2);
    assert!(pool.close(SOON).await);
    fake.finish();
}

#[tokio::test]
async fn never_more_than_the_most_are_alive_and_the_others_wait_their_turn() {
    let (fake, e2b, pool) = pool(3, 0).await;
    let mut takers = tokio::task::JoinSet::new();
    for number in 0..20 {
        let pool = pool.clone();
        takers.spawn(async move {
            let lease = pool.take().await.unwrap();
            // Some takers kill their sandbox, others only drop it.
            if number % 2 == 0 {
                lease.kill().await.unwrap();
            }
        });
    }
    while let Some(taken) = takers.join_next().await {
        taken.unwrap();
    }
    assert!(e2b.wait_for_cleanup(SOON).await);
    let (created, at_once) = fake.counts();
    assert!(created == 20 && at_once <= 3, "{created} made, {at_once} at once");
    assert!(pool.close(SOON).await);
    fake.finish();
}

#[tokio::test]
async fn a_full_pool_of_warm_ones_does_not_keep_a_taker_waiting() {
    let (fake, _, pool) = pool(2, 2).await;
    // Without waiting for warm sandboxes: takers and the pool's refill compete.
    let first = tokio::time::timeout(SOON, pool.take()).await.unwrap().unwrap();
    let second = tokio::time::timeout(SOON, pool.take()).await.unwrap().unwrap();
    let third = tokio::time::timeout(Duration::from_millis(200), pool.take()).await;
    assert!(third.is_err(), "two is the most");
    drop(first);
    let third = tokio::time::timeout(SOON, pool.take()).await.unwrap().unwrap();
    drop((second, third));
    assert!(pool.close(SOON).await);
    fake.finish();
}

#[tokio::test]
async fn a_warm_one_whose_time_is_over_is_not_handed_out() {
    let (fake, _, pool) = pool(3, 1).await;
    warm(&pool, 1).await;
    let dead = fake.alive().remove(0);
    fake.expire(&dead);
    let lease = pool.take().await.unwrap();
    assert_ne!(lease.sandbox().unwrap().id().as_str(), dead);
    drop(lease);
    assert!(pool.close(SOON).await);
    fake.finish();
}

#[tokio::test]
async fn warm_ones_are_kept_alive() {
    let (fake, e2b) = fake().await;
    let mut options = options(2, 1);
    options.new.timeout = Duration::from_millis(600);
    let pool = SandboxPool::open(e2b, options).unwrap();
    warm(&pool, 1).await;
    let timeouts =
        || fake.requests().iter().filter(|request| request.path.ends_with("/timeout")).count();
    let wait = async {
        while timeouts() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
    assert!(pool.close(SOON).await);
    fake.finish();
}

#[tokio::test]
async fn a_taker_that_gives_up_leaves_nothing() {
    let (fake, e2b, pool) = pool(4, 1).await;
    for millis in 0..30 {
        let _ = tokio::time::timeout(Duration::from_millis(millis % 7), pool.take()).await;
    }
    assert!(pool.close(SOON).await);
    assert!(e2b.wait_for_cleanup(SOON).await);
    fake.finish();
}

#[tokio::test]
async fn a_lost_answer_is_cleaned_up_by_its_mark() {
    let (fake, e2b, pool) = pool(2, 0).await;
    // A cut is repeated with the same key, three times: one is made.
    (0..4).for_each(|_| fake.fail("POST /sandboxes", Fault::CutAfter));
    pool.take().await.unwrap_err();
    fake.fail("POST /sandboxes", Fault::Garbage);
    pool.take().await.unwrap_err();
    assert_eq!(fake.alive().len(), 2);
    assert!(e2b.wait_for_cleanup(SOON).await, "it is looked for and found");
    fake.finish();
}

#[tokio::test]
async fn a_kept_one_is_the_callers() {
    let (fake, e2b, pool) = pool(1, 0).await;
    let kept = pool.take().await.unwrap().keep().unwrap();
    assert!(pool.close(SOON).await);
    assert_eq!(fake.alive(), [kept.id().as_str()]);
    assert_eq!(e2b.list(&owned(Some("test"))).await.unwrap().len(), 1);
    kept.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn orphans_of_a_process_that_died_are_found_by_age_and_killed() {
    let (fake, e2b, pool) = pool(20, 0).await;
    let mut ids = Vec::new();
    for _ in 0..15 {
        ids.push(pool.take().await.unwrap().keep().unwrap().id().clone());
    }
    let other = e2b.create(&NewSandbox::new("somebody-elses")).await.unwrap();
    for id in &ids[..12] {
        fake.age(id.as_str(), Duration::from_secs(7200));
    }
    let old = e2b.list_older_than(&owned(None), Duration::from_secs(3600)).await.unwrap();
    assert_eq!(old.len(), 12);
    let killed = e2b.kill_all(old.into_iter().map(|info| info.id)).await;
    assert!(killed.len() == 12 && killed.iter().all(|(_, killed)| killed.is_ok()));
    let rest = e2b.list(&owned(Some("test"))).await.unwrap();
    assert_eq!(rest.len(), 3);
    assert!(e2b.list(&owned(Some("another-pool"))).await.unwrap().is_empty());
    e2b.kill_all(rest.into_iter().map(|info| info.id)).await;
    assert_eq!(fake.alive(), [other.id().as_str()]);
    other.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn a_server_that_ignores_the_filter_leads_to_nobody_elses_end() {
    let (fake, e2b) = fake().await;
    fake.ignore_filters();
    let others = e2b.create(&NewSandbox::new("somebody-elses")).await.unwrap();
    let ours = e2b.create_guarded(&NewSandbox::new("base")).await.unwrap().keep().unwrap();
    let found = e2b.list_older_than(&owned(None), Duration::ZERO).await.unwrap();
    assert_eq!(found.iter().map(|info| &info.id).collect::<Vec<_>>(), [ours.id()]);
    // The search for a sandbox whose creation was not answered kills that one.
    (0..4).for_each(|_| fake.fail("POST /sandboxes", Fault::CutAfter));
    e2b.create_guarded(&NewSandbox::new("base")).await.unwrap_err();
    assert_eq!(fake.alive().len(), 3);
    assert!(e2b.wait_for_cleanup(SOON).await);
    assert_eq!(fake.alive(), [others.id().as_str(), ours.id().as_str()]);
    ours.kill().await.unwrap();
    others.kill().await.unwrap();
    fake.finish();
}

#[tokio::test]
async fn numbers_that_make_no_sense_are_refused() {
    let (_fake, e2b) = fake().await;
    for (max_size, warm, starting) in [(0, 0, 1), (1, 2, 1), (1, 0, 0)] {
        let options = PoolOptions { starting, ..options(max_size, warm) };
        let refused = SandboxPool::open(e2b.clone(), options);
        assert!(matches!(refused, Err(Error::Argument(_))));
    }
}

#[tokio::test]
async fn five_hundred() {
    let (fake, e2b, pool) = pool(500, 20).await;
    fake.forget_requests();
    let mut leases = Vec::new();
    let mut takers = tokio::task::JoinSet::new();
    for _ in 0..480 {
        let pool = pool.clone();
        takers.spawn(async move { pool.take().await.unwrap() });
    }
    while let Some(lease) = takers.join_next().await {
        leases.push(lease.unwrap());
    }
    assert!(fake.counts().1 <= 500, "{:?}", fake.counts());
    assert_eq!(e2b.list(&owned(Some("test"))).await.unwrap().len(), fake.alive().len());
    drop(leases);
    assert!(pool.close(Duration::from_secs(30)).await);
    fake.finish();
}
