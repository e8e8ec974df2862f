//! What the server's tests drive the real CLI with.

#[path = "../../../../server/tests/it/support/api.rs"]
pub(crate) mod api;
#[path = "../../../../server/tests/it/support/codex_home.rs"]
pub(crate) mod codex_home;
#[path = "../../../../server/tests/it/support/messages_api.rs"]
pub(crate) mod messages_api;
#[path = "../../../../server/tests/it/support/place.rs"]
pub(crate) mod place;
#[path = "../../../../server/tests/it/support/reply.rs"]
pub(crate) mod reply;
#[path = "../../../../server/tests/it/support/responses_api.rs"]
pub(crate) mod responses_api;
#[path = "../../../../server/tests/it/support/tools.rs"]
pub(crate) mod tools;
#[path = "../../../../server/tests/it/support/wait.rs"]
pub(crate) mod wait;
