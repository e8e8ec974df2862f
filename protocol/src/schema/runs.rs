//! The messages of `/agent?run=…`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::Nullable;

/// A message from an SDK's side to the server over `/agent`.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case", title = "RunClientMessage")]
pub enum Client {
    /// Starts the agent; the first message of a new run.
    Start {
        /// The arguments of the CLI, as the SDK gave them.
        args: Vec<String>,
        /// Variables for the agent.
        #[schemars(default)]
        env: BTreeMap<String, String>,
        /// The directory of the program.
        cwd: Option<String>,
    },
    /// One line for the agent, its bytes unchanged.
    Stdin {
        /// Its number, from 1 without a hole.
        seq: u64,
        /// The line.
        data: Value,
    },
    /// Closes the agent's stdin.
    StdinEnd {
        /// Its number.
        seq: u64,
    },
    /// A signal for the agent.
    Signal {
        /// Its number.
        seq: u64,
        /// The signal.
        signal: Signal,
    },
    /// Everything up to this number is there.
    Ack {
        /// The number.
        seq: u64,
    },
}

/// A signal that a program sends to its CLI.
#[derive(JsonSchema)]
pub enum Signal {
    /// Terminate.
    #[schemars(rename = "SIGTERM")]
    Term,
    /// Interrupt.
    #[schemars(rename = "SIGINT")]
    Int,
    /// Hang up.
    #[schemars(rename = "SIGHUP")]
    Hup,
}

/// A message from the server over `/agent`.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case", title = "RunServerMessage")]
pub enum Server {
    /// The first message of a connection; the client sends on from
    /// `received` + 1.
    Connected {
        /// The id of this run of the server.
        stream: String,
        /// The number that the next message will get.
        next: u64,
        /// The number of the client's last message that the server has.
        received: u64,
        /// The server has had the `start`.
        #[schemars(default)]
        started: bool,
    },
    /// One line of the agent's stdout, control messages too.
    SdkMessage {
        /// Its number.
        seq: u64,
        /// The line.
        data: Map<String, Value>,
    },
    /// A line of stderr, or one of stdout that is no JSON object.
    Info {
        /// Its number.
        seq: u64,
        /// The text.
        data: String,
    },
    /// The end of the agent; one of the two is null.
    Exit {
        /// Its number.
        seq: u64,
        /// The exit code.
        code: Nullable<i32>,
        /// The name of the signal.
        signal: Nullable<String>,
    },
    /// Everything up to this number has been handed to the agent.
    Ack {
        /// The number.
        seq: u64,
    },
    /// A message was not understood.
    Error {
        /// The reason.
        error: String,
    },
}
