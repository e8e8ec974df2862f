//! The options, several to a row where they do not touch each other, and the
//! way that each is seen.

use super::Seen;
use claude_relay_testing::reply::Reply;
use serde_json::json;

/// An option, and what is true with it and false without.
type Sign = (&'static str, fn(&Seen) -> bool);

/// Options that do not touch each other, and the way that each is seen.
pub(super) struct Row {
    /// JSON in which `{workspace}` stands for that.
    pub(super) options: &'static str,
    /// Files of the workspace.
    pub(super) files: &'static [(&'static str, &'static str)],
    pub(super) prompt: &'static str,
    pub(super) replies: fn() -> Vec<Reply>,
    /// The first requests that do not tell how long something took.
    pub(super) alike: usize,
    pub(super) seen: &'static [Sign],
}

pub(super) const ROW: Row = Row {
    options: "{}",
    files: &[],
    prompt: "Hello there",
    replies: || vec![Reply::text("Yes.")],
    alike: usize::MAX,
    seen: &[],
};

/// Fields that no row has, with the place or the reason.
pub(super) const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["allowedTools", "agents", "env", "anthropicApiKey"], "real_cli_config"),
    (&["resume", "resumeSessionAt", "forkSession", "continue"], "a test of their own"),
    (&["persistSession"], "a test of its own"),
    (&["hooks", "sdkMcpServers"], "the client answers: real_cli_questions, cli's agent_sdk"),
    (&["supportedDialogKinds", "perTaskStopAffordance"], "the client answers"),
    (&["claudeCodeOauthToken", "anthropicAuthToken", "anthropicBaseUrl"], "addresses"),
    (&["provider", "authToken"], "not the agent's"),
    (&["settingSources"], "promises"),
    (&["maxBudgetUsd", "debugFile", "enableFileCheckpointing"], "not in a request"),
    (&["promptSuggestions"], "a test of its own"),
    (&["agentProgressSummaries"], "only after half a minute of a sub-agent: sdk_options"),
    (&["permissionPromptToolName"], "the client's answers are tested in its place"),
    (&["resumeDropsTurn"], "a test of its own"),
];

const SKILLS: &[(&str, &str)] = &[
    (".claude/skills/one/SKILL.md", "---\nname: one\ndescription: FIRST-SKILL\n---\nBoil."),
    (".claude/skills/two/SKILL.md", "---\nname: two\ndescription: SECOND-SKILL\n---\nBoil."),
];

/// An MCP server with one tool.
const BOX: &str = r#"
import { createInterface } from "node:readline";
const results = {
  initialize: { protocolVersion: "2025-06-18", capabilities: { tools: {} },
    serverInfo: { name: "box", version: "1" } },
  "tools/list": { tools: [{ name: "bash", description: "d", inputSchema: { type: "object" } }] },
  "tools/call": { content: [{ type: "text", text: "FROM-THE-BOX" }] },
};
for await (const line of createInterface({ input: process.stdin })) {
  const { id, method } = JSON.parse(line);
  if (id !== undefined) {
    console.log(JSON.stringify({ jsonrpc: "2.0", id, result: results[method] ?? {} }));
  }
}
"#;

const PLUGIN: &[(&str, &str)] = &[
    ("p/.claude-plugin/plugin.json", r#"{"name":"teapot","version":"1.0.0","description":"d"}"#),
    ("p/skills/brew/SKILL.md", "---\nname: brew\ndescription: SKILL-OF-PLUGIN\n---\nBoil."),
    ("p/commands/pour.md", "---\ndescription: COMMAND-OF-PLUGIN\n---\nPour."),
    ("p/agents/butler.md", "---\nname: butler\ndescription: AGENT-OF-PLUGIN\n---\nServe."),
];

pub(super) const LIMITS: Row = Row {
    options: r#"{"model":"claude-sonnet-4-5","betas":["context-1m-2025-08-07"],"title":"A title",
        "thinking":{"type":"enabled","budgetTokens":2048},"maxThinkingTokens":5,
        "taskBudget":{"total":50000},"includePartialMessages":true}"#,
    seen: &[
        ("model", |seen| seen.request.body["model"] == "claude-sonnet-4-5"),
        ("betas", |seen| seen.has_beta("context-1m-2025-08-07")),
        ("thinking", |seen| seen.request.body["thinking"]["budget_tokens"] == 2048),
        ("taskBudget", |seen| seen.request.body["output_config"]["task_budget"]["total"] == 50000),
        ("title", |seen| seen.has_message(|message| message["title"] == "A title")),
        ("includePartialMessages", |seen| {
            seen.has_message(|message| message["type"] == "stream_event")
        }),
    ],
    ..ROW
};

pub(super) const EFFORT: Row = Row {
    options: r#"{"effort":"high","thinking":{"type":"adaptive","display":"summarized"},
        "disallowedTools":["Write"],"managedSettings":{"permissions":{"deny":["Read"]}}}"#,
    seen: &[
        ("effort", |seen| seen.request.body["output_config"]["effort"] == "high"),
        ("thinking", |seen| seen.request.body["thinking"]["display"] == "summarized"),
        ("disallowedTools", |seen| !seen.has_tool("Write")),
        ("managedSettings", |seen| !seen.has_tool("Read")),
    ],
    ..ROW
};

