//! The fields of a configuration, each declared once.
//!
//! [`FIELDS`] is read by the parser (which names are known, and how the value
//! of a field without a member of its own in `QueryConfig` is checked), by the
//! echo, by `PATCH`, and by the server for the agent's command line and
//! `initialize` request. Tests compare it by name with the echo, with the
//! command line, with the client's `Configuration` and with
//! `docs/configuration.md`.
//!
//! For a field that the relay passes on unchanged, one row here is enough: the
//! parser checks its value by its [`Kind`] and keeps it in
//! `QueryConfig::other`, and the server puts it where [`Target`] says. Forms
//! that only one field has are checked in `options`.
//!
//! Options of the SDK that are no field are in [`super::uncarried`].

use super::QueryConfig;

/// A field of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The name on the wire, which is the SDK's.
    pub name: &'static str,
    /// The type and its bounds.
    pub kind: Kind,
    /// The part that the echo shows.
    pub echo: Shown,
    /// The destination of the value in Claude Code.
    pub target: Target,
    /// One line of documentation, Markdown without a full stop.
    pub doc: &'static str,
    /// A valid value as JSON text, which is not the default.
    pub example: &'static str,
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string of at most `MAX_ARGUMENT_BYTES`.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number of at least this.
    Whole(u32),
    /// A finite number above 0.
    Positive,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// An array of strings; the agent gets it joined by commas.
    List,
    /// An array of strings; the agent gets each as an argument of its own.
    Items,
    /// A JSON object that is passed on unchanged.
    Object,
    /// A form that only this field has, as the documentation describes it.
    Own(&'static str),
}

/// The part of a field that may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// All of it.
    Whole,
    /// All but the secrets inside, which are masked.
    Masked,
    /// Nothing.
    Nothing,
}

