//! The messages of `/ws`.

use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::Nullable;

type Object = Map<String, Value>;

/// A message from a client to the server over `/ws`.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case", title = "ClientMessage")]
pub enum Client {
    /// A message for the agent.
    UserMessage {
        /// The SDK user message; its bytes reach the agent unchanged.
        data: UserMessage,
    },
    /// Stops the running turn.
    Interrupt,
    /// Answers a `permission_request`.
    #[schemars(rename_all = "camelCase")]
    PermissionResponse {
        /// The id of the request.
        #[schemars(length(max = 256))]
        request_id: String,
        /// True allows the tool.
        approved: bool,
        /// With an approval: the input to run the tool with.
        updated_input: Option<Object>,
        /// With an approval: rules to add.
        updated_permissions: Option<Vec<Value>>,
        /// With a denial: the reason, which the agent reads.
        message: Option<String>,
        /// With a denial: ends the turn as well.
        interrupt: Option<bool>,
    },
    /// A control request of the SDK.
    #[schemars(rename_all = "camelCase")]
    ControlRequest {
        /// The client's own id, which the answer repeats.
        #[schemars(length(max = 256))]
        request_id: String,
        /// The request with its arguments.
        request: Control,
    },
    /// Answers an `agent_request` with one of `response` and `error`.
    #[schemars(rename_all = "camelCase", extend("oneOf" = [
        { "properties": { "response": { "type": "object" } }, "required": ["response"] },
        { "properties": { "error": { "type": "string" } }, "required": ["error"] },
    ]))]
    AgentResponse {
        /// The id of the request.
        #[schemars(length(max = 256))]
        request_id: String,
        /// The answer, as the Agent SDK gives it.
        response: Option<Object>,
        /// The reason for which there is no answer.
        error: Option<String>,
    },
    /// The first message of a client that configures as it connects.
    Configure {
        /// A configuration, as for `POST /config`; see `config.json`.
        config: Object,
        /// True for a JSON Merge Patch.
        merge: Option<bool>,
    },
    /// Asks for `capabilities`.
    Capabilities,
}

/// A user message of the SDK; it may have other fields.
#[derive(JsonSchema)]
pub struct UserMessage {
    /// Always `user`.
    #[schemars(rename = "type", extend("const" = "user"))]
    pub kind: String,
    /// Role and content.
    pub message: UserContent,
    /// The id by which the agent and `agent_state` name the message.
    #[schemars(extend("type" = "string"))]
    pub uuid: Option<String>,
}

/// The inner message.
#[derive(JsonSchema)]
pub struct UserContent {
    /// Always `user`.
    #[schemars(extend("const" = "user"))]
    pub role: String,
    /// Text, or content blocks of the Messages API.
    pub content: Content,
}

/// The content of a user message.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Content {
    /// Text.
    Text(String),
    /// Blocks.
    Blocks(Vec<Object>),
}

/// A control request; its other fields are its arguments.
#[derive(JsonSchema)]
pub struct Control {
    /// The name of the request.
    pub subtype: String,
}

