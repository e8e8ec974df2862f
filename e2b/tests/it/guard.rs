//! Guards that are dropped where nothing can be awaited.

use claude_relay_e2b::sandbox::NewSandbox;
use tokio::runtime::Runtime;

use crate::support::{SOON, fake};

#[test]
fn a_sandbox_that_is_dropped_outside_of_a_runtime_is_named() {
    let runtime = Runtime::new().unwrap();
    let (fake, e2b, guard) = runtime.block_on(async {
        let (fake, e2b) = fake().await;
        let guard = e2b.create_guarded(&NewSandbox::new("base")).await.unwrap();
        (fake, e2b, guard)
    });
    let id = guard.sandbox().unwrap().id().clone();
    drop(guard);
    assert_eq!(e2b.unended(), std::slice::from_ref(&id));
    runtime.block_on(async {
        assert!(!e2b.wait_for_cleanup(SOON).await, "it lives");
        e2b.kill(&id).await.unwrap();
        assert!(e2b.wait_for_cleanup(SOON).await);
    });
    fake.finish();
}
