//! The list of templates.

use claude_relay_testing::e2b::Generations;

use crate::support::fake;

#[tokio::test]
async fn templates_are_listed_page_after_page_and_by_either_generation() {
    let (fake, e2b) = fake().await;
    assert_eq!(e2b.templates().await.unwrap(), []);
    for name in ["one", "three", "two"] {
        fake.has_template(name);
    }
    fake.page_size(1);
    for generations in [Generations::Both, Generations::First] {
        fake.has(generations);
        let listed = e2b.templates().await.unwrap();
        let names: Vec<_> = listed.iter().map(|template| template.names.join(",")).collect();
        assert_eq!(names, ["team/one", "team/three", "team/two"], "{generations:?}");
        assert_eq!((listed[0].cpus, listed[0].memory_mb), (2, 2048));
        assert_eq!(listed[0].build_status, "ready");
    }
    fake.finish();
}