/// A message from the server to a client over `/ws`. A later server may send
/// others, and other fields.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case", title = "ServerMessage")]
pub enum Server {
    /// The first message of every accepted connection.
    Connected {
        /// The id of this run of the server; with `after=`.
        #[schemars(extend("type" = "string"))]
        stream: Option<String>,
        /// The number that the next numbered message will get; with `after=`.
        #[schemars(extend("type" = "integer"))]
        next: Option<u64>,
    },
    /// One line of the agent, its bytes unchanged.
    SdkMessage {
        /// The number of the message; with `after=`.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// The line.
        data: SdkMessage,
    },
    /// An error in words.
    Error {
        /// The number, on connections with `after=`, where the message is kept.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// The text.
        error: String,
    },
    /// A line of the agent's stderr, or of its stdout that is no JSON object.
    Info {
        /// The number.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// The text.
        data: String,
    },
    /// The agent asks for a permission.
    #[schemars(rename_all = "camelCase")]
    PermissionRequest {
        /// The number.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// The id that the answer repeats.
        request_id: String,
        /// The tool.
        tool: String,
        /// The input that it would be called with.
        input: Object,
        /// The other fields of the agent's request.
        context: Object,
    },
    /// The answer to a permission request is no longer wanted.
    #[schemars(rename_all = "camelCase")]
    PermissionCancelled {
        /// The number.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// The id of the request.
        request_id: String,
    },
    /// Answers a `control_request`.
    #[schemars(rename_all = "camelCase")]
    ControlResponse {
        /// The client's own id.
        request_id: String,
        /// `subtype` `success` with a `response`, or `error` with an `error`.
        response: Control,
    },
    /// Answers `capabilities`: versions, mode, sandbox, limits, models.
    Capabilities(Object),
    /// The agent ended by itself.
    Exit {
        /// The number.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// Its exit code, or null after a signal.
        code: Nullable<i32>,
        /// The name of the signal, or null after an exit.
        signal: Nullable<String>,
        /// The end of its stderr.
        stderr: String,
        /// The `uuid`s of messages that wait for its next run.
        #[schemars(default)]
        waiting: Vec<String>,
        /// The `uuid`s of messages that it had and that have not been done.
        #[schemars(default)]
        dropped: Vec<String>,
    },
    /// Messages that are no longer kept.
    Gap {
        /// The first missing number.
        from: u64,
        /// The last missing number; below `from` when nothing is missing but
        /// the numbers begin anew.
        to: u64,
    },
    /// Answers `configure`.
    Configured {
        /// The time at which it takes effect.
        applies: Applies,
        /// The configuration without its secrets.
        config: Object,
        /// The names of secrets that are set.
        #[schemars(default)]
        secrets: Vec<String>,
        /// Fields that have no effect.
        #[schemars(default)]
        ignored: Vec<String>,
        /// The reason, for fields of `ignored` that have one.
        #[schemars(default)]
        reasons: std::collections::BTreeMap<String, String>,
        /// Likely names, for unknown fields of `ignored`.
        #[schemars(default)]
        hints: std::collections::BTreeMap<String, String>,
    },
    /// The state of the agent; with `supports=agent_state`.
    AgentState {
        /// The state.
        state: State,
        /// The running turn.
        turn: Nullable<Turn>,
        /// The number of background tasks that run.
        background_tasks: u64,
        /// The id of the conversation, once the agent has named it.
        conversation: Nullable<String>,
        /// The model, once the agent has named it.
        model: Nullable<String>,
        /// The permission mode, once the agent has named it.
        permission_mode: Nullable<String>,
        /// The `uuid`s of messages that no turn has taken.
        queued: Vec<String>,
        /// The number of such messages without a `uuid`; absent if there is none.
        #[schemars(default)]
        unnamed: u64,
        /// The number of read-only clients.
        watchers: u64,
        /// The state of the store, where there is one.
        #[schemars(default, schema_with = "Store::json_schema")]
        store: Option<Store>,
    },
    /// Messages that will not be run; with `supports=agent_state`.
    Undelivered {
        /// The number.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// Their `uuid`s.
        uuids: Vec<String>,
        /// The number of such messages without a `uuid`; absent if there is none.
        #[schemars(default)]
        unnamed: u64,
        /// The reason.
        reason: String,
    },
    /// A user message that the agent was given; with `supports=input`.
    Input {
        /// The number.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// The message.
        data: UserMessage,
    },
    /// The agent asks the client; with `supports=questions`, `hooks` or
    /// `host_tools`.
    #[schemars(rename_all = "camelCase")]
    AgentRequest {
        /// The number.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// The id that the answer repeats.
        request_id: String,
        /// The agent's own control request, unchanged.
        request: Control,
    },
    /// The answer to an `agent_request` is no longer wanted.
    #[schemars(rename_all = "camelCase")]
    AgentRequestCancelled {
        /// The number.
        #[schemars(extend("type" = "integer"))]
        seq: Option<u64>,
        /// The id of the request.
        request_id: String,
    },
}

/// A message of the agent, as the SDK yields it.
#[derive(JsonSchema)]
#[schemars(title = "SDKMessage")]
pub struct SdkMessage {
    /// The kind of message. Codex's notifications have a `method` instead.
    #[schemars(rename = "type", extend("type" = "string"))]
    pub kind: Option<String>,
}

/// The time at which a configuration takes effect.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Applies {
    /// At once.
    Now,
    /// With the next start of the agent.
    NextStart,
}

/// The state of the agent.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum State {
    /// No process runs.
    Stopped,
    /// The process has not answered yet.
    Starting,
    /// No turn runs.
    Idle,
    /// A turn runs.
    Running,
    /// The agent waits for an answer of a person.
    Waiting,
    /// The process is being stopped.
    Stopping,
}

/// A turn of the agent.
#[derive(JsonSchema)]
pub struct Turn {
    /// Its author.
    pub origin: Origin,
    /// The `uuid` of the client's message, if it has one.
    #[schemars(extend("type" = "string"))]
    pub uuid: Option<String>,
    /// The `uuid`s, where one turn answers several messages.
    #[schemars(default)]
    pub uuids: Vec<String>,
}

/// The state of the store.
#[derive(JsonSchema)]
pub struct Store {
    /// Its state in one word.
    pub state: StoreStatus,
    /// The bytes that wait for it on the server's disk.
    #[schemars(extend("type" = "integer"))]
    pub waiting_bytes: Option<u64>,
    /// The parts that are neither in it nor on the disk.
    #[schemars(extend("type" = "integer"))]
    pub lost: Option<u64>,
    /// The reason for which it takes nothing.
    #[schemars(extend("type" = "string"))]
    pub error: Option<String>,
}

/// The state of the store in one word.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum StoreStatus {
    /// It has everything.
    Ok,
    /// It lacks something, or takes nothing.
    Behind,
}

/// The author of a turn.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum Origin {
    /// A message of the client.
    Client,
    /// The agent itself: background tasks and the like.
    Agent,
}