pub(super) const MAX_THINKING: Row = Row {
    options: r#"{"model":"claude-sonnet-4-5","maxThinkingTokens":3000,
        "systemPrompt":{"type":"custom","prompt":["FIRST-PART","SECOND-PART"]}}"#,
    seen: &[
        ("maxThinkingTokens", |seen| seen.request.body["thinking"]["budget_tokens"] == 3000),
        ("systemPrompt", |seen| seen.text.contains(r"FIRST-PART\n\nSECOND-PART")),
    ],
    ..ROW
};

pub(super) const NO_THINKING: Row = Row {
    options: r#"{"model":"claude-sonnet-4-5","thinking":{"type":"disabled"}}"#,
    seen: &[("thinking", |seen| {
        let thinking = &seen.request.body["thinking"];
        thinking.is_null() || thinking["type"] == "disabled"
    })],
    ..ROW
};

pub(super) const AGENT: Row = Row {
    options: r#"{"agent":"reviewer","agents":{"reviewer":{"description":"d",
        "prompt":"PROMPT-OF-AGENT","tools":["Read"],"model":"claude-haiku-4-5"}}}"#,
    seen: &[("agent", |seen| {
        let body = &seen.request.body;
        body["model"] == "claude-haiku-4-5"
            && seen.request.system().contains(&"PROMPT-OF-AGENT")
            && !seen.has_tool("Bash")
    })],
    ..ROW
};

pub(super) const PLUGINS: Row = Row {
    options: r#"{"plugins":[{"type":"local","path":"./p"}],"skills":"all"}"#,
    files: PLUGIN,
    seen: &[("plugins", |seen| {
        ["SKILL-OF-PLUGIN", "COMMAND-OF-PLUGIN", "AGENT-OF-PLUGIN"]
            .iter()
            .all(|word| seen.text.contains(word))
    })],
    ..ROW
};

pub(super) const PLUGINS_LATER: Row = Row {
    options: r#"{"plugins":[{"type":"local","path":"./p"}],"skills":"all",
        "pluginDelivery":"initialize"}"#,
    seen: &[("pluginDelivery", |seen| seen.text.contains("SKILL-OF-PLUGIN"))],
    ..PLUGINS
};

pub(super) const SKILLS_BY_NAME: Row = Row {
    options: r#"{"skills":["one"]}"#,
    files: SKILLS,
    seen: &[("skills", |seen| {
        seen.text.contains("FIRST-SKILL") && !seen.text.contains("SECOND-SKILL")
    })],
    ..ROW
};

pub(super) const NO_SKILLS: Row = Row {
    options: r#"{"extraArgs":{"disable-slash-commands":null}}"#,
    files: SKILLS,
    seen: &[("extraArgs", |seen| !seen.text.contains("skills are available"))],
    ..ROW
};

pub(super) const SETTINGS: Row = Row {
    options: r#"{"settings":{"language":"French","permissions":{"deny":["Write"]}},
        "systemPrompt":{"type":"preset","preset":"claude_code"},
        "projectConfigRoot":"{workspace}/other","additionalDirectories":["{workspace}/../more"]}"#,
    files: &[
        ("other/.claude/settings.json", r#"{"permissions":{"deny":["Edit"]}}"#),
        ("../more/x", ""),
    ],
    seen: &[
        ("settings", |seen| {
            seen.text.contains("Always respond in French") && !seen.has_tool("Write")
        }),
        ("projectConfigRoot", |seen| !seen.has_tool("Edit")),
        ("additionalDirectories", |seen| seen.text.contains("/more")),
        ("systemPrompt", |seen| seen.request.system().concat().len() > 2000),
    ],
    ..ROW
};

pub(super) const SESSION: Row = Row {
    options: r#"{"sessionId":"6f9619ff-8b86-4011-b42d-00cf4fc964ff","fallbackModel":"claude-haiku-4-5"}"#,
    replies: || vec![Reply::Error(529), Reply::Error(529), Reply::Error(529), Reply::text("Yes.")],
    seen: &[
        ("sessionId", |seen| {
            seen.request.body["metadata"]["user_id"]
                .as_str()
                .is_some_and(|user| user.contains("6f9619ff-8b86-4011-b42d-00cf4fc964ff"))
        }),
        ("fallbackModel", |seen| seen.text.contains(r#""model":"claude-haiku-4-5""#)),
    ],
    ..ROW
};

pub(super) const PLAN: Row = Row {
    options: r#"{"permissionMode":"plan","planModeInstructions":"STEPS-OF-PLAN",
        "systemPrompt":{"type":"preset","preset":"claude_code","append":"RHYME-ALWAYS"}}"#,
    seen: &[
        ("planModeInstructions", |seen| seen.text.contains("STEPS-OF-PLAN")),
        ("systemPrompt", |seen| seen.text.contains("RHYME-ALWAYS")),
    ],
    ..ROW
};

pub(super) const VERBATIM: Row = Row {
    options: r#"{"verbatimPrompts":true}"#,
    files: &[("secret.txt", "TEXT-OF-FILE")],
    prompt: "/compact @secret.txt",
    seen: &[("verbatimPrompts", |seen| {
        seen.text.contains("/compact @secret.txt") && !seen.text.contains("TEXT-OF-FILE")
    })],
    ..ROW
};

pub(super) const OUTPUT: Row = Row {
    options: r#"{"outputFormat":{"type":"json_schema","schema":{"type":"object",
        "properties":{"pot":{"type":"string"}},"required":["pot"]}}}"#,
    replies: || vec![Reply::tool("StructuredOutput", json!({ "pot": "brown" }))],
    seen: &[("outputFormat", |seen| {
        seen.has_tool("StructuredOutput")
            && seen.has_message(|message| message["structured_output"]["pot"] == "brown")
    })],
    ..ROW
};

