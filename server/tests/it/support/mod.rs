//! What the integration tests stand on.
//!
//! * [`tools`]: the outside programs, as `scripts/test` installed them
//! * [`place`]: a home, a workspace and an environment of a test's own
//! * [`messages_api`], [`reply`]: the API the real CLI talks to, scripted
//! * [`proc`]: processes, and proof that none is left
//! * [`wait`]: waiting with a deadline

pub(crate) mod messages_api;
pub(crate) mod place;
pub(crate) mod proc;
pub(crate) mod reply;
pub(crate) mod tools;
pub(crate) mod wait;
