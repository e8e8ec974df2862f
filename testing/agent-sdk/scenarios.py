"""Programs with the official Agent SDK for Python; see scenarios.mjs.

    python scenarios.py EXECUTABLE [NAME…]     one line of JSON per scenario; the
                                               name of a file is all of its own
    python scenarios.py --coverage             options and methods without one
"""

import asyncio
import dataclasses
import json
import os
import pathlib
import re
import sys
import uuid

from claude_agent_sdk import (
    AgentDefinition,
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    HookMatcher,
    InMemorySessionStore,
    PermissionResultAllow,
    PermissionResultDeny,
    ResultMessage,
    SystemMessage,
    UserMessage,
    create_sdk_mcp_server,
    query,
    tool,
)

# The tests leave nothing beside the sources.
sys.dont_write_bytecode = True
import beginnings_and_ends  # noqa: E402
import callbacks_and_content  # noqa: E402

EXECUTABLE, *ONLY = sys.argv[1:]


def base(**options):
    return ClaudeAgentOptions(cli_path=EXECUTABLE, setting_sources=[], **options)


def plain(value):
    text = json.dumps(value, default=str)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>", text)
    text = re.sub(r"toolu_\d+", "<call>", text)
    for directory in [os.getcwd(), os.environ.get("RELAY_WORKSPACE", "<cwd>")]:
        text = text.replace(directory, "<cwd>")
    text = re.sub(r'/[^ "\\]*/\.claude/projects/[^ "\\]*', "<file>", text)
    text = re.sub(r'own-\d+', "<own>", text)
    return json.loads(text)


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


async def further_options():
    agents = {"helper": AgentDefinition(description="Helps", prompt="You are a PIRATE", tools=["Read"])}
    options = base(
        tools=["Read", "Bash"], strict_mcp_config=True, permission_mode="acceptEdits",
        session_id=str(uuid.uuid4()), betas=[], cwd=os.getcwd(),
        env={"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "1234"}, max_buffer_size=1 << 24, debug_stderr=None,
        include_partial_messages=True, include_hook_events=True, forward_subagent_text=True,
        verbatim_prompts=True, agents=agents, skills=[], sandbox={"enabled": False}, plugins=[],
        thinking={"type": "disabled"}, max_thinking_tokens=1024, effort="low", user=None,
        enable_file_checkpointing=True, session_store=None,
        load_timeout_ms=5000, task_budget={"total": 90_000}, client_app="scenarios/1.0",
    )
    return await collect(query(prompt="SAY further", options=options), [])


async def session_stored():
    options = base(session_store=InMemorySessionStore(), session_store_flush="eager")
    return await collect(query(prompt="SAY stored", options=options), [])


async def structured_output():
    schema = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}
    options = base(output_format={"type": "json_schema", "schema": schema})
    return await collect(query(prompt='USE StructuredOutput {"a":7}', options=options), [])


async def permission_prompt_tool():
    @tool("ask", "Decides", {})
    async def ask(_given):
        answer = {"behavior": "allow", "updatedInput": {"command": "echo by a tool"}}
        return {"content": [{"type": "text", "text": json.dumps(answer)}]}

    server = create_sdk_mcp_server("decides", tools=[ask])
    options = base(
        mcp_servers={"decides": server}, permission_prompt_tool_name="mcp__decides__ask",
    )
    return await collect(query(prompt='USE Bash {"command":"rm -f x"}', options=options), [])


