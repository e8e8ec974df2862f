"""Scenarios of how a query of the Python SDK begins and ends, alone and beside others,
and of what it is given to begin with."""

import asyncio
import json
import os
import pathlib

import anyio
from claude_agent_sdk import (
    ClaudeSDKClient,
    StreamEvent,
    SystemMessage,
    create_sdk_mcp_server,
    query,
    tool,
)
from helpers import BASH, ENV, text, told, user

OWN = f"own-{os.getpid()}-files"


def scenarios(base, collect):
    async def prompts_that_end_or_fail():
        async def none():
            return
            yield

        async def two():
            yield user("SAY one")
            yield user("SAY two")

        async def late():
            await anyio.sleep(0.5)
            yield user("SAY late")

        async def named():
            yield user("SAY named", uuid="22222222-2222-4333-8444-555555555555")

        async def blocks():
            yield user([{"type": "text", "text": "SAY blocks"}])

        log = []
        for prompt in [none, two, late, named, blocks]:
            log.append(prompt.__name__)
            await collect(query(prompt=prompt(), options=base()), log)
        return log

    async def left_early():
        log = []
        for way in ["break", "close", "cancel"]:
            messages = query(prompt="HALF", options=base(include_partial_messages=True))

            async def read():
                async for message in messages:
                    if isinstance(message, StreamEvent) and "delta" in message.event["type"]:
                        break

            if way == "cancel":
                with anyio.move_on_after(3) as scope:
                    async for _ in messages:
                        pass
                log.append({"cancelled": scope.cancelled_caught})
            else:
                await read()
            if way != "break":
                await messages.aclose()
            log.append(way)
        return log

    async def disconnected_in_the_middle():
        log = []
        client = ClaudeSDKClient(options=base(include_partial_messages=True))
        await client.connect()
        await client.query("HALF")
        async for message in client.receive_messages():
            if isinstance(message, StreamEvent):
                break
        await client.disconnect()
        log.append(await told(client.query("SAY after")))
        log.append(await told(client.interrupt()))
        # The same client once more.
        await client.connect("SAY connected")
        await collect(client.receive_response(), log)
        await client.disconnect()
        await client.disconnect()
        return log

    async def limits_and_failures():
        log = []
        use = 'USE Bash {"command":"echo x"}'
        for prompt, options in [
            (use, {"max_turns": 1}), (use, {"max_budget_usd": 0.0000001}), ("FAIL 400", {}),
        ]:
            await collect(query(prompt=prompt, options=base(allowed_tools=["Bash"], **options)), log)
        return log

    async def settings_of_every_form():
        log = []
        own = pathlib.Path(os.getcwd(), OWN)
        own.mkdir(exist_ok=True)
        (own / "settings.json").write_text('{"permissions":{"allow":["Bash(rm:*)","Bash(echo:*)"]}}')
        (own / "mcp.json").write_text('{"mcpServers":{"gone":{"command":"/not/there"}}}')
        (own / "prompt.txt").write_text("You are a PIRATE")
        for options in [
            {"settings": str(own / "settings.json")}, {"settings": "/not/there.json"},
            {"mcp_servers": own / "mcp.json", "strict_mcp_config": True},
            {"mcp_servers": "/not/there.json"},
            {"system_prompt": {"type": "file", "path": str(own / "prompt.txt")}},
            {"system_prompt": {"type": "file", "path": "/not/there"}},
            {"system_prompt": "--help"}, {"extra_args": {"not-a-flag": "value"}},
            {"tools": []},
        ]:
            await collect(query(prompt=BASH, options=base(**options)), log)
        return log

    async def working_directories():
        log = []
        inside = pathlib.Path(os.getcwd(), f"{OWN}-dir ü")
        inside.mkdir()
        pwd = 'USE Bash {"command":"basename \\"$(pwd)\\""}'
        for options in [{"cwd": inside}, {"add_dirs": [inside, "/not/there"]}, {"cwd": "/not/there"}]:
            await collect(query(prompt=pwd, options=base(allowed_tools=["Bash"], **options)), log)
        return log

    async def variables():
        values = {"CLAUDE_CODE_EMPTY": "", "CLAUDE_CODE_BLANK": " a  b ", "CLAUDE_CODE_LINES": "a\nb=c", "CLAUDE_CODE_QUOTED": '"$HOME" ü'}
        script = "; ".join(f'echo \\"[${{{name}-unset}}]\\"' for name in values)
        options = base(allowed_tools=["Bash"], env=values)
        return await collect(query(prompt=f'USE Bash {{"command":"{script}"}}', options=options), [])

    async def several_at_once():
        async def one(n):
            @tool("echo", "Says it again", {"n": int})
            async def echo(given):
                return text(f"{given['n']} in {n}")

            server = create_sdk_mcp_server("host", tools=[echo])
            options = base(mcp_servers={"host": server}, allowed_tools=["mcp__host"], env=ENV)
            return await collect(query(prompt=f'USE mcp__host__echo {{"n":{n}}}', options=options), [])

        return await asyncio.gather(*[one(n) for n in range(4)])

    async def interrupted_again_and_again():
        log = []
        async with ClaudeSDKClient(options=base(include_partial_messages=True)) as client:
            await client.query("SAY first")
            await collect(client.receive_response(), log)
            await client.interrupt()
            for _ in range(2):
                await client.query("HALF")
                async for message in client.receive_messages():
                    if isinstance(message, StreamEvent) and "delta" in message.event["type"]:
                        break
                await client.interrupt()
                await collect(client.receive_response(), log)
            await client.query("SAY after")
            await collect(client.receive_response(), log)
        return log

    async def background_task_stopped():
        log, task = [], None
        async with ClaudeSDKClient(options=base(allowed_tools=["Bash"])) as client:
            await client.query('USE Bash {"command":"sleep 600","run_in_background":true}')
            async for message in client.receive_response():
                if isinstance(message, SystemMessage) and message.subtype == "task_started":
                    task = message.data["task_id"]
            log.append(await told(client.stop_task(task)))
            async for message in client.receive_messages():
                if isinstance(message, SystemMessage) and message.subtype == "task_notification":
                    log.append(message.data["status"])
                    break
        return log

    return [
        prompts_that_end_or_fail, left_early, disconnected_in_the_middle, limits_and_failures,
        settings_of_every_form, working_directories, variables, several_at_once,
        interrupted_again_and_again, background_task_stopped,
    ]
