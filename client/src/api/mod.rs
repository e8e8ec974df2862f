//! The public handles: the builder, the client, its messages and turns.

mod answer;
pub(crate) mod builder;
mod capabilities;
pub(crate) mod client;
mod control;
mod doubtful;
mod environment;
mod messages;
mod run;
#[cfg(feature = "e2b")]
mod sandbox;
mod turn;
mod turns;
mod workspace;

pub use self::answer::Answer;
#[cfg(feature = "e2b")]
pub use self::builder::copies::Reclaimed;
pub use self::builder::{ClientBuilder, MAX_MESSAGE_BYTES};
pub use self::capabilities::{ModelInfo, SlashCommand};
pub use self::client::Client;
pub use self::messages::Messages;
pub use self::run::{RunIncoming, RunReader, RunServer, RunText, RunWriter};
pub use self::turn::Turn;
pub use self::turns::{EndedTurn, Turns};
pub use self::workspace::{FileWatch, Workspace};