/// The destination of a field's value in Claude Code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// This flag of the command line, with the value. A boolean is the flag
    /// alone when true.
    Flag(&'static str),
    /// Flags that the value names.
    Flags,
    /// This name in the `initialize` request.
    Initialize(&'static str),
    /// A file of mode 0600 that this flag names.
    File(&'static str),
    /// Variables of its environment.
    Environment,
    /// Its working directory.
    WorkingDirectory,
    /// None: the relay itself acts on it.
    Relay,
}

const fn row(
    name: &'static str,
    kind: Kind,
    echo: Shown,
    target: Target,
    example: &'static str,
    doc: &'static str,
) -> Field {
    Field { name, kind, echo, target, doc, example }
}

use Kind::{Boolean, Items, List, Object, OneOf, Own, Positive, Text, Whole};
use Shown::{Masked, Nothing, Whole as All};
use Target::{Environment, File, Flag, Flags, Initialize, Relay, WorkingDirectory};

/// All fields, in the order of the echo and of the documentation.
#[rustfmt::skip]
pub const FIELDS: &[Field] = &[
    row("agents", Own("object of sub-agents by name"), Masked, Initialize("agents"),
        r#"{"a":{"description":"d","prompt":"p"}}"#,
        "sub-agents by name; headers and variables of their MCP servers are masked"),
    row("allowedTools", List, All, Flag("--allowedTools"), r#"["Read"]"#,
        "tools that run without asking"),
    row("systemPrompt", Own("string, array of strings, `{\"type\":\"custom\",\"prompt\",\"snapshot\"?}`, or `{\"type\":\"preset\",\"preset\":\"claude_code\",\"append\"?,\"excludeDynamicSections\"?,\"snapshot\"?}`"),
        All, Initialize("systemPrompt"), r#""Be brief.""#,
        "the system prompt; without it the prompt is empty, as in the SDK"),
    row("model", Text, All, Flag("--model"), r#""opus""#, "the model"),
    row("mcpServers", Own("object of MCP servers by name"), Masked, File("--mcp-config"),
        r#"{"s":{"command":"true"}}"#,
        "MCP servers by name; headers and variables are masked, passwords in addresses too"),
    row("disallowedTools", List, All, Flag("--disallowedTools"), r#"["Bash"]"#,
        "tools that may not be used"),
    row("tools", Own("array of strings, or `{\"type\":\"preset\",\"preset\":\"claude_code\"}`"), All, Flag("--tools"),
        r#"["Read"]"#, "the tools that exist"),
    row("permissionMode", OneOf(&["default", "acceptEdits", "bypassPermissions", "plan", "dontAsk", "auto"]), All,
        Flag("--permission-mode"), r#""plan""#, "which uses of tools are asked about"),
    row("maxTurns", Whole(1), All, Flag("--max-turns"), "3", "most calls of the model for one message"),
    row("maxThinkingTokens", Whole(0), All, Flag("--max-thinking-tokens"), "1024",
        "most tokens for thinking; 0 turns it off"),
    row("maxBudgetUsd", Positive, All, Flag("--max-budget-usd"), "0.5",
        "most that the conversation may cost, in US dollars"),
    row("fallbackModel", Text, All, Flag("--fallback-model"), r#""haiku""#,
        "the model to use while the first is overloaded; another one than `model`"),
    row("effort", Text, All, Flag("--effort"), r#""high""#,
        "how hard the model tries, such as `low`, `medium`, `high`"),
    row("includePartialMessages", Boolean, All, Flag("--include-partial-messages"), "true",
        "send text while it is written"),
    row("settingSources", Own("array of `user`, `project`, `local`"), All, Flag("--setting-sources"), r#"["user"]"#,
        "the settings files that count; default `project`"),
    row("additionalDirectories", Items, All, Flag("--add-dir"), r#"["docs"]"#,
        "directories beside the working directory"),
    row("outputFormat", Own("`{\"type\":\"json_schema\",\"schema\":{…}}`"), All, Flag("--json-schema"),
        r#"{"type":"json_schema","schema":{"type":"object"}}"#, "the JSON schema of the final answer"),
    row("resume", Text, All, Flag("--resume"), r#""0b7e""#, "the id of a conversation to continue"),
    row("continue", Boolean, All, Flag("--continue"), "true",
        "continue the latest conversation of the working directory"),
    row("forkSession", Boolean, All, Flag("--fork-session"), "true",
        "give the resumed conversation a new id"),
    row("cwd", Text, All, WorkingDirectory, r#""sub""#, "the working directory, inside the workspace"),
    row("env", Own("object of strings"), Masked, Environment, r#"{"TZ":"UTC"}"#,
        "variables that are laid over the inherited environment; values are masked"),
    row("anthropicApiKey", Text, Nothing, Environment, r#""sk-1""#, "an API key"),
    row("claudeCodeOauthToken", Text, Nothing, Environment, r#""oat-1""#, "a token of a Claude subscription"),
    row("anthropicAuthToken", Text, Nothing, Environment, r#""tok-1""#, "a bearer token, for a gateway"),
    row("anthropicBaseUrl", Own("http or https address"), Masked, Environment, r#""https://user:pw@gateway/""#,
        "the address of the Messages API; a password in it is masked"),
    row("provider", OneOf(&["claude", "codex"]), All, Relay, r#""codex""#, "which agent runs"),
    row("betas", List, All, Flag("--betas"), r#"["context-1m-2025-08-07"]"#, "beta features of the Messages API"),
    row("includeHookEvents", Boolean, All, Flag("--include-hook-events"), "true",
        "send events of hooks as messages"),
    row("promptSuggestions", Boolean, All, Initialize("promptSuggestions"), "true",
        "suggest a next prompt after each turn"),
    row("hooks", Own("object of arrays of `{\"matcher\"?,\"hookCallbackIds\",\"timeout\"?}` by event"), All,
        Initialize("hooks"), r#"{"Stop":[{"hookCallbackIds":["hook_0"]}]}"#,
        "hooks that the client runs: each reaches it as `agent_request`"),
    row("sdkMcpServers", List, All, Initialize("sdkMcpServers"), r#"["calculator"]"#,
        "names of MCP servers that the client runs: their messages reach it as `agent_request`"),
    row("agent", Text, All, Flag("--agent"), r#""reviewer""#,
        "the sub-agent whose prompt, tools and model the main conversation has"),
    row("skills", Own("`all`, or array of names"), All, Initialize("skills"), r#"["pdf"]"#,
        "the skills of the main conversation; each is allowed without asking"),
    row("plugins", Own("array of `{\"type\":\"local\",\"path\",\"skipMcpDiscovery\"?}`"), All, Flag("--plugin-dir"),
        r#"[{"type":"local","path":"p"}]"#, "plugins: commands, agents, skills, hooks and MCP servers of a directory"),
    row("pluginDelivery", OneOf(&["argv", "initialize"]), All, Relay, r#""initialize""#,
        "whether plugins are told on the command line or, by a CLI from 2.1.261 on, in the first request"),
    row("thinking", Own("`{\"type\":\"adaptive\"}`, `{\"type\":\"enabled\",\"budgetTokens\"?}` or `{\"type\":\"disabled\"}`, the first two with `\"display\"?`"),
        All, Flag("--thinking"), r#"{"type":"adaptive"}"#, "how the model thinks; counts before `maxThinkingTokens`"),
    row("taskBudget", Own("`{\"total\":n}`"), All, Flag("--task-budget"), r#"{"total":50000}"#,
        "tokens that the model is told to get along with"),
    row("planModeInstructions", Text, All, Initialize("planModeInstructions"), r#""Plan in three steps.""#,
        "the steps of plan mode"),
    row("title", Text, All, Initialize("title"), r#""A title""#, "the title of a new conversation"),
    row("sessionId", Own("UUID"), All, Flag("--session-id"), r#""6f9619ff-8b86-4011-b42d-00cf4fc964ff""#,
        "the id of the conversation that begins; with `resume` or `continue` only beside `forkSession`"),
    row("persistSession", Boolean, All, Flag("--no-session-persistence"), "false",
        "`false` keeps the conversation off the disk, so that nothing can resume it"),
    row("resumeSessionAt", Own("UUID"), All, Flag("--resume-session-at"), r#""6f9619ff-8b86-4011-b42d-00cf4fc964ff""#,
        "with `resume`: the last message that counts"),
    row("resumeDropsTurn", Own("UUID"), All, Flag("--resume-drops-turn"), r#""6f9619ff-8b86-4011-b42d-00cf4fc964ff""#,
        "with `resumeSessionAt`: the message of the only turn that may be dropped"),
    row("settings", Own("object of settings, or the path of a file with them"), All, Flag("--settings"), r#"{"language":"French"}"#,
        "settings that beat those of the files; variables belong into `env`"),
    row("sandbox", Object, All, Flag("--settings"), r#"{"enabled":true}"#,
        "the CLI's own sandbox around its commands; laid over `settings.sandbox`"),
    row("managedSettings", Object, All, Flag("--managed-settings"), r#"{"disableAllHooks":true}"#,
        "settings that only restrict, as an administrator's"),
    row("strictMcpConfig", Boolean, All, Flag("--strict-mcp-config"), "true",
        "use no MCP servers but those of this configuration"),
    row("projectConfigRoot", Text, All, Flag("--project-config-root"), r#""/srv/checkout""#,
        "the directory whose project settings count in place of the working directory's"),
    row("enableFileCheckpointing", Boolean, All, Environment, "true",
        "keep copies of changed files, for `rewind_files`"),
    row("toolConfig", Own("`{\"askUserQuestion\":{\"previewFormat\":\"markdown\"\\|\"html\"}}`"), All, Environment,
        r#"{"askUserQuestion":{"previewFormat":"html"}}"#, "settings of single tools"),
    row("toolAliases", Own("object of strings"), All, Initialize("toolAliases"), r#"{"Bash":"mcp__box__bash"}"#,
        "tools that run in place of others"),
    row("permissionPrompts", OneOf(&["host", "none"]), All, Flag("--permission-prompts"), r#""none""#,
        "`none` denies what would be asked about"),
    row("permissionPromptToolName", Text, All, Flag("--permission-prompt-tool"), r#""mcp__p__ask""#,
        "the MCP tool that answers permission requests"),
    row("supportedDialogKinds", List, All, Initialize("supportedDialogKinds"), r#"["refusal_fallback_prompt"]"#,
        "kinds of `request_user_dialog` that the client answers"),
    row("perTaskStopAffordance", Boolean, All, Initialize("perTaskStopAffordance"), "true",
        "an interrupt leaves background tasks running, because the client can stop each"),
    row("agentProgressSummaries", Boolean, All, Initialize("agentProgressSummaries"), "true",
        "summaries of what sub-agents do, in `task_progress`"),
    row("forwardSubagentText", Boolean, All, Initialize("forwardSubagentText"), "true",
        "send the text of sub-agents too"),
    row("verbatimPrompts", Boolean, All, Relay, "true",
        "messages are text: `@path` and slash commands in them are not carried out"),
    row("debugFile", Text, All, Flag("--debug-file"), r#""/tmp/claude.log""#, "the file for the CLI's own log"),
    row("extraArgs", Own("object of strings or `null`, by flag"), All, Flags, r#"{"replay-user-messages":null}"#,
        "flags of the CLI without a field here; shown like everything else, so no place for secrets"),
    row("authToken", Own("8 to 4096 visible ASCII characters"), Nothing, Relay, r#""0123456789""#,
        "claims a server without a token; required from then on"),
];

impl Field {
    /// Returns the field of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }
}

/// A value that the relay passes on, in the form for a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassedOn {
    /// A string, a number or JSON.
    Text(String),
    /// A boolean.
    Switch(bool),
    /// Strings for one argument.
    List(Vec<String>),
    /// Strings for an argument each.
    Items(Vec<String>),
}

impl QueryConfig {
    /// Returns the fields of [`QueryConfig::other`] with their values, in the
    /// order of [`FIELDS`].
    pub fn passed_on(&self) -> impl Iterator<Item = (&'static Field, PassedOn)> {
        FIELDS.iter().filter_map(|field| {
            let text = self.other.get(field.name)?.get();
            let strings = || serde_json::from_str(text).unwrap_or_default();
            let value = match field.kind {
                Text | OneOf(_) => PassedOn::Text(serde_json::from_str(text).unwrap_or_default()),
                Boolean => PassedOn::Switch(text == "true"),
                List => PassedOn::List(strings()),
                Items => PassedOn::Items(strings()),
                Own(_) if text.starts_with('"') => {
                    PassedOn::Text(serde_json::from_str(text).unwrap_or_default())
                }
                Whole(_) | Positive | Object | Own(_) => PassedOn::Text(text.to_owned()),
            };
            Some((field, value))
        })
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Text => f.write_str("string"),
            Boolean => f.write_str("boolean"),
            Whole(least) => write!(f, "whole number, at least {least}"),
            Positive => f.write_str("number above 0"),
            OneOf(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                f.write_str(&names.join(", "))
            }
            List | Items => f.write_str("array of strings"),
            Object => f.write_str("object"),
            Own(words) => f.write_str(words),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Flag(flag) => write!(f, "`{flag}`"),
            Flags => f.write_str("the flags it names"),
            Initialize(name) => write!(f, "`initialize.{name}`"),
            File(flag) => write!(f, "file of `{flag}`"),
            Environment => f.write_str("environment"),
            WorkingDirectory => f.write_str("working directory"),
            Relay => f.write_str("the relay"),
        }
    }
}

/// Renders [`FIELDS`] as the Markdown table of `docs/configuration.md`.
#[must_use]
pub fn markdown_table() -> String {
    let mut table =
        "| field | type | reaches Claude Code by | meaning |\n|---|---|---|---|\n".to_owned();
    for field in FIELDS {
        let secret = match field.echo {
            All => "",
            Masked => " (partly secret)",
            Nothing => " (secret)",
        };
        table.push_str(&format!(
            "| `{}`{secret} | {} | {} | {} |\n",
            field.name, field.kind, field.target, field.doc
        ));
    }
    table
}