async def resumed():
    log, seen = [], {}

    async def run(prompt, **options):
        async for message in query(prompt=prompt, options=base(**options)):
            summed = summary(message)
            if summed:
                log.append(summed)
            if isinstance(message, AssistantMessage):
                seen.setdefault("message", message.uuid)
            if isinstance(message, ResultMessage):
                seen.setdefault("session", message.session_id)
                log.append({"same": message.session_id == seen["session"]})

    await run("SAY kept")
    await run("SAY again", resume=seen["session"])
    await run("SAY forked", resume=seen["session"], fork_session=True)
    await run("COUNT", resume=seen["session"], resume_session_at=seen["message"], fork_session=True)
    at = {"resume": seen["session"], "resume_session_at": seen["message"]}
    try:
        await run("COUNT", resume_drops_turn=seen["message"], **at)
    except Exception as error:
        log.append({"error": [type(error).__name__, str(error)[:80]]})
    # Others go on in the same directory.
    folder = os.path.join(os.getcwd(), f"own-{os.getpid()}")
    os.mkdir(folder)
    seen.clear()
    await run("SAY here", cwd=folder)
    await run("COUNT", cwd=folder, continue_conversation=True)
    return log


async def methods():
    @tool("echo", "Says it again", {"text": str})
    async def echo(given):
        return {"content": [{"type": "text", "text": "echo: " + given["text"]}]}

    log = []
    server = create_sdk_mcp_server("host", tools=[echo])
    client = ClaudeSDKClient(options=base(mcp_servers={"host": server}))
    await client.connect()
    await client.query("SAY first")
    await collect(client.receive_response(), log)
    calls = {
        "get_context_usage": client.get_context_usage, "get_mcp_status": client.get_mcp_status,
        "reconnect_mcp_server": lambda: client.reconnect_mcp_server("none"),
        "toggle_mcp_server": lambda: client.toggle_mcp_server("host", False),
        "rewind_files": lambda: client.rewind_files("44444444-2222-4333-8444-555555555555"),
        "stop_task": lambda: client.stop_task("none"),
    }
    for name, call in calls.items():
        try:
            answer = await call()
            log.append({name: sorted(answer) if isinstance(answer, dict) else answer})
        except Exception as error:
            log.append({name: [type(error).__name__, str(error)[:200]]})
    await client.disconnect()
    return log


FILES = {"scenarios": [
    text, options_by_argv, client_with_callbacks, host_tools, interrupt, unknown_session,
    stderr_lines, further_options, session_stored, structured_output, permission_prompt_tool, resumed, methods,
], **{file.__name__: file.scenarios(base, collect) for file in (beginnings_and_ends, callbacks_and_content)}}


def coverage():
    """Prints the options and methods of the types that nothing here uses, and the
    options that the document does not name."""
    here = pathlib.Path(__file__)
    used = set(re.findall(r"\w+", here.read_text()))
    options = [field.name for field in dataclasses.fields(ClaudeAgentOptions)]
    methods = [name for name in dir(ClaudeSDKClient) if not name.startswith("_")]
    for name in options + methods:
        if name not in used:
            print(f"{name}: no scenario has it")
    document = (here.parent / "../../docs/sdk.md").read_text()
    table = document.split("\n## Options")[1].split("\n## ")[0]
    told = set(re.findall(r"`(\w+)`", table))
    for name in options:
        camel = re.sub(r"_(\w)", lambda found: found[1].upper(), name)
        if not told & {name, camel}:
            print(f"{name}: not in docs/sdk.md")


# As many at once: each waits for processes of its own most of its time.
AT_ONCE = 3
# The longest time of a scenario, in seconds.
LIMIT = 240


async def main():
    places = asyncio.Semaphore(AT_ONCE)

    async def run(scenario):
        async with places:
            try:
                log = await asyncio.wait_for(scenario(), LIMIT)
            except asyncio.TimeoutError:
                log = ["took over its time"]
            except Exception as error:
                log = [type(error).__name__, str(error)[:200]]
        line = {"name": scenario.__name__, "log": plain(log)}
        print(json.dumps(line, ensure_ascii=False), flush=True)

    each = [(file, scenario) for file, all in FILES.items() for scenario in all]
    wanted = [one for file, one in each if not ONLY or {file, one.__name__} & set(ONLY)]
    await asyncio.gather(*map(run, wanted))


if EXECUTABLE == "--coverage":
    coverage()
else:
    asyncio.run(main())
