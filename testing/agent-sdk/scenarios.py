"""Programs with the official Agent SDK for Python; see scenarios.mjs.

    python scenarios.py EXECUTABLE [NAME…]     one line of JSON per scenario
"""

import asyncio
import json
import os
import re
import sys

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    HookMatcher,
    PermissionResultAllow,
    PermissionResultDeny,
    ResultMessage,
    SystemMessage,
    UserMessage,
    create_sdk_mcp_server,
    query,
    tool,
)

EXECUTABLE, *ONLY = sys.argv[1:]


def base(**options):
    return ClaudeAgentOptions(cli_path=EXECUTABLE, setting_sources=[], **options)


def plain(value):
    text = json.dumps(value, default=str)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>", text)
    text = re.sub(r"toolu_\d+", "<call>", text)
    return json.loads(text.replace(os.getcwd(), "<cwd>"))


def blocks(content):
    if isinstance(content, str):
        return content
    return [{"kind": type(block).__name__, **vars(block)} for block in content]


def summary(message):
    if isinstance(message, SystemMessage) and message.subtype == "init":
        data = message.data
        return {"init": [data["model"], data["permissionMode"], len(data["tools"])]}
    if isinstance(message, (AssistantMessage, UserMessage)):
        return {type(message).__name__: blocks(message.content)}
    if isinstance(message, ResultMessage):
        return {"result": [message.subtype, message.result, message.is_error, message.num_turns]}
    return None


async def collect(messages, log):
    try:
        async for message in messages:
            seen = summary(message)
            if seen:
                log.append(seen)
        log.append("end")
    except Exception as error:
        log.append({"error": [type(error).__name__, str(error).split("\n")[0][:200]]})
    return log


async def text():
    return await collect(query(prompt="SAY one", options=base()), [])


async def options_by_argv():
    options = base(
        model="claude-sonnet-4-5", fallback_model="claude-haiku-4-5", max_turns=3,
        system_prompt="You are a PIRATE", allowed_tools=["Read"], disallowed_tools=["WebSearch"],
        settings='{"includeCoAuthoredBy":false}', add_dirs=[os.getcwd()], max_budget_usd=5,
    )
    return await collect(query(prompt="SAY two", options=options), [])


async def client_with_callbacks():
    log = []

    async def ask(name, given, _context):
        log.append({"asked": [name, given]})
        if "denied" in given["command"]:
            return PermissionResultDeny(message="not today")
        return PermissionResultAllow(updated_input={"command": "echo changed"})

    async def hook(given, _id, _context):
        log.append({"hook": given["hook_event_name"]})
        return {}

    hooks = {"PreToolUse": [HookMatcher(hooks=[hook])], "Stop": [HookMatcher(hooks=[hook])]}
    async with ClaudeSDKClient(options=base(can_use_tool=ask, hooks=hooks)) as client:
        for command in ["rm -f x", "rm -f denied"]:
            await client.query('USE Bash {"command":"' + command + '"}')
            await collect(client.receive_response(), log)
        await client.set_model("claude-haiku-4-5")
        await client.set_permission_mode("acceptEdits")
        log.append(sorted((await client.get_server_info()).keys()))
        await client.query("SAY after")
        await collect(client.receive_response(), log)
    return log


async def host_tools():
    @tool("echo", "Says it again", {"text": str})
    async def echo(given):
        return {"content": [{"type": "text", "text": "echo: " + given["text"]}]}

    server = create_sdk_mcp_server("host", tools=[echo])
    options = base(mcp_servers={"host": server}, allowed_tools=["mcp__host__echo"])

    async def prompts():
        content = 'USE mcp__host__echo {"text":"größe"}'
        yield {"type": "user", "message": {"role": "user", "content": content}}

    return await collect(query(prompt=prompts(), options=options), [])


async def interrupt():
    log = []
    async with ClaudeSDKClient(options=base()) as client:
        await client.query("SLOW SAY never")
        async for message in client.receive_messages():
            if isinstance(message, SystemMessage) and message.subtype == "init":
                await client.interrupt()
                break
        await collect(client.receive_response(), log)
    return log


async def unknown_session():
    options = base(resume="99999999-2222-4333-8444-555555555555")
    return await collect(query(prompt="SAY lost", options=options), [])


async def stderr_lines():
    lines = []
    options = base(stderr=lines.append, extra_args={"debug-to-stderr": None})
    log = await collect(query(prompt="SAY debug", options=options), [])
    return [*log, {"stderr": len(lines) > 0}]


SCENARIOS = [
    text, options_by_argv, client_with_callbacks, host_tools, interrupt, unknown_session,
    stderr_lines,
]


async def main():
    for scenario in SCENARIOS:
        if ONLY and scenario.__name__ not in ONLY:
            continue
        try:
            log = await asyncio.wait_for(scenario(), 60)
        except Exception as error:
            log = [type(error).__name__, str(error)[:200]]
        line = {"name": scenario.__name__, "log": plain(log)}
        print(json.dumps(line, ensure_ascii=False), flush=True)


asyncio.run(main())
