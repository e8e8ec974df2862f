use super::*;

#[tokio::test]
async fn panicking_task_ends_the_other_tasks() {
    let (held, gone) = oneshot::channel::<()>();
    let mut loops = JoinSet::new();
    loops.spawn(async {});
    loops.spawn(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    loops.spawn(async { panic!("a defect") });
    run_all(loops).await;
    assert!(gone.await.is_err());
}
