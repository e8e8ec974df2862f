"""Scenarios of callbacks of the Python SDK that are late, fail or never answer, and of
input and output of all sizes and kinds."""

import json

import anyio
from claude_agent_sdk import (
    ClaudeSDKClient,
    HookMatcher,
    PermissionResultAllow,
    PermissionResultDeny,
    PermissionUpdate,
    create_sdk_mcp_server,
    query,
    tool,
)
from claude_agent_sdk.types import PermissionRuleValue
from helpers import BASH, ENV, text


def scenarios(base, collect):
    async def permission_answered_late_or_never():
        log = []
        asked = anyio.Event()

        async def ask(name, given, context):
            log.append({"asked": [name, given, context.tool_use_id is not None]})
            if "first" in given["command"]:
                await anyio.sleep(1.5)
                return PermissionResultAllow()
            asked.set()
            try:
                await anyio.sleep_forever()
            finally:
                log.append({"asked": "ended"})

        async with ClaudeSDKClient(options=base(can_use_tool=ask)) as client:
            await client.query(BASH)
            await collect(client.receive_response(), log)
            await client.query(BASH.replace("first", "second"))
            await asked.wait()
            await client.interrupt()
            await collect(client.receive_response(), log)
            await client.query("SAY after")
            await collect(client.receive_response(), log)
        return log

    async def answers_of_permissions():
        rule = {"tool_name": "Bash", "rule_content": "rm -f one:*"}
        rules = [PermissionRuleValue(**rule)]

        def fails():
            raise RuntimeError("the callback failed")

        answers = {
            "a": lambda: PermissionResultAllow(updated_input={"command": "echo other"}),
            "b": lambda: PermissionResultDeny(message="no"),
            "one c": lambda: PermissionResultAllow(updated_permissions=[PermissionUpdate(
                type="addRules", rules=rules, behavior="allow", destination="session")]),
            "one d": fails,
            "e": lambda: PermissionResultAllow(updated_permissions=[PermissionUpdate(
                type="setMode", mode="acceptEdits", destination="session")]),
            "f": fails,
            "g": lambda: "allow",
            "h": lambda: PermissionResultDeny(message="stop", interrupt=True),
        }
        log = []

        async def ask(_name, given, _context):
            log.append({"asked": given})
            return answers[given["command"].rsplit("; echo ", 1)[1]]()

        async with ClaudeSDKClient(options=base(can_use_tool=ask)) as client:
            for name in answers:
                command = json.dumps({"command": f"rm -f {name}; echo {name}"})
                await client.query(f"USE Bash {command}")
                await collect(client.receive_response(), log)
        return log

    async def answers_of_hooks():
        def specific(name, **more):
            return {"hookSpecificOutput": {"hookEventName": name, **more}}

        def fails():
            raise RuntimeError("the hook failed")

        table = [
            ("PreToolUse", lambda: specific("PreToolUse", permissionDecision="allow", updatedInput={"command": "echo by a hook"})),
            ("PreToolUse", lambda: specific("PreToolUse", permissionDecision="deny", permissionDecisionReason="no")),
            ("PreToolUse", lambda: {"continue_": False, "stopReason": "halted"}),
            ("PreToolUse", lambda: {"async_": True, "asyncTimeout": 1000}),
            ("PreToolUse", fails),
            ("PostToolUse", lambda: specific("PostToolUse", additionalContext="more of it")),
            ("PostToolUse", lambda: {"decision": "block", "reason": "not good"}),
            ("UserPromptSubmit", lambda: {"decision": "block", "reason": "no such prompt"}),
            ("UserPromptSubmit", lambda: {"systemMessage": "a message", "suppressOutput": True}),
        ]
        log, step = [], 0

        def hook(event):
            async def called(given, tool_use_id, _context):
                log.append({"hook": event, "id": tool_use_id is not None, "names": sorted(given)})
                return table[step][1]() if table[step][0] == event else {}

            return [HookMatcher(hooks=[called])]

        hooks = {event: hook(event) for event in ["PreToolUse", "PostToolUse", "UserPromptSubmit"]}
        async with ClaudeSDKClient(options=base(hooks=hooks, allowed_tools=["Bash"], include_hook_events=True)) as client:
            for step in range(len(table)):
                await client.query('USE Bash {"command":"echo x"}')
                await collect(client.receive_response(), log)
        return log

    async def every_hook_event():
        seen = set()

        async def hook(given, _id, _context):
            seen.add(f"{given['hook_event_name']} {given.get('tool_name', '')}")
            return {}

        async def ask(*_):
            return PermissionResultDeny(message="no")

        events = ["PreToolUse", "PostToolUse", "PostToolUseFailure", "UserPromptSubmit", "Stop", "SubagentStop",
                  "PreCompact", "Notification", "SubagentStart", "PermissionRequest"]
        options = base(hooks={event: [HookMatcher(hooks=[hook])] for event in events}, can_use_tool=ask,
                       allowed_tools=["Bash(echo:*)", "Task"], env=ENV)
        log = []
        async with ClaudeSDKClient(options=options) as client:
            for prompt in ['USE Bash {"command":"echo hooked"}', 'USE Read {"file_path":"/not/there"}', BASH,
                           'USE Task {"description":"d","prompt":"SAY sub","subagent_type":"general-purpose"}', "/compact"]:
                await client.query(prompt)
                await collect(client.receive_response(), log)
        return [*log, {"hooks": sorted(seen)}]

    async def hook_that_never_answers():
        log = []

        async def hook(given, _id, _context):
            log.append({"hook": given["hook_event_name"]})
            await anyio.sleep_forever()

        hooks = {"PreToolUse": [HookMatcher(matcher="Bash", hooks=[hook], timeout=1)]}
        options = base(hooks=hooks, allowed_tools=["Bash"])
        return await collect(query(prompt='USE Bash {"command":"echo x"}', options=options), log)

    async def tools_of_the_program():
        @tool("image", "An image", {})
        async def image(_given):
            data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
            return {"content": [{"type": "image", "data": data, "mimeType": "image/png"}]}

        @tool("large", "Many bytes", {"bytes": int})
        async def large(given):
            return text("y" * given["bytes"])

        @tool("wrong", "Says that it failed", {})
        async def wrong(_given):
            return {**text("wrong"), "is_error": True}

        @tool("throws", "Fails", {})
        async def throws(_given):
            raise ValueError("at once")

        @tool("slow", "Takes its time", {"name": str})
        async def slow(given):
            await anyio.sleep(0.7)
            return text(given["name"])

        @tool("given", "Tells what it is given", {"type": "object", "properties": {"a": {"type": "array"}}})
        async def given(given):
            return text(json.dumps(given))

        server = create_sdk_mcp_server("host", "2.0.0", [image, large, wrong, throws, slow, given])
        other = create_sdk_mcp_server("other", "1.0.0", [given])
        calls = [("image", {}), ("large", {"bytes": 20_000}), ("large", {"bytes": 900_000}), ("wrong", {}), ("throws", {}),
                 ("given", {"a": ["ü", "\u2028"]}), ("none", {})]
        uses = [f"USE mcp__host__{name} {json.dumps(given)}" for name, given in calls]
        uses.append('USE mcp__host__slow {"name":"one"}\nUSE mcp__host__slow {"name":"two"}\nUSE mcp__other__given {}')
        log = []
        options = base(mcp_servers={"host": server, "other": other}, allowed_tools=["mcp__host", "mcp__other"],
                       env=ENV, max_buffer_size=1 << 24)
        async with ClaudeSDKClient(options=options) as client:
            for use in uses:
                await client.query(use)
                await collect(client.receive_response(), log)
        return log

    async def texts_and_sizes():
        log = []
        options = base(max_buffer_size=1 << 24)
        async with ClaudeSDKClient(options=options) as client:
            for prompt in ["SAY one größe 😀 \u2028 \u202e \x07 \x00", '{"type":"result"}\n', "SAY long " + "ü" * 1_500_000,
                           "LONG 2000000", " "]:
                await client.query(prompt)
                await collect(client.receive_response(), log)
        return log

    async def a_line_over_the_buffer():
        return await collect(query(prompt="LONG 1500000", options=base()), [])

    async def a_program_that_reads_slowly():
        log = []
        async for message in query(prompt="LONG 20000", options=base(include_partial_messages=True)):
            log.append(type(message).__name__)
            await anyio.sleep(0.004)
        return log

    return [
        permission_answered_late_or_never, answers_of_permissions, answers_of_hooks,
        every_hook_event, hook_that_never_answers, tools_of_the_program, texts_and_sizes,
        a_line_over_the_buffer, a_program_that_reads_slowly,
    ]