pub(super) const TURNS: Row = Row {
    options: r#"{"maxTurns":1,"cwd":"{workspace}/sub"}"#,
    files: &[("sub/x", "")],
    replies: || {
        let input = json!({ "command": "touch made", "description": "x" });
        vec![Reply::tool("Bash", input), Reply::text("Not asked for.")]
    },
    seen: &[
        ("maxTurns", |seen| seen.has_message(|message| message["subtype"] == "error_max_turns")),
        ("cwd", |seen| seen.text.contains("/workspace/sub")),
    ],
    ..ROW
};

pub(super) const QUESTIONS: Row = Row {
    options: r#"{"toolConfig":{"askUserQuestion":{"previewFormat":"html"}},
        "tools":["AskUserQuestion","Bash"]}"#,
    seen: &[
        ("toolConfig", |seen| {
            let tools = seen.request.body["tools"].to_string();
            tools.contains("HTML") && seen.has_tool("AskUserQuestion")
        }),
        ("tools", |seen| !seen.has_tool("Write")),
    ],
    ..ROW
};

pub(super) const HOOKS: Row = Row {
    options: r#"{"includeHookEvents":true,"permissionMode":"default","permissionPrompts":"none",
        "settings":{"hooks":{"UserPromptSubmit":[{"hooks":[{"type":"command","command":"echo WORD-OF-HOOK"}]}]}}}"#,
    replies: || {
        let input = json!({ "command": "touch made", "description": "x" });
        vec![Reply::tool("Bash", input), Reply::text("Well.")]
    },
    seen: &[
        ("includeHookEvents", |seen| {
            seen.has_message(|message| message["subtype"] == "hook_response")
        }),
        ("settings", |seen| seen.text.contains("WORD-OF-HOOK")),
        ("permissionMode", |seen| {
            seen.has_message(|message| message["permissionMode"] == "default")
        }),
        ("permissionPrompts", |seen| {
            seen.has_message(|message| message["permission_denials"][0]["tool_name"] == "Bash")
        }),
    ],
    ..ROW
};

pub(super) const SUB_AGENT: Row = Row {
    options: r#"{"forwardSubagentText":true,
        "agents":{"helper":{"description":"d","prompt":"PROMPT-OF-HELPER"}}}"#,
    replies: || {
        let input = json!({
            "description": "d", "prompt": "Help.", "subagent_type": "helper",
            "run_in_background": false,
        });
        vec![Reply::tool("Agent", input), Reply::text("TEXT-OF-HELPER"), Reply::text("Done.")]
    },
    alike: 2,
    seen: &[("forwardSubagentText", |seen| {
        seen.has_message(|message| {
            message["parent_tool_use_id"].is_string()
                && message["message"].to_string().contains("TEXT-OF-HELPER")
        })
    })],
    ..ROW
};

pub(super) const SERVERS: Row = Row {
    options: r#"{"mcpServers":{"box":{"command":"node","args":["{workspace}/box.mjs"]}},
        "strictMcpConfig":true,"toolAliases":{"Bash":"mcp__box__bash"}}"#,
    files: &[
        ("box.mjs", BOX),
        (".mcp.json", r#"{"mcpServers":{"other":{"command":"node","args":["box.mjs"]}}}"#),
    ],
    replies: || {
        let input = json!({ "command": "touch made", "description": "x" });
        vec![Reply::tool("Bash", input), Reply::text("Well.")]
    },
    seen: &[
        ("mcpServers", |seen| {
            seen.has_message(|message| message["mcp_servers"][0]["name"] == "box")
        }),
        ("strictMcpConfig", |seen| {
            seen.has_message(|message| {
                message["mcp_servers"].as_array().is_some_and(|servers| servers.len() == 1)
            })
        }),
        ("toolAliases", |seen| seen.text.contains("FROM-THE-BOX")),
    ],
    ..ROW
};

pub(super) const SANDBOX: Row = Row {
    options: r#"{"sandbox":{"enabled":true,"network":{"allowLocalBinding":true}}}"#,
    // The CLI only looks for it.
    files: &[("bin/socat", "#!/bin/sh\n")],
    seen: &[("sandbox", |seen| seen.text.contains("Bash command sandbox"))],
    ..ROW
};
